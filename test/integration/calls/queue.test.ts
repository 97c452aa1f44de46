import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Inbox } from "../inbox.ts";
import { eventually, type PhoenixClient } from "../phoenix-client.ts";
import { findPython } from "../python.ts";
import { BUSES, startWorld, type World } from "../world.ts";
import { metric, parseCall, type ReceivedCall, reasonOf, replyTo, startCall } from "./calling.ts";

const TOML = `
[channels."room:*"]
calls = ["search"]
call_to = "queue:search"
call_timeout = "60s"
[channels."load:*"]
calls = ["search"]
call_to = "queue:load"
call_timeout = "60s"
[channels."busy:*"]
calls = ["search"]
call_to = "queue:busy"
call_timeout = "60s"
[channels."short:*"]
calls = ["search"]
call_to = "queue:short"
call_timeout = "300ms"
`;

const OK = '{"status":"ok","response":{}}';
const WORKER = join(import.meta.dir, "worker.py");
const PYTHON = findPython();

/** A process of Python that prints one line for each call. */
interface Worker {
  readonly lines: Inbox<string>;
  stop(): Promise<void>;
}

function startWorker(program: readonly string[]): Worker {
  const child = Bun.spawn([PYTHON, ...program], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const lines = new Inbox<string>("worker", (line) => line);
  const reading = (async () => {
    let rest = "";
    for await (const chunk of child.stdout) {
      const parts = (rest + Buffer.from(chunk).toString()).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) lines.put(part);
    }
    lines.end("the worker ended");
  })();
  return {
    lines,
    async stop() {
      child.kill();
      await child.exited;
      await reading;
    },
  };
}

describe.each([...BUSES])("calls by a queue (%s)", (bus) => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(bus, { toml: TOML });
  });
  afterAll(() => world.stop());

  async function joined(topic: string) {
    const client = await world.connect();
    expect((await client.join(topic, { token: world.token(topic) })).status).toBe("ok");
    return client;
  }

  async function take(queue: string): Promise<ReceivedCall> {
    const taken = await world.backend.redis.blpop(queue, 30);
    return parseCall(taken?.[1] ?? "null");
  }

  test("wait for a backend, each for one, in their order; the queue expires", async () => {
    const client = await joined("room:1");
    const refs = [1, 2, 3].map((n) => startCall(client, "room:1", "search", `{ "n":${n} }`));
    const { redis } = world.backend;
    await eventually(async () => (await redis.llen("queue:search")) === 3, "three calls");
    if (bus === "redis") {
      const secs = await redis.ttl("queue:search");
      expect(secs).toBeGreaterThan(60);
      expect(secs).toBeLessThanOrEqual(120);
    }
    for (const [i, ref] of refs.entries()) {
      const call = await take("queue:search");
      expect(call).toMatchObject({ channel: "room:1", event: "search", user: "alice", ref });
      expect(call.text).toEndWith(`,"payload":{ "n":${i + 1} }}`);
      await world.backend.publish(`reply:${call.reply}`, `{"status":"ok","response":${i}}`);
      expect((await replyTo(client, ref)).response).toBe(i);
    }
    expect(await redis.llen("queue:search")).toBe(0);
    // A backend that waits gets a call at once.
    const waiting = take("queue:search");
    const last = startCall(client, "room:1");
    await world.backend.publish(`reply:${(await waiting).reply}`, OK);
    expect((await replyTo(client, last)).status).toBe("ok");
  });

  test("are each executed once by four workers under load", async () => {
    const workers = Array.from({ length: 4 }, () => {
      return startWorker([WORKER, new URL(portOf(world)).port, "queue:load"]);
    });
    try {
      for (const { lines } of workers) expect(await lines.next(60_000)).toBe("ready");
      const clients = await Promise.all(Array.from({ length: 10 }, (_, i) => joined(`load:${i % 5}`)));
      const asked = clients.flatMap((client, i) =>
        Array.from({ length: 80 }, (_, k) => {
          const n = i * 80 + k;
          return { client, n, ref: startCall(client, `load:${i % 5}`, "search", `{"n":${n}}`) };
        }),
      );
      for (const { client, n, ref } of asked) {
        const { payload } = (await replyTo(client, ref)).frame;
        expect(payload).toEqual({ status: "ok", response: { n, for: "alice" } });
      }
      const executedLines = () => workers.flatMap(({ lines }) => lines.all.slice(1));
      // What a worker prints may come later than its answer.
      await eventually(() => executedLines().length >= asked.length, "what the workers print");
      const executed = executedLines();
      expect(executed.map((line) => Number(JSON.parse(line).n)).sort((a, b) => a - b)).toEqual(
        asked.map(({ n }) => n),
      );
      // All of them work. One may have begun to wait after the others had done everything.
      const [first] = clients;
      if (first === undefined) throw new Error("no client");
      await eventually(async () => {
        await replyTo(first, startCall(first, "load:0", "search", '{"n":0}'));
        return workers.every(({ lines }) => lines.all.length > 1);
      }, "a call for each worker");
    } finally {
      for (const worker of workers) await worker.stop();
    }
  }, 120_000);

  test("past their deadline end with timeout, and the worker of the documentation does not execute them", async () => {
    const client = await joined("short:1");
    const ref = startCall(client, "short:1");
    expect(await reasonOf(client, ref)).toBe("timeout");
    // On a busy machine its time may be over before it is in the queue.
    await eventually(async () => (await world.backend.redis.llen("queue:short")) === 1, "the call");

    const page = readFileSync(join(import.meta.dir, "../../../docs/calls.md"), "utf8");
    const [, python = ""] = /```python\n([\s\S]*?)```/.exec(page) ?? [];
    const code = python
      .replace("redis://127.0.0.1:6379", portOf(world))
      .replace("queue:search", "queue:short");
    expect(code).toContain("queue:short");
    const before = await metric(world.channel.url, "channel_calls_late_total");
    const worker = startWorker(["-c", code]);
    try {
      await eventually(async () => (await world.backend.redis.llen("queue:short")) === 0, "the worker");
      // What it cannot use does not end it.
      for (const payload of ["{}", "1", `{"text":${"[".repeat(9000)}${"]".repeat(9000)}}`])
        startCall(client, "short:1", "search", payload);
      // The worker is ready now: a call within 300 ms may still end by its time-out on a busy machine.
      const answered = await eventually(async () => {
        const next = startCall(client, "short:1", "search", '{"text":"ma"}');
        const { status, response } = await replyTo(client, next);
        return status === "ok" ? response : null;
      }, "an answer");
      expect(answered).toEqual({ found: ["mast"], for: "alice" });
      const late = (await metric(world.channel.url, "channel_calls_late_total")) - before;
      const timeouts = await metric(world.channel.url, 'channel_calls_total{result="timeout"}');
      expect(late).toBeLessThan(timeouts);
    } finally {
      await worker.stop();
    }
  });

  test("are refused while more than 10,000 wait", async () => {
    const client = await joined("busy:1");
    const { redis } = world.backend;
    await redis.rpush("queue:busy", ...Array.from({ length: 10_001 }, () => "x"));
    for (let i = 0; i < 3; i++) {
      expect(await reasonOf(client, startCall(client, "busy:1"))).toBe("backend busy");
    }
    expect(await redis.llen("queue:busy")).toBe(10_001);
    await redis.del("queue:busy");
    // The server notices it within a moment.
    const ref = await eventually(async () => {
      const next = startCall(client, "busy:1");
      const isRefused = await eventually(async () => {
        if ((await redis.llen("queue:busy")) === 1) return "no";
        return client.frames.all.some((each) => each.ref === next) && "yes";
      }, "the result");
      return isRefused === "no" && next;
    }, "an accepted call");
    await world.backend.publish(`reply:${(await take("queue:busy")).reply}`, OK);
    expect(await reasonOf(client, ref)).toBe("ok");
  });
});

describe.each([...BUSES])("the bytes of a queue (%s)", (bus) => {
  test("are limited: while nobody takes large calls, further ones are refused", async () => {
    const world = await startWorld(bus, {
      toml: '[channels."*"]\ncalls = ["*"]\ncall_to = "queue:large"\ncall_timeout = "60s"\n',
    });
    try {
      const { redis } = world.backend;
      const payload = JSON.stringify("x".repeat(1_000_000));
      // One client may send 10 MiB at once.
      const clients = await Promise.all(Array.from({ length: 9 }, () => world.connect()));
      const refs: { readonly client: PhoenixClient; readonly ref: string }[] = [];
      for (const client of clients) {
        await client.join("room", { token: world.token("room") });
        for (let i = 0; i < 8; i++) refs.push({ client, ref: startCall(client, "room", "say", payload) });
      }
      // 72 MB: not all of them have room.
      const refused = await eventually(
        () => refs.find(({ client, ref }) => client.frames.all.some((each) => each.ref === ref)) ?? null,
        "a refusal",
      );
      expect(await reasonOf(refused.client, refused.ref)).toBe("backend busy");
      // Each call is refused or in the queue: Redis may still be reading the last ones.
      const length = await eventually(async () => {
        const queued = await redis.llen("queue:large");
        const settled = refs.filter(({ client, ref }) => client.frames.all.some((each) => each.ref === ref));
        return queued + settled.length === refs.length && queued;
      }, "the result of all calls");
      expect(length).toBeGreaterThan(60);
      expect(length).toBeLessThan(68);
      // Once they are taken there is room.
      await redis.del("queue:large");
      const other = await world.connect();
      await other.join("room", { token: world.token("room") });
      await eventually(async () => {
        startCall(other, "room", "say");
        await other.fence();
        return (await redis.llen("queue:large")) > 0;
      }, "an accepted call");
    } finally {
      await world.stop();
    }
  }, 60_000);
});

function portOf({ backend }: World): string {
  return `redis://127.0.0.1:${backend.redis.options.port}`;
}
