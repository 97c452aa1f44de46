/** Sessions, tokens and secrets that are revoked before they expire, on several servers of one Redis. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Revocation, RevocationStore } from "../../src/auth/revocations.ts";
import { createRedisRevocations } from "../../src/bus/redis/redis-revocations.ts";
import { call, signIn } from "./api-client.ts";
import { recordingLog } from "./bus-rig.ts";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { Inbox } from "./inbox.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { startCluster, startSentinel } from "./redis-topologies.ts";
import { ADMIN_SECRET, backendOn, SECRET } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function redisProcess(): Promise<RedisProcess> {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  return redis;
}

async function server(redis: RedisProcess, port = 0, secrets = defaultSecrets): Promise<ChannelProcess> {
  const channel = await startChannel({ args: ["--redis-url", redis.url], toml: secrets, port });
  ends.push(() => channel.stop());
  return channel;
}

const defaultSecrets = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;

async function statusOf({ url }: ChannelProcess, cookie: string): Promise<number> {
  return (await call(url, "/api/bans", { secret: null, headers: { cookie } })).status;
}

async function adminSocket({ url }: ChannelProcess, cookie: string): Promise<PhoenixClient> {
  const client = await connectPhoenix(url, { headers: { cookie, origin: url } });
  ends.push(() => client.socket.cut());
  return client;
}

function signOut({ url }: ChannelProcess, cookie: string) {
  return call(url, "/admin/sign_out", { secret: null, method: "POST", headers: { cookie, origin: url } });
}

describe("sign-out", () => {
  test("ends a session and its sockets on every server, permanently", async () => {
    const redis = await redisProcess();
    const [one, two] = await Promise.all([server(redis), server(redis)]);
    const cookie = await signIn(one.url);
    const other = await signIn(one.url);
    const sockets = await Promise.all([adminSocket(one, cookie), adminSocket(two, cookie)]);
    for (const client of sockets) expect((await client.join("admin", {})).status).toBe("ok");
    const kept = await adminSocket(two, other);
    expect((await kept.join("admin", {})).status).toBe("ok");
    expect([await statusOf(one, cookie), await statusOf(two, cookie)]).toEqual([200, 200]);

    expect((await signOut(one, cookie)).status).toBe(204);
    expect(await statusOf(one, cookie)).toBe(401);
    await eventually(async () => (await statusOf(two, cookie)) === 401, "the other server");
    // Only members that remain receive later messages of the channel.
    const backend = await connectPhoenix(two.url);
    ends.push(() => backend.socket.cut());
    await backend.join("later", { token: mint({ id: "alice", channel: "later" }, SECRET) });
    await kept.frames.until(({ event, text }) => event === "channel.add" && text.includes("later"));
    for (const client of sockets) {
      expect((await client.socket.closed).code).toBe(1001);
      expect(client.frames.all.some(({ text }) => text.includes('"later"'))).toBe(false);
    }
    expect(kept.socket.isClosed).toBe(false);

    await one.stop();
    const again = await server(redis, one.port);
    expect([await statusOf(again, cookie), await statusOf(again, other)]).toEqual([401, 200]);
  }, 20_000);

  test("while Redis is unavailable applies on this server, and on the others after the reconnect", async () => {
    const redis = await redisProcess();
    const [one, two] = await Promise.all([server(redis), server(redis)]);
    const cookie = await signIn(one.url);
    expect(await statusOf(two, cookie)).toBe(200);
    await redis.down();
    await eventually(async () => (await call(one.url, "/ready")).status === 503, "the loss");
    expect((await signOut(one, cookie)).status).toBe(204);
    expect(await statusOf(one, cookie)).toBe(401);
    await redis.restart();
    await eventually(async () => (await statusOf(two, cookie)) === 401, "the other server", 15_000);
    // A server that starts now reads it from Redis.
    expect(await statusOf(await server(redis), cookie)).toBe(401);
  }, 30_000);

  test("with the embedded bus a restart ends all sessions", async () => {
    const args = ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${(await redisProcess()).port + 1}`];
    const start = (port = 0) => startChannel({ args, toml: defaultSecrets, port });
    const first = await start();
    const cookie = await signIn(first.url);
    const ended = await signIn(first.url);
    await signOut(first, ended);
    expect([await statusOf(first, cookie), await statusOf(first, ended)]).toEqual([200, 401]);
    await first.stop();
    const second = await start(first.port);
    ends.push(() => second.stop());
    expect([await statusOf(second, cookie), await statusOf(second, ended)]).toEqual([401, 401]);
  });
});

describe("revocation", () => {
  test("of one token ends its connections on every server, and rejects it after a restart", async () => {
    const redis = await redisProcess();
    const [one, two] = await Promise.all([server(redis), server(redis)]);
    const minted = async () =>
      (await call(one.url, "/api/tokens", { body: { channels: ["room"], id: "alice", expires_in: "1h" } }))
        .body;
    const [bad, good] = [await minted(), await minted()];
    const join = async ({ url }: ChannelProcess, token: string) => {
      const client = await connectPhoenix(url);
      ends.push(() => client.socket.cut());
      return { client, status: (await client.join("room", { token })).status };
    };
    const joined = await Promise.all([join(one, bad.token), join(two, bad.token), join(two, good.token)]);
    expect(joined.map(({ status }) => status)).toEqual(["ok", "ok", "ok"]);
    const group = await fetch(`${one.url}/health`);
    expect(group.status).toBe(200);

    const revoked = await call(one.url, "/api/revocations", { body: { jti: bad.jti, expires_in: "1h" } });
    expect([revoked.status, revoked.body.jti]).toEqual([200, bad.jti]);
    expect((await joined[0]?.client.socket.closed)?.code).toBe(1001);
    expect((await joined[1]?.client.socket.closed)?.code).toBe(1001);
    expect(joined[2]?.client.socket.isClosed).toBe(false);
    for (const each of [one, two]) {
      expect((await join(each, bad.token)).status).toBe("error");
      expect((await join(each, good.token)).status).toBe("ok");
      const listed = await call(each.url, "/api/revocations");
      expect(listed.body.revocations.map(({ jti }: { jti: string }) => jti)).toEqual([bad.jti]);
    }
    expect((await join(await server(redis), bad.token)).status).toBe("error");
  }, 20_000);
});

describe("rotation of secrets", () => {
  test("accepts tokens, administrators and keys of both secrets", async () => {
    const redis = await redisProcess();
    const [newer, older] = ["a-newer-secret-that-is-long-enough-for-all", SECRET];
    const adminNewer = "a-newer-administrator-that-is-long-enough";
    const [keyNew, keyOld] = ["the-newer-key-of-a-backend", "the-older-key-of-a-backend"];
    const before = await server(redis);
    const adminToken = (await call(before.url, "/token", { body: { channel: "admin", id: "ops" } })).body
      .token;
    const cookie = await signIn(before.url);
    const rotated = await server(
      redis,
      0,
      `jwt_secrets = [{ kid = "2027", secret = "${newer}" }, "${older}"]
admin_secrets = ["${adminNewer}", "${ADMIN_SECRET}"]
[[api_keys]]
name = "billing"
keys = ["${keyNew}", "${keyOld}"]
can = ["read"]
`,
    );
    const join = async (topic: string, token: string) => {
      const client = await connectPhoenix(rotated.url);
      ends.push(() => client.socket.cut());
      return (await client.join(topic, { token })).status;
    };
    for (const secret of [newer, older])
      expect(await join("room", mint({ id: "alice", channel: "room" }, secret))).toBe("ok");
    expect(await join("room", mint({ id: "alice", channel: "room" }, "another secret of the world"))).toBe(
      "error",
    );
    expect(await join("admin", adminToken)).toBe("ok");
    expect(await statusOf(rotated, cookie)).toBe(200);
    for (const secret of [adminNewer, ADMIN_SECRET, keyNew, keyOld])
      expect((await call(rotated.url, "/api/stats", { secret })).status).toBe(200);
    const { token } = (await call(rotated.url, "/token", { body: { channel: "room" } })).body;
    const [head = ""] = token.split(".");
    expect(JSON.parse(Buffer.from(head, "base64url").toString())).toEqual({
      typ: "JWT",
      alg: "HS256",
      kid: "2027",
    });
    // The older server accepts only tokens signed with the secret that both have.
    const there = await connectPhoenix(before.url);
    ends.push(() => there.socket.cut());
    expect((await there.join("room", { token })).status).toBe("error");
  });
});

describe("the audit log", () => {
  test("contains each act with user, address, target and result, and no secret", async () => {
    const redis = await redisProcess();
    const key = "a-moderator-key-of-some-backend";
    const channel = await server(
      redis,
      0,
      `${defaultSecrets}[[api_keys]]\nname = "billing"\nkey = "${key}"\ncan = ["moderate", "publish"]\nchannels = ["room:*"]\n`,
    );
    const acts = () => channel.lines.filter(({ message }) => message === "audit");
    const ask = (path: string, body: unknown, secret: string | null = ADMIN_SECRET, headers = {}) =>
      call(channel.url, path, { body, secret, headers });
    const cookie = await signIn(channel.url);
    const mine = { cookie, origin: channel.url };
    await ask("/admin/sign_in", { secret: "a wrong one" }, null);
    await ask("/api/publish", { channel: "room:1", event: "news", payload: "confidential" }, key);
    await ask("/api/publish", { channel: "hall", event: "news", payload: 1 }, key);
    await ask("/api/kick", { channel: "room:1", id: "bob" }, key);
    await ask("/api/disconnect", { id: "bob", ban: "10m" }, key);
    await ask("/api/disconnect", { id: "bob", ban: "10m" }, null, mine);
    await call(channel.url, "/api/bans/bob", { method: "DELETE" });
    await ask("/api/revocations", { jti: "j1", expires_in: "1h" });
    const { token } = (await ask("/api/tokens", { channels: ["room:1"], id: "bob" })).body;
    await ask("/token", { channel: "admin", id: "ops" });
    await ask("/api/tokens", { channels: ["room:1"] }, key);
    await call(channel.url, "/api/bans", { secret: null, headers: { cookie } });
    await signOut(channel, cookie);
    await eventually(() => acts().some(({ act }) => act === "sign_out"), "the line of the last act");
    const rows = acts().map(({ time, level, message, ...fields }) => fields);
    const session = expect.stringMatching(/^session:[\w-]{8}$/);
    const from = "127.0.0.1";
    expect(rows).toEqual([
      { act: "sign_in", who: session, from, by: "secret", result: "ok" },
      { act: "prove", who: "nobody", from, by: "secret", result: "wrong secret" },
      { act: "sign_in", who: "nobody", from, result: "refused 401" },
      { act: "publish", who: "key:billing", from, channel: "room:1", event: "news", result: "ok" },
      { act: "publish", who: "key:billing", from, channel: "hall", event: "news", result: "refused 403" },
      { act: "kick", who: "key:billing", from, channel: "room:1", id: "bob", result: "refused 404" },
      { act: "disconnect", who: "key:billing", from, id: "bob", ban_secs: 600, result: "refused 403" },
      { act: "disconnect", who: session, from, id: "bob", ban_secs: 600, result: "ok" },
      { act: "lift_ban", who: "secret", from, id: "bob", result: "ok" },
      { act: "revoke", who: "secret", from, jti: "j1", result: "ok" },
      { act: "mint", who: "secret", from, id: "bob", channels: "room:1", result: "ok" },
      { act: "mint", who: "secret", from, id: "ops", channels: "admin", result: "ok" },
      { act: "mint", who: "key:billing", from, result: "refused 403" },
      { act: "sign_out", who: session, from, result: "ok" },
    ]);
    for (const secret of [ADMIN_SECRET, SECRET, key, token, cookie, "confidential", "a wrong one"])
      expect(channel.output()).not.toContain(secret);
  });

  test("a key that may moderate one channel can kick there, and cannot read", async () => {
    const redis = await redisProcess();
    const key = "a-moderator-key-of-some-backend";
    const channel = await server(
      redis,
      0,
      `${defaultSecrets}[[api_keys]]\nkey = "${key}"\ncan = ["moderate"]\nchannels = ["room:*"]\n`,
    );
    const client = await connectPhoenix(channel.url);
    ends.push(() => client.socket.cut());
    await client.join("room:1", { token: mint({ id: "bob", channel: "room:1" }, SECRET) });
    const kick = (name: string) =>
      call(channel.url, "/api/kick", { secret: key, body: { channel: name, id: "bob" } });
    expect((await kick("hall")).status).toBe(403);
    expect((await kick("room:1")).body).toMatchObject({ kicked: 1 });
    await client.event("phx_close");
    for (const path of ["/api/stats", "/api/channels", "/api/bans", "/api/revocations"])
      expect((await call(channel.url, path, { secret: key })).status).toBe(403);
    expect((await call(channel.url, "/api/tokens", { secret: key, body: { channels: ["x"] } })).status).toBe(
      403,
    );
  });
});

describe("shared revocations", () => {
  interface Peer {
    readonly store: RevocationStore;
    readonly received: Inbox<Revocation>;
  }

  async function peer(url: string): Promise<Peer> {
    const store = createRedisRevocations({ url, log: recordingLog().log });
    ends.push(() => store.stop());
    const received = new Inbox<Revocation>("revocations", ({ id }) => id);
    await store.start((revocation) => received.put(revocation));
    await eventually(() => store.complete, "the first list", 10_000);
    return { store, received };
  }

  const revocation = (id: string): Revocation => ({ kind: "token", id, until: Date.now() + 3_600_000 });

  /** Running servers receive a revocation at once; later ones read it from the list. */
  async function shares(url: string): Promise<void> {
    const [one, two] = await Promise.all([peer(url), peer(url)]);
    one.store.add(revocation("at once"));
    await two.received.until(({ id }) => id === "at once", "the published revocation", 10_000);
    const late = await peer(url);
    await late.received.until(({ id }) => id === "at once", "the stored revocation", 10_000);
  }

  test("over a Redis", async () => shares((await redisProcess()).url));
  test("over a Sentinel", async () => shares(await startSentinel(ends)), 40_000);
  test("over a cluster", async () => shares(await startCluster(ends)), 30_000);

  test("are restored after Redis lost its data", async () => {
    const redis = await redisProcess();
    const one = await peer(redis.url);
    one.store.add(revocation("kept"));
    await (await peer(redis.url)).received.until(({ id }) => id === "kept");
    await redis.restart();
    const late = createRedisRevocations({ url: redis.url, log: recordingLog().log });
    ends.push(() => late.stop());
    const received = new Inbox<Revocation>("revocations", ({ id }) => id);
    await late.start((each) => received.put(each));
    await received.until(({ id }) => id === "kept", "the restored revocation", 10_000);
  }, 20_000);

  test("are listed before they are published again: a server that starts then finds them in one of both", async () => {
    const redis = await redisProcess();
    const backend = backendOn(redis.port);
    ends.push(() => backend.stop());
    const one = await peer(redis.url);
    const published = await backend.listen("hub:revoked");
    const isLast = ({ payload }: { readonly payload: Buffer }) => payload.includes("token:last");
    for (const id of ["first", "last"]) one.store.add(revocation(id));
    await published.until(isLast);
    await backend.redis.del("hub:revoked");
    await backend.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await published.until(isLast, "the restored revocation", 10_000);
    expect(await backend.redis.zscore("hub:revoked", "token:last")).not.toBeNull();
  }, 20_000);

  test("keep the latest end, whoever writes last", async () => {
    const redis = await redisProcess();
    const backend = backendOn(redis.port);
    ends.push(() => backend.stop());
    const one = await peer(redis.url);
    const { kind, id, until } = revocation("extended");
    const endsAt = () => backend.redis.zscore("hub:revoked", `${kind}:${id}`);
    one.store.add({ kind, id, until });
    one.store.add({ kind, id, until: until - 1000 });
    await eventually(async () => (await endsAt()) === String(until), "the latest end");
    await backend.redis.zadd("hub:revoked", until - 2000, `${kind}:${id}`);
    await backend.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await eventually(async () => (await endsAt()) === String(until), "the latest end again", 10_000);
  }, 20_000);
});
