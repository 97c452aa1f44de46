import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ChannelModel, connect } from "amqplib";
import { AmqpBackend } from "./amqp-backend.ts";
import { type ChannelOptions, type ChannelProcess, startChannel } from "./channel-process.ts";
import { type Awxkit, startAwxkit } from "./groups/awxkit.ts";
import { Inbox } from "./inbox.ts";
import { connectPhoenix, mint, type PhoenixClient } from "./phoenix-client.ts";
import { findPython } from "./python.ts";
import { HAS_RABBIT, type RabbitProcess, startRabbit } from "./rabbit-process.ts";
import { type Program, startProgram } from "./tangram/program.ts";

const SECRET = "a-secret-of-these-tests-that-is-long-enough";
const ADMIN = "the-administrator-of-these-tests";
const ROOT = join(import.meta.dir, "../..");

/** A broker on a busy machine takes its time. */
setDefaultTimeout(180_000);

/** Timeout of a wait for the broker, in ms. */
const HANGS = 40_000;

describe.if(HAS_RABBIT)("the server on RabbitMQ", () => {
  let rabbit: RabbitProcess;
  let backend: AmqpBackend;
  let channel: ChannelProcess;
  const ends: (() => unknown)[] = [];
  beforeAll(async () => {
    rabbit = await startRabbit();
    backend = await AmqpBackend.connect(rabbit.url);
    channel = await serve();
  });
  afterAll(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    backend?.close();
    await rabbit?.stop();
  });

  async function serve(options: ChannelOptions = {}): Promise<ChannelProcess> {
    const server = await startChannel({
      args: ["--bus", "amqp"],
      env: { CHANNEL_AMQP_URL: rabbit.url },
      toml: `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN}"\n[channels."*"]\nhistory = 10\n`,
      ...options,
    });
    ends.push(() => server.stop());
    await untilReady(server);
    return server;
  }

  async function untilReady({ url }: ChannelProcess): Promise<void> {
    const deadline = performance.now() + HANGS;
    for (;;) {
      const answer = await fetch(`${url}/ready`);
      const text = await answer.text();
      if (answer.status === 200) return;
      if (performance.now() > deadline) throw new Error(`not ready: ${text}`);
      await Bun.sleep(50);
    }
  }

  async function join_(room: string, server = channel): Promise<PhoenixClient> {
    const client = await connectPhoenix(server.url);
    ends.push(() => client.socket.cut());
    const token = mint({ id: "alice", channel: room }, SECRET);
    expect(await client.join(room, { token })).toMatchObject({ status: "ok" });
    return client;
  }

  test("says which bus it uses, and where", async () => {
    const health = await (await fetch(`${channel.url}/health`)).json();
    expect(health).toEqual({ status: "up", bus: "amqp" });
    const [line] = await channel.log.atLeast(1, ({ message }) => message === "not part of a fleet");
    expect(line?.reason).toBe("servers know each other by Redis only");
  });

  test("carries messages both ways, answers pushes when they are confirmed, and exports presence", async () => {
    const model = await connect(rabbit.url);
    ends.push(() => model.close());
    const exports = await received(model, "channel.to");
    const client = await join_("room:1");
    const payload = '{"big":12345678901234567890,"b":1,"b":2}';
    expect(await client.ask({ joinRef: "1", topic: "room:1", event: "ask", payload })).toMatchObject({
      status: "ok",
    });
    expect((await backend.on("from:room:1:phx_join")).toString()).not.toContain("token");
    expect((await backend.on("from:room:1:ask")).toString()).toBe(payload);
    await backend.publish("to:room:1:news", payload);
    expect((await client.event("news")).text).toContain(payload);
    await backend.publish("to:room:1:picture", Buffer.from([0, 255, 1]));
    expect((await client.event("picture")).payload).toEqual(Buffer.from([0, 255, 1]));
    await exports.until((key) => key === "room:1:presence_diff", "presence_diff");
    await backend.publish("to:room:1:phx_reply", "{}");
    await backend.publish("to:room:1:last", "1");
    await client.event("last");
    expect(client.frames.all.filter(({ event, ref }) => event === "phx_reply" && ref === null)).toEqual([]);
  });

  test("refuses the event of a push whose name is too long for RabbitMQ", async () => {
    const room = "r".repeat(200);
    const client = await join_(room);
    const push = (event: string) => client.ask({ joinRef: "1", topic: room, event, payload: "1" });
    expect(await push("e".repeat(54))).toMatchObject({ status: "ok" });
    expect(await push("e".repeat(55))).toMatchObject({
      status: "error",
      response: { reason: "invalid event" },
    });
  });

  test("publishes by the API with positions of its history, and recovers from them", async () => {
    const publish = async (payload: number): Promise<string> => {
      const answer = await fetch(`${channel.url}/api/publish`, {
        method: "POST",
        headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
        body: JSON.stringify({ channel: "kept", event: "n", payload }),
      });
      const body: unknown = await answer.json();
      if (
        typeof body === "object" &&
        body !== null &&
        "position" in body &&
        typeof body.position === "string"
      ) {
        return body.position;
      }
      throw new Error(`${answer.status} ${JSON.stringify(body)}`);
    };
    const [first, second] = [await publish(1), await publish(2)];
    expect(first).not.toBe(second);
    const kept = await fetch(`${channel.url}/api/channels/kept/history?since=${first}`, {
      headers: { authorization: `Bearer ${ADMIN}` },
    });
    expect(await kept.json()).toMatchObject({ position: second, messages: [{ event: "n", payload: 2 }] });
  });

  test("a queue over its bound: the gap is counted and logged, and later messages arrive", async () => {
    const slow = await serve({
      args: ["--bus", "amqp"],
      env: { CHANNEL_AMQP_URL: rabbit.url, CHANNEL_AMQP_QUEUE_BYTES: "1MiB" },
    });
    const payload = Buffer.alloc(16 * 1024, 32);
    slow.kill("SIGSTOP");
    try {
      // More than both sockets and the broker's processes hold besides the queue: 64 MiB.
      for (let batch = 0; batch < 40; batch++) {
        await Promise.all(Array.from({ length: 100 }, () => backend.publish("to:flood:x", payload)));
      }
    } finally {
      slow.kill("SIGCONT");
    }
    const dropped = await slow.log.until(
      ({ message }) => message === "RabbitMQ dropped messages, this server's queue is full",
      "dropped messages",
      HANGS,
    );
    expect(dropped.amqp_queue_bytes).toBe(1024 * 1024);
    const metrics = await fetch(`${slow.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN}` } });
    expect(await metrics.text()).toMatch(/^channel_bus_gaps_total [1-9]/m);
    const client = await join_("after", slow);
    await backend.publish("to:after:news", "1");
    await client.event("news", "after");
  });

  test("is reloaded, and the new process has a queue of its own", async () => {
    const old = await serve();
    old.kill("SIGHUP");
    const { pid } = await old.log.until(
      ({ message }) => message.startsWith("reload complete"),
      "the reload",
      HANGS,
    );
    ends.push(() => process.kill(Number(pid), "SIGKILL"));
    await old.log.until(({ message }) => message === "stopped", "the end of the old process", HANGS);
    const client = await join_("after", old);
    await backend.publish("to:after:news", "1");
    await client.event("news");
  });

  describe("examples/awx", () => {
    const follows = ["jobs-status_changed", "job_events-41"];
    let awxkit: Awxkit;
    let controller: Program;
    beforeAll(async () => {
      const token = mint({ id: "alice", channel: "jobs", channels: ["jobs", "job_events"] }, SECRET);
      awxkit = await startAwxkit(channel.port, token);
      controller = startProgram(
        [findPython("pika"), join(ROOT, "examples/awx/controller.py"), "--pause", "0.02", "41"],
        { env: { AMQP_URL: rabbit.url } },
      );
    }, 60_000);
    afterAll(async () => {
      await awxkit?.stop();
      await controller?.stop();
    });

    test("awxkit follows a job that pika publishes", async () => {
      await awxkit.call("job_details", [41]);
      const { groups_current } = Object(
        await awxkit.received.until((each) => "groups_current" in Object(each)),
      );
      expect(groups_current).toEqual(expect.arrayContaining(follows));
      const event = await awxkit.received.until(
        (each) => Object(each).group_name === "job_events",
        "output",
        HANGS,
      );
      expect(event).toMatchObject({ job: 41, event: "runner_on_ok" });
      await awxkit.received.until((each) => Object(each).status === "successful", "the end", HANGS);
    });
  });

  test("the example of docs/rabbitmq.md answers a push", async () => {
    const page = readFileSync(join(ROOT, "docs/rabbitmq.md"), "utf8");
    const [, block = ""] = /^```python\n([\s\S]*?)^```$/m.exec(page) ?? [];
    const program = startProgram([
      findPython("pika"),
      "-c",
      block.replace("amqp://127.0.0.1:5672", rabbit.url),
    ]);
    ends.push(() => program.stop());
    const client = await join_("lobby");
    const answered = () => client.frames.all.find(({ event }) => event === "answer");
    // The program subscribes in its own time. An answer may come before the reply to the question.
    for (let asked = 0; answered() === undefined; asked++) {
      if (asked > 400) throw new Error("no answer");
      await client.ask({ joinRef: "1", topic: "lobby", event: "question", payload: '{"n":1}' });
      await Bun.sleep(50);
    }
    expect(answered()?.payload).toEqual({ to: { n: 1 } });
  });
});

/** The routing keys that an exchange gets from now on. */
async function received(model: ChannelModel, exchange: string): Promise<Inbox<string>> {
  const inbox = new Inbox<string>(exchange, (key) => key);
  const channel = await model.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, exchange, "#");
  await channel.consume(queue, (message) => message !== null && inbox.put(message.fields.routingKey), {
    noAck: true,
  });
  return inbox;
}
