import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { Socket } from "phoenix";
import { call } from "./api-client.ts";
import { type Application, allow, HOOK_SECRET, startApplication } from "./application.ts";
import { startChannel } from "./channel-process.ts";
import { Inbox } from "./inbox.ts";
import { connectPhoenix, eventually, type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { SECRETS_TOML, startReloading } from "./reloading.ts";
import { openSse } from "./sse-client.ts";
import { SECRET, startWorld, type World } from "./world.ts";

/*
 * Joins that wait for the application: what waits with them, and what does not.
 */

const COOKIE = "session=the-session-of-alice";
const HEADERS = { cookie: COOKIE };
const UNAVAILABLE = { reason: "authorization unavailable" };

let application: Application;
let world: World;

/** Of an application that closes each connection with the second request. */
const closingPort = freePort();

const settings = (): string => `hook_secret = "${HOOK_SECRET}"
token_endpoint = "off"
[channels."*"]
authorize = "${application.url}"
# What is held here must not time out on a busy machine.
authorize_timeout = "4s"
[channels."closing:*"]
authorize = "http://127.0.0.1:${closingPort}/"
[channels."second:*"]
authorize_timeout = "1s"
[channels."slow:*"]
authorize_timeout = "300ms"
[limits]
max_channels = 40
`;

beforeAll(async () => {
  application = startApplication();
  world = await startWorld("redis", { toml: settings(), args: ["--log-level", "debug"] });
});
afterEach(() => {
  application.answer = () => allow();
  application.asked.take();
  application.most = 0;
  world.cutClients();
});
afterAll(async () => {
  await world?.stop();
  await application?.stop();
});

/** Lets requests wait until `release` is called with their channel, or without one. */
function holdAnswers(): { release(channel?: string): void } {
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  application.answer = async ({ channel }, { signal }) => {
    const gate = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => gate.resolve());
    waiting.set(channel, gate);
    await gate.promise;
    return allow({ id: "alice" });
  };
  return {
    release: (channel) => {
      for (const [name, gate] of waiting) if (channel === undefined || channel === name) gate.resolve();
      if (channel === undefined) application.answer = () => allow({ id: "alice" });
    },
  };
}

const sendJoin = (client: PhoenixClient, topic: string, ref = topic): void =>
  client.send({ joinRef: ref, ref, topic, event: "phx_join" });

/** Waits for the replies to joins, in any order. */
async function expectJoined(client: PhoenixClient, topics: readonly string[]): Promise<void> {
  const statuses = () =>
    topics.map((topic) => {
      const reply = client.frames.all.find(({ event, ref }) => event === "phx_reply" && ref === topic);
      return reply === undefined ? null : Object(reply.payload).status;
    });
  await eventually(() => statuses().every((status) => status !== null), "all replies");
  expect(statuses()).toEqual(topics.map(() => "ok"));
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${world.channel.url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

const ready = async (): Promise<number> => (await fetch(`${world.channel.url}/ready`)).status;

const waitingJoins = (): Promise<number> => metric("channel_authorizations_waiting");

describe("a join that waits", () => {
  for (const { vsn, transport, way } of WAYS) {
    test(`${way}: holds back the later frames of its topic alone`, async () => {
      const held = holdAnswers();
      const client = await world.connect({ vsn, transport, headers: HEADERS });
      await client.join("other", { token: world.token("other") });
      sendJoin(client, "room:1", "j");
      client.send({ joinRef: "j", ref: "p", topic: "room:1", event: "say" });
      client.send({ joinRef: "j", ref: "l", topic: "room:1", event: "phx_leave" });
      sendJoin(client, "room:1", "k");
      await application.asked.next();
      // Other topics go on, on the same connection and on others.
      expect((await client.ask({ topic: "other", event: "say" })).status).toBe("ok");
      expect((await client.join("third", { token: world.token("third") })).status).toBe("ok");
      expect((await (await world.connect()).join("other", { token: world.token("other") })).status).toBe(
        "ok",
      );
      const replies = () =>
        client.frames.all
          .filter(({ event, topic }) => event === "phx_reply" && topic === "room:1")
          .map(({ ref, payload }) => [ref, Object(payload).status]);
      expect(replies()).toEqual([]);
      held.release("room:1");
      await client.reply("k");
      // The second join is decided by the answer to the first.
      expect(replies()).toEqual(["j", "p", "l", "k"].map((ref) => [ref, "ok"]));
      expect(application.asked.take()).toEqual([]);
    });
  }

  test("is refused after authorize_timeout; what its topic was sent meanwhile is handled then", async () => {
    const held = holdAnswers();
    const client = await world.connect({ headers: HEADERS });
    sendJoin(client, "slow:1", "j");
    client.send({ joinRef: "j", ref: "p", topic: "slow:1", event: "say" });
    expect((await client.reply("j")).response).toEqual(UNAVAILABLE);
    expect((await client.reply("p")).response).toEqual({ reason: "unmatched topic" });
    held.release();
    expect((await client.join("room:slow")).status).toBe("ok");
  });

  test("is refused then too if the answer comes a byte at a time", async () => {
    application.answer = () => {
      const pull = async (to: ReadableStreamDefaultController<string>) => {
        to.enqueue(" ");
        await Bun.sleep(20);
      };
      return new Response(new ReadableStream({ pull }));
    };
    const client = await world.connect({ headers: HEADERS });
    expect((await client.join("slow:1")).response).toEqual(UNAVAILABLE);
  });

  test("one socket has four requests at once", async () => {
    const held = holdAnswers();
    const client = await world.connect({ headers: HEADERS });
    const topics = [...Array(10).keys()].map((i) => `room:${i}`);
    for (const topic of topics) sendJoin(client, topic);
    for (let i = 0; i < 4; i++) await application.asked.next();
    await client.fence();
    held.release("room:0");
    expect((await client.reply("room:0")).status).toBe("ok");
    expect((await application.asked.next()).channel).toBe("room:4");
    expect(application.most).toBe(4);
    held.release();
    await expectJoined(client, topics);
    expect(application.most).toBe(4);
  });

  test("counts as a joined channel, and is asked about once the client has room for it", async () => {
    const held = holdAnswers();
    const client = await world.connect({ headers: HEADERS });
    const topics = [...Array(40).keys()].map((i) => `room:${i}`);
    for (const topic of topics) sendJoin(client, topic);
    const refused = await client.join("room:too many");
    expect(refused.response).toEqual({ reason: "too many channels joined" });
    held.release();
    await expectJoined(client, topics);
    expect((await client.join("room:too many")).response).toEqual({ reason: "too many channels joined" });
    await client.ask({ topic: "room:0", event: "phx_leave" });
    expect((await client.join("room:too many")).status).toBe("ok");
    application.asked.take();
  });

  test("all sockets have 100 requests at once; tokens are not held up", async () => {
    const held = holdAnswers();
    const clients: PhoenixClient[] = [];
    for (let i = 0; i < 30; i++) clients.push(await world.connect({ headers: HEADERS }));
    for (const [n, client] of clients.entries()) {
      for (let i = 0; i < 4; i++) sendJoin(client, `room:${n}:${i}`);
    }
    for (let i = 0; i < 100; i++) await application.asked.next();
    const other = await world.connect();
    expect((await other.join("room:0:0", { token: world.token("room:0:0") })).status).toBe("ok");
    await eventually(async () => (await waitingJoins()) === 120, "120 waiting joins");
    expect(application.running).toBe(100);
    held.release();
    for (const [n, client] of clients.entries())
      await expectJoined(
        client,
        [0, 1, 2, 3].map((i) => `room:${n}:${i}`),
      );
    expect(application.most).toBe(100);
    expect(await waitingJoins()).toBe(0);
    expect(await metric("channel_authorization_seconds_total")).toBeGreaterThan(0);
  });

  test("of a client that is gone changes nothing, and is not asked about if it has not been yet", async () => {
    const held = holdAnswers();
    const watcher = await world.connect();
    await watcher.join("room:gone:0", { token: world.token("room:gone:0", { id: "watcher" }) });
    await watcher.event("presence_state");
    const client = await world.connect({ headers: HEADERS });
    const { response } = await client.join("other", { token: world.token("other") });
    const id = String(Object(response).id).split(":")[0];
    for (let i = 0; i < 10; i++) sendJoin(client, `room:gone:${i}`);
    for (let i = 0; i < 4; i++) await application.asked.next();
    client.socket.cut();
    const isGone = async () =>
      (await call(world.channel.url, `/api/connections?search=${id}`)).body.connections.length === 0;
    await eventually(isGone, "the end of the connection");
    held.release();
    await eventually(async () => (await waitingJoins()) === 0, "no waiting join");
    const later = await world.connect({ headers: HEADERS });
    expect((await later.join("room:last")).status).toBe("ok");
    expect((await application.asked.next()).channel).toBe("room:last");
    expect((await watcher.fence()).filter(({ text }) => text.includes("alice"))).toEqual([]);
  });

  test("does not fail because the application has closed a kept connection", async () => {
    let connections = 0;
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"allow":true}';
    const closing = createServer((socket) => {
      connections++;
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.write(answer);
        socket.once("data", () => socket.destroy());
      });
    });
    await new Promise<void>((done) => closing.listen(closingPort, "127.0.0.1", done));
    const client = await world.connect();
    for (let i = 0; i < 5; i++) expect((await client.join(`closing:${i}`)).status).toBe("ok");
    expect(connections).toBe(5);
    closing.close();
  });

  test("uses the connections to the application again", async () => {
    const ports = new Set<number>();
    const client = await world.connect({ headers: HEADERS });
    for (let i = 0; i < 20; i++) {
      expect((await client.join(`room:reuse:${i}`)).status).toBe("ok");
      ports.add((await application.asked.next()).port);
    }
    expect(ports.size).toBe(1);
  });

  test("of phoenix.js waits too, and is repeated when the answer expires", async () => {
    /** A WebSocket as a browser opens it: with the cookies of the page. */
    function CookieSocket(url: string, protocols: readonly string[] = []): WebSocket {
      return Reflect.construct(WebSocket, [url, { headers: HEADERS, protocols }]);
    }
    application.answer = () => allow({ id: "alice", expires_in: 0.5 });
    const socket = new Socket(`ws://127.0.0.1:${world.channel.port}`, {
      transport: CookieSocket,
      reconnectAfterMs: () => 10,
      rejoinAfterMs: () => 10,
    });
    socket.connect();
    const channel = socket.channel("room:js", { seat: 3 });
    const errors = new Inbox<unknown>("errors of the channel", String);
    channel.onError((reason: unknown) => errors.put(reason));
    channel.join();
    for (let i = 0; i < 2; i++) {
      const asked = await application.asked.next();
      expect(asked).toMatchObject({ channel: "room:js", params: { seat: 3 } });
      expect(asked.headers.get("cookie")).toBe(COOKIE);
      expect(await errors.next()).toMatchObject({ reason: "token expired" });
    }
    socket.disconnect();
  });

  test("is refused after 8 s at the latest, asked about or not", async () => {
    const held = holdAnswers();
    const client = await world.connect({ headers: HEADERS });
    const topics = [...Array(40).keys()].map((i) => `second:${i}`);
    for (const topic of topics) sendJoin(client, topic);
    const replies = () => client.frames.all.filter(({ event }) => event === "phx_reply");
    await eventually(() => replies().length === 40, "all replies", 30_000);
    for (const { payload } of replies()) expect(payload).toMatchObject({ response: UNAVAILABLE });
    // Four at once for a second each: in 8 s not all of them.
    expect(application.asked.take().length).toBeLessThan(40);
    held.release();
  });

  test("nothing that a client or the application sent in secret is in the log", () => {
    const log = world.channel.output();
    for (const secret of [HOOK_SECRET, "the-session-of-alice", "v1="]) expect(log).not.toContain(secret);
    expect(world.channel.lines.filter(({ level }) => level === "error")).toEqual([]);
  });
});

describe("while a join waits", () => {
  test("Redis may be gone", async () => {
    const held = holdAnswers();
    const client = await world.connect({ headers: HEADERS });
    sendJoin(client, "room:away");
    await application.asked.next();
    await world.redis?.down();
    await eventually(async () => (await ready()) === 503, "the loss of Redis");
    held.release();
    expect((await client.reply("room:away")).status).toBe("ok");
    expect((await client.join("room:away:2")).status).toBe("ok");
    await world.redis?.restart();
    await eventually(async () => (await ready()) === 200, "Redis again");
    await world.backend.publish("to:room:away:news", "1");
    expect((await client.event("news")).topic).toBe("room:away");
  });

  test("the server may stop: it ends at once, and its clients come back elsewhere", async () => {
    const held = holdAnswers();
    const channel = await startChannel({
      args: ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`],
      toml: `jwt_secret = "${SECRET}"\n${settings()}`,
    });
    const client = await connectPhoenix(channel.url, { headers: HEADERS });
    for (let i = 0; i < 6; i++) sendJoin(client, `room:${i}`);
    const stream = openSse(channel.port, "/sse?channel=room:stream");
    for (let i = 0; i < 5; i++) await application.asked.next();
    const code = channel.stop();
    expect(await client.socket.closed).toMatchObject({ code: 1012 });
    expect(await code).toBe(0);
    await stream.ended;
    held.release();
  });

  test("the server may be replaced: the client joins at its successor", async () => {
    const held = holdAnswers();
    const server = await startReloading({ toml: SECRETS_TOML + settings() });
    try {
      const client = await connectPhoenix(server.channel.url, { headers: HEADERS });
      sendJoin(client, "room:1");
      await application.asked.next();
      const reloaded = server.reload();
      expect(await client.socket.closed).toMatchObject({ code: 1012 });
      held.release();
      expect(await reloaded).toStartWith("0:");
      const next = await connectPhoenix(server.channel.url, { headers: HEADERS });
      expect((await next.join("room:1")).status).toBe("ok");
      next.socket.cut();
    } finally {
      await server.stop();
    }
  });
});
