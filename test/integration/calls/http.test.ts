import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Inbox } from "../inbox.ts";
import { encodeBinary, eventually, WAYS } from "../phoenix-client.ts";
import { findPython } from "../python.ts";
import { freePort } from "../redis-process.ts";
import { startWorld, type World } from "../world.ts";
import { metric, parseCall, type ReceivedCall, reasonOf, replyTo, startCall } from "./calling.ts";

const SECRET = "what-the-application-of-these-tests-knows";

/** A request to the application, which a test answers. */
interface Asked extends ReceivedCall {
  readonly signature: string;
  readonly headers: Headers;
  answer(body: string | null, status?: number, headers?: Record<string, string>): void;
}

let world: World;
let application: ReturnType<typeof Bun.serve>;
const asked = new Inbox<Asked>("requests", ({ text }) => text);

beforeAll(async () => {
  application = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 120,
    async fetch(request) {
      const text = await request.text();
      const { promise, resolve } = Promise.withResolvers<Response>();
      asked.put({
        ...parseCall(text, new URL(request.url).pathname),
        signature: request.headers.get("x-channel-signature") ?? "",
        headers: request.headers,
        answer: (body, status = 200, headers = {}) => resolve(new Response(body, { status, headers })),
      });
      return promise;
    },
  });
  const url = `http://127.0.0.1:${application.port}`;
  const pattern = (name: string, to: string, timeout: string): string =>
    `[channels."${name}"]\ncalls = ["ask"]\ncall_to = "${to}"\ncall_timeout = "${timeout}"\n`;
  world = await startWorld("redis", {
    toml: [
      `hook_secret = "${SECRET}"\n`,
      pattern("room:*", `${url}/calls?k=1`, "60s"),
      pattern("short:*", `${url}/short`, "300ms"),
      pattern("gone:*", `http://127.0.0.1:${freePort()}/`, "60s"),
    ].join(""),
  });
}, 30_000);
afterEach(() => {
  // What a failed test left.
  for (const each of asked.take()) each.answer("{}");
});
afterAll(async () => {
  await world.stop();
  await application.stop(true);
});

async function joined(topic: string, how: Parameters<World["connect"]>[0] = {}) {
  const client = await world.connect(how);
  expect((await client.join(topic, { token: world.token(topic) })).status).toBe("ok");
  return client;
}

describe("calls by HTTP", () => {
  for (const { vsn, transport, way } of WAYS) {
    test(`${way}: the body of the answer is the response, unchanged`, async () => {
      const topic = `room:${way}`;
      const client = await joined(topic, { vsn, transport });
      const payload = '{ "n":12345678901234567890 }';
      const ref = startCall(client, topic, "ask", payload);
      const request = await asked.next();
      expect(request.name).toBe("/calls");
      expect(request.headers.get("content-type")).toBe("application/json");
      expect(request.text).toEndWith(`,"payload":${payload}}`);
      expect(request).toMatchObject({ channel: topic, event: "ask", user: "alice", ref });
      request.answer('{ "n":12345678901234567890,"ü":"\\u00fc" }');
      const reply = await replyTo(client, ref);
      expect(reply.status).toBe("ok");
      expect(reply.frame.text).toContain('"response":{ "n":12345678901234567890,"ü":"\\u00fc" }}');
      client.socket.cut();
    });
  }

  test("an empty 2xx is an empty response, 4xx with JSON an error, anything else backend failed", async () => {
    const client = await joined("room:status");
    const cases: readonly (readonly [string | null, number, string, unknown])[] = [
      [null, 204, "ok", {}],
      ["", 200, "ok", {}],
      ["[1]", 201, "ok", [1]],
      ['{"reason":"not yours"}', 403, "error", { reason: "not yours" }],
      ["7", 422, "error", 7],
      ...[400, 404, 302, 500, 503].map((status) => ["", status, "error", FAILED] as const),
      ['{"a":1}', 500, "error", FAILED],
      ["no JSON", 200, "error", FAILED],
      ["<html>", 404, "error", FAILED],
      ["{}{}", 200, "error", FAILED],
      [JSON.stringify("x".repeat(1024 * 1024)), 200, "error", FAILED],
    ];
    for (const [body, code, status, response] of cases) {
      const ref = startCall(client, "room:status", "ask");
      // A redirect is not followed: no second request comes.
      (await asked.next()).answer(body, code, code === 302 ? { location: "/elsewhere" } : {});
      const reply = await replyTo(client, ref);
      expect([code, reply.status, reply.response]).toEqual([code, status, response]);
    }
    expect(asked.take()).toEqual([]);
    const gone = await joined("gone:1");
    expect(await reasonOf(gone, startCall(gone, "gone:1", "ask"))).toBe("backend failed");
  });

  test("the signature is the one that the code of the documentation accepts", async () => {
    const client = await joined("room:signed");
    client.sendBinary(
      encodeBinary({ joinRef: "1", ref: "9", topic: "room:signed", event: "ask", data: Buffer.from("ü\0") }),
    );
    const request = await asked.next();
    expect(request.base64).toBe(Buffer.from("ü\0").toString("base64"));
    const page = readFileSync(join(import.meta.dir, "../../../docs/calls.md"), "utf8");
    const code = [...page.matchAll(/```python\n([\s\S]*?)```/g)].find(([, text]) =>
      text?.includes("hmac"),
    )?.[1];
    const check =
      "import sys\nfor body in sys.argv[3:]: print(is_signed(sys.argv[1], sys.argv[2], body.encode()))";
    const run = Bun.spawnSync([
      ...[findPython(), "-c", `${code}\n${check}`, SECRET, request.signature],
      ...[request.text, `${request.text} `],
    ]);
    expect(run.stdout.toString()).toBe("True\nFalse\n");
    request.answer("{}");
    expect((await replyTo(client, "9")).status).toBe("ok");
  });

  test("are answered in any order, and end with timeout without an answer in time", async () => {
    const client = await joined("room:order");
    const [one, two] = [startCall(client, "room:order", "ask"), startCall(client, "room:order", "ask")];
    const requests = [await asked.next(), await asked.next()];
    requests.find(({ ref }) => ref === two)?.answer("2");
    expect((await replyTo(client, two)).response).toBe(2);
    requests.find(({ ref }) => ref === one)?.answer("1");
    expect((await replyTo(client, one)).response).toBe(1);

    const short = await joined("short:1");
    // On a busy machine the time may be over before the request has come here: then there is nothing to answer.
    const late = await eventually(async () => {
      const ref = startCall(short, "short:1", "ask");
      expect(await reasonOf(short, ref)).toBe("timeout");
      const requests = asked.take();
      for (const each of requests) each.answer("{}");
      return requests.some((each) => each.ref === ref) && ref;
    }, "a late answer");
    const next = startCall(client, "room:order", "ask");
    (await asked.until(({ ref }) => ref === next)).answer("{}");
    await replyTo(client, next);
    expect(short.frames.all.filter((each) => each.ref === late)).toHaveLength(1);
  });

  test("run at most 100 at once, and others wait for their turn", async () => {
    const clients = await Promise.all([0, 1, 2].map((i) => joined(`room:many:${i}`)));
    const refs = clients.flatMap((client, i) =>
      Array.from({ length: 50 }, () => ({ client, ref: startCall(client, `room:many:${i}`, "ask") })),
    );
    const first: Asked[] = [];
    while (first.length < 100) first.push(await asked.next());
    await Promise.all(clients.map((client) => client.fence()));
    expect(asked.take()).toEqual([]);
    expect(await metric(world.channel.url, "channel_calls_in_flight")).toBe(150);
    for (const request of first) request.answer("{}");
    for (let left = 50; left > 0; left--) (await asked.next()).answer("{}");
    for (const { client, ref } of refs) expect((await replyTo(client, ref)).status).toBe("ok");
    expect(await metric(world.channel.url, "channel_calls_in_flight")).toBe(0);
  }, 30_000);
});

const FAILED = { reason: "backend failed" };
