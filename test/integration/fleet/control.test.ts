import { afterAll, beforeAll, expect, test } from "bun:test";
import { sign } from "../../../src/auth/signature.ts";
import { call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import { connectGroups } from "../groups/groups-client.ts";
import { mint } from "../phoenix-client.ts";
import { SECRET } from "../world.ts";
import { type FleetWorld, listServers, startFleet, TOML, until } from "./fleet-world.ts";

const CHANNELSTREAM = "the-secret-of-channelstream-in-these-tests";
const WITH_CHANNELSTREAM = `${TOML}[channelstream]\nsecret = "${CHANNELSTREAM}"\nallow_posting_from = ["127.0.0.1"]\n`;

let world: FleetWorld;
let a: ChannelProcess;
let b: ChannelProcess;
let c: ChannelProcess;
beforeAll(async () => {
  world = await startFleet(["a", "b", "c"], { toml: WITH_CHANNELSTREAM });
  const [one, two, three] = world.servers;
  if (one === undefined || two === undefined || three === undefined) throw new Error("three servers");
  [a, b, c] = [one, two, three];
}, 30_000);
afterAll(() => world?.stop());

test("a kick reaches the members on every server, and says how many each removed", async () => {
  const clients = await Promise.all([b, b, c].map((server) => world.join(server, "room:kick", "kim")));
  const { body } = await call(a.url, "/api/kick", { body: { channel: "room:kick", id: "kim" } });
  expect(body).toEqual({
    kicked: 3,
    servers: [
      { name: "a", ok: true, kicked: 0 },
      { name: "b", ok: true, kicked: 2 },
      { name: "c", ok: true, kicked: 1 },
    ],
  });
  for (const client of clients) expect((await client.event("phx_close")).topic).toBe("room:kick");
  const again = await call(a.url, "/api/kick", { body: { channel: "room:kick", id: "kim" } });
  expect(again.status).toBe(404);
});

test("a ban holds on every server and protocol, also for /connect of Channelstream, and ends everywhere", async () => {
  const clients = await Promise.all([a, b, c].map((server) => world.join(server, "room:ban", "bob")));
  const connect = (server: ChannelProcess): Promise<Response> => {
    return fetch(`${server.url}/connect`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-channelstream-secret": sign("/any", CHANNELSTREAM, Date.now()),
      },
      body: JSON.stringify({ username: "bob", channels: ["pub"] }),
    });
  };
  const { body } = await call(b.url, "/api/disconnect", { body: { id: "bob", ban: "1h" } });
  expect(body.disconnected).toBe(3);
  expect(body.servers.map(({ name, ok }: { name: string; ok: boolean }) => [name, ok])).toEqual([
    ["a", true],
    ["b", true],
    ["c", true],
  ]);
  for (const client of clients) expect(await client.socket.closed).toMatchObject({ code: 1001 });
  for (const server of [a, b, c]) {
    const client = await world.connect(server);
    const joined = await client.join("room:ban", { token: mint({ id: "bob", channel: "room:ban" }, SECRET) });
    expect(joined.response).toEqual({ reason: "unauthorized" });
    expect((await connect(server)).status).toBe(403);
    expect((await call(server.url, "/api/bans")).body.bans).toEqual([
      { id: "bob", until: expect.any(Number) },
    ]);
  }
  // A server that starts later knows it.
  const late = await world.start("late");
  expect((await connect(late)).status).toBe(403);
  const lifted = await call(c.url, "/api/bans/bob", { method: "DELETE" });
  expect(lifted.body.lifted).toBe(true);
  for (const server of [a, b, c]) {
    await world.join(server, "room:ban", "bob");
    expect((await call(server.url, "/api/bans")).body.bans).toEqual([]);
  }
  world.servers.splice(world.servers.indexOf(late), 1);
  await late.stop();
}, 60_000);

test("a connection is closed on the server that its id names", async () => {
  const client = await world.join(c, "room:close", "carol");
  const { body } = await call(c.url, "/api/connections?search=carol");
  const { id } = body.connections[0];
  const closed = await call(a.url, `/api/connections/${id}`, { method: "DELETE" });
  expect(closed.body).toEqual({ disconnected: 1, servers: [{ name: "c", ok: true, disconnected: 1 }] });
  expect(await client.socket.closed).toMatchObject({ code: 1001 });
  expect((await call(a.url, `/api/connections/${id}`, { method: "DELETE" })).status).toBe(404);
});

test("a frozen server is named, and is not waited for longer than a second", async () => {
  const client = await world.join(b, "room:frozen", "dora");
  c.kill("SIGSTOP");
  try {
    const at = performance.now();
    const { body } = await call(a.url, "/api/disconnect", { body: { id: "dora" } });
    // It counts as dead after 10 s.
    expect(performance.now() - at).toBeLessThan(5_000);
    expect(body.disconnected).toBe(1);
    expect(body.servers).toEqual([
      { name: "a", ok: true, disconnected: 0 },
      { name: "b", ok: true, disconnected: 1 },
      { name: "c", ok: false, disconnected: 0 },
    ]);
  } finally {
    c.kill("SIGCONT");
  }
  expect(await client.socket.closed).toMatchObject({ code: 1001 });
  await until(
    () => listServers(a),
    (rows) => rows.filter(({ state }) => state === "up").length === 3,
  );
}, 30_000);

test("event groups are disconnected too", async () => {
  const token = mint({ id: "gus", channel: "job_events-1" }, SECRET);
  const client = await connectGroups(c.url, { headers: { authorization: `Bearer ${token}` } });
  await until(
    // Also ids of connections may have three letters in common with a name.
    async () => (await call(c.url, "/api/connections?search=gus")).body.connections,
    (rows: { users: string[] }[]) => rows.some(({ users }) => users.includes("gus")),
    15_000,
  );
  const { body } = await call(a.url, "/api/disconnect", { body: { id: "gus" } });
  expect(body.disconnected).toBe(1);
  client.socket.cut();
}, 30_000);

test("bans survive a Redis that comes back empty, and those made meanwhile are kept in it", async () => {
  await call(a.url, "/api/disconnect", { body: { id: "before", ban: "1h" } });
  await world.redis.down();
  await until(
    async () => (await fetch(`${a.url}/ready`)).status,
    (status) => status === 503,
  );
  const { body } = await call(a.url, "/api/disconnect", { body: { id: "meanwhile", ban: "1h" } });
  expect(body.servers.filter(({ ok }: { ok: boolean }) => ok)).toEqual([
    { name: "a", ok: true, disconnected: 0 },
  ]);
  await world.redis.restart();
  const banned = async (server: ChannelProcess): Promise<string[]> =>
    (await call(server.url, "/api/bans")).body.bans.map(({ id }: { id: string }) => id).sort();
  await until(
    () => world.backend.redis.hmget("hub:bans", "before", "meanwhile"),
    (entries) => entries.every((entry) => entry !== null),
  );
  const late = await world.start("later");
  expect(await banned(late)).toEqual(["before", "meanwhile"]);
  // For the next test: each server reconnects when its own pause is over.
  for (const { url } of [a, b, c]) {
    await until(
      async () => (await fetch(`${url}/ready`)).status,
      (status) => status === 200,
    );
  }
}, 60_000);

test("a message about a revoked token that is not signed is ignored", async () => {
  const token = mint({ id: "rita", channel: "room:revoke", jti: "token-of-rita" }, SECRET);
  const client = await world.connect(b);
  await client.join("room:revoke", { token });
  await world.backend.publish("hub:revoked", `${Date.now() + 60_000} token:token-of-rita`);
  await Bun.sleep(200);
  expect((await client.ask({ topic: "room:revoke", event: "x", payload: "1" })).status).toBe("ok");
  const { status } = await call(a.url, "/api/revocations", {
    body: { jti: "token-of-rita", expires_in: "1h" },
  });
  expect(status).toBe(200);
  expect(await client.socket.closed).toMatchObject({ code: 1001 });
}, 30_000);
