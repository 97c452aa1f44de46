import { afterEach, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { type ChannelProcess, type LogLine, startChannel } from "../channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "../phoenix-client.ts";
import { startRedis } from "../redis-process.ts";
import { startRedisProxy } from "../redis-proxy.ts";
import { startClusterNodes, startSentinel } from "../redis-topologies.ts";
import { SECRETS_TOML, startReloading } from "../reloading.ts";
import { type Backend, backendOn, SECRET } from "../world.ts";
import { metric, nextCall, parseCall, reasonOf, replyTo, startCall } from "./calling.ts";

const TOML = `${SECRETS_TOML}
[channels."room:*"]
calls = ["search"]
call_timeout = "60s"
[channels."queue:*"]
calls = ["search"]
call_to = "queue:search"
call_timeout = "60s"
[channels."short:*"]
calls = ["search"]
call_timeout = "300ms"
`;
const OK = '{"status":"ok","response":{}}';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function serverOn(url: string): Promise<ChannelProcess> {
  const server = await startChannel({ args: ["--redis-url", url], toml: TOML });
  ends.push(() => server.stop());
  await eventually(async () => (await fetch(`${server.url}/ready`)).ok, "a live bus");
  return server;
}

/** Publishes an answer until it has arrived, at each node in turn: the nodes of a new cluster may lose messages to each other. */
async function answerUntilReplied(
  client: PhoenixClient,
  ref: string,
  reply: string,
  nodes: readonly Backend[],
): Promise<void> {
  await eventually(async () => {
    for (const node of nodes) await node.publish(`reply:${reply}`, OK);
    return client.frames.all.some((each) => each.event === "phx_reply" && each.ref === ref);
  }, `reply ${ref}`);
  expect(await reasonOf(client, ref)).toBe("ok");
}

function backend(port: number): Backend {
  const made = backendOn(port);
  ends.push(() => made.stop());
  return made;
}

async function joined({ url }: { readonly url: string }, topic: string): Promise<PhoenixClient> {
  const client = await connectPhoenix(url);
  ends.push(() => client.socket.cut());
  const token = mint({ id: "alice", channel: topic }, SECRET);
  expect((await client.join(topic, { token })).status).toBe("ok");
  return client;
}

test("two servers share queues and backends, and each has the answers to its own calls", async () => {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const servers = [await serverOn(redis.url), await serverOn(redis.url)];
  const app = backend(redis.port);
  const calls = await app.listen("call:*");
  const clients = await Promise.all(servers.map((server) => joined(server, "room:1")));
  const refs = clients.map((client) => startCall(client, "room:1"));
  const received = [await nextCall(calls), await nextCall(calls)];
  expect(new Set(received.map(({ reply }) => reply.slice(0, 6))).size).toBe(2);
  for (const { reply, connection } of received) {
    expect(connection.slice(0, 6)).toBe(reply.slice(0, 6));
    // Both servers are subscribed.
    expect(await app.publish(`reply:${reply}`, OK)).toBe(2);
  }
  for (const [i, client] of clients.entries())
    expect((await replyTo(client, refs[i] ?? "")).status).toBe("ok");
  for (const { url } of servers) {
    expect(await metric(url, 'channel_calls_total{result="ok"}')).toBe(1);
    expect(await metric(url, "channel_calls_late_total")).toBe(0);
  }
  const queued = await Promise.all(servers.map((server) => joined(server, "queue:1")));
  const waiting = queued.map((client) => startCall(client, "queue:1"));
  for (let i = 0; i < 2; i++) {
    const [, text = ""] = (await app.redis.blpop("queue:search", 30)) ?? [];
    await app.publish(`reply:${parseCall(text).reply}`, OK);
  }
  for (const [i, client] of queued.entries()) expect(await reasonOf(client, waiting[i] ?? "")).toBe("ok");
}, 30_000);

test("in a cluster, a call that nobody gets ends with timeout, and queues work on any node", async () => {
  const ports = await startClusterNodes(ends);
  const server = await serverOn(`redis+cluster://127.0.0.1:${ports[0]}`);
  // Backends at each node: the count of receivers is that of one node, and says nothing.
  const client = await joined(server, "room:1");
  const nodes = ports.map(backend);
  for (const node of nodes) {
    const calls = await node.listen("call:room:1:*");
    // A call may be lost between nodes, or come late: the answered one is whichever has come.
    await eventually(() => {
      startCall(client, "room:1");
      return Bun.sleep(100).then(() => calls.all.length > 0);
    }, "a call");
    const { ref, reply } = await nextCall(calls);
    await answerUntilReplied(client, ref, reply, nodes);
  }
  const short = await joined(server, "short:1");
  expect(await reasonOf(short, startCall(short, "short:1"))).toBe("timeout");
  const queued = await joined(server, "queue:1");
  const ref = startCall(queued, "queue:1");
  // Whichever node has the queue: the others answer with MOVED.
  const taken = await Promise.any(
    ports.map(async (port) => {
      const redis = new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: 0 });
      redis.on("error", () => {});
      ends.push(() => redis.disconnect());
      const item = await redis.blpop("queue:search", 30);
      return item?.[1] ?? "";
    }),
  );
  const { reply } = parseCall(taken);
  await answerUntilReplied(queued, ref, reply, nodes);
}, 60_000);

test("with Sentinels, calls go to the master", async () => {
  const url = await startSentinel(ends);
  const server = await serverOn(url);
  const asker = new Redis({ host: "127.0.0.1", port: Number(/:(\d+)\//.exec(url)?.[1]) });
  ends.push(() => asker.disconnect());
  const master: unknown = await asker.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main");
  const app = backend(Number(Array.isArray(master) ? master[1] : 0));
  const client = await joined(server, "queue:1");
  const ref = startCall(client, "queue:1");
  const [, text = ""] = (await app.redis.blpop("queue:search", 30)) ?? [];
  await app.publish(`reply:${parseCall(text).reply}`, OK);
  expect(await reasonOf(client, ref)).toBe("ok");
}, 30_000);

describe("a user of Redis", () => {
  const RIGHTS =
    "on >x resetchannels &to:* &from:* &push:* &hub:* ~hub:* +publish +psubscribe +subscribe +ping +role +time " +
    "+client|setname +multi +exec +eval +get +set +exists +del +zadd +zrangebyscore +zremrangebyscore +hset +hdel " +
    "+hgetall +sadd +srem +scard +sscan +srandmember +expire";

  async function limitedServer(more: string, resp2 = false) {
    const redis = await startRedis(["--user", "limited", ...`${RIGHTS} ${more}`.trim().split(" ")]);
    ends.push(() => redis.stop());
    const proxy = await startRedisProxy(redis.port, { resp2 });
    ends.push(() => proxy.stop());
    const server = await serverOn(`redis://limited:x@127.0.0.1:${proxy.port}`);
    return { server, app: backend(redis.port) };
  }

  test.each([
    ["with RESP3", false],
    ["without RESP3", true],
  ] as const)(
    "%s and without reply:*, calls end with backend unavailable, and all else works",
    async (_how, resp2) => {
      const { server, app } = await limitedServer("&call:* ~queue:* +rpush +llen", resp2);
      const isRefusal = ({ message }: LogLine) => message.startsWith("Redis refused reply:*");
      const refusals = await server.log.atLeast(1, isRefusal);
      expect(refusals).toHaveLength(1);
      expect(refusals[0]?.reason).toStartWith("NOPERM");
      const client = await joined(server, "room:1");
      const calls = await app.listen("call:*");
      expect(await reasonOf(client, startCall(client, "room:1"))).toBe("backend unavailable");
      const queued = await joined(server, "queue:1");
      expect(await reasonOf(queued, startCall(queued, "queue:1"))).toBe("backend unavailable");
      expect(calls.all).toEqual([]);
      await app.publish("to:room:1:news", "1");
      await client.event("news");
      expect(server.lines.filter(({ message }) => message.startsWith("Redis refused hub:*"))).toEqual([]);
    },
  );

  test("with the rights of the documentation, calls are answered; without those of queues, they are refused", async () => {
    const { server, app } = await limitedServer("&call:* &reply:*", true);
    const client = await joined(server, "room:1");
    const calls = await app.listen("call:*");
    const ref = startCall(client, "room:1");
    await app.publish(`reply:${(await nextCall(calls)).reply}`, OK);
    expect(await reasonOf(client, ref)).toBe("ok");
    const queued = await joined(server, "queue:1");
    expect(await reasonOf(queued, startCall(queued, "queue:1"))).toBe("backend unavailable");
    await server.log.until(({ message }) => message === "Redis refused the queues of calls", "the reason");
    await app.redis.call("ACL", "SETUSER", "limited", "~queue:*", "+rpush", "+llen");
    const next = startCall(queued, "queue:1");
    const [, text = ""] = (await app.redis.blpop("queue:search", 30)) ?? [];
    await app.publish(`reply:${parseCall(text).reply}`, OK);
    expect(await reasonOf(queued, next)).toBe("ok");
  });
});

test("while Redis is away, calls end with backend unavailable or their time-out", async () => {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const server = await serverOn(redis.url);
  const app = backend(redis.port);
  await app.listen("call:*");
  const client = await joined(server, "short:1");
  const queued = await joined(server, "queue:1");
  const open = startCall(client, "short:1");
  await redis.down();
  expect(await reasonOf(client, open)).toMatch(/^(timeout|backend unavailable)$/);
  await eventually(
    async () => (await reasonOf(client, startCall(client, "short:1"))) === "backend unavailable",
    "the loss",
  );
  expect(await reasonOf(queued, startCall(queued, "queue:1"))).toBe("backend unavailable");
  await redis.restart();
  await eventually(async () => {
    const ref = startCall(queued, "queue:1");
    const reason = reasonOf(queued, ref);
    const accepted = await Promise.race([reason.then(() => false), queueLength(app).then((n) => n > 0)]);
    return accepted;
  }, "an accepted call");
  const [, text = ""] = (await app.redis.blpop("queue:search", 30)) ?? [];
  const { ref, reply } = parseCall(text);
  await app.publish(`reply:${reply}`, OK);
  expect(await reasonOf(queued, ref)).toBe("ok");
}, 60_000);

async function queueLength({ redis }: Backend): Promise<number> {
  for (let tries = 0; tries < 20; tries++) {
    const length = await redis.llen("queue:search").catch(() => 0);
    if (length > 0) return length;
    await Bun.sleep(10);
  }
  return 0;
}

describe("a reload", () => {
  test("lets clients wait for their answers, and ends open calls with server restarting", async () => {
    const server = await startReloading({ toml: `shutdown_grace = "8s"\n${TOML}` });
    ends.push(() => server.stop());
    const app = backend(server.redis.port);
    const calls = await app.listen("call:*");
    const [answered, open] = [await joined(server.channel, "room:1"), await joined(server.channel, "room:2")];
    const [one, two] = [startCall(answered, "room:1"), startCall(open, "room:2")];
    const received = [await nextCall(calls), await nextCall(calls)];
    expect(await server.reload()).toBe("0: ");
    // The successor serves; the calls are those of the old process.
    await app.publish(`reply:${received.find(({ ref }) => ref === one)?.reply}`, OK);
    expect(await reasonOf(answered, one)).toBe("ok");
    expect((await answered.socket.closed).code).toBe(1012);
    expect(await reasonOf(open, two)).toBe("server restarting");
    expect((await open.socket.closed).code).toBe(1012);
    const client = await joined(server.channel, "room:1");
    const next = startCall(client, "room:1");
    await app.publish(`reply:${(await nextCall(calls)).reply}`, OK);
    expect(await reasonOf(client, next)).toBe("ok");
  }, 60_000);
});
