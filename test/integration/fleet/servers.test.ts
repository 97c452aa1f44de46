import { afterEach, expect, test } from "bun:test";
import { call } from "../api-client.ts";
import { type FleetWorld, listServers, startFleet, states, until, untilServers } from "./fleet-world.ts";

let world: FleetWorld | null = null;
afterEach(async () => {
  await world?.stop();
  world = null;
});

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

test("each server lists all, and a connection id begins with the incarnation of its server", async () => {
  world = await startFleet(["a", "b", "c"]);
  const [a, b] = world.servers;
  if (a === undefined || b === undefined) throw new Error("servers");
  await world.join(b, "room", "alice");
  // A report that is late by a second lists its server as silent meanwhile.
  const rows = await untilServers(
    a,
    (all) =>
      all.some(({ name, connections }) => name !== "a" && connections === 1) &&
      states(all).join() === "a up,b up,c up",
  );
  expect(new Set(rows.map(({ incarnation }) => incarnation)).size).toBe(3);
  expect(rows.filter(({ self }) => self).length).toBe(1);
  expect(await metric(a.url, "channel_servers")).toBe(3);
  for (const server of world.servers) {
    expect(server.lines.filter(({ level }) => level === "error" || level === "unparsed")).toEqual([]);
  }
}, 60_000);

test("a killed server is dead after 10 s on all others, and one of them wins", async () => {
  world = await startFleet(["a", "b", "c"]);
  const [a, b, c] = world.servers;
  if (a === undefined || b === undefined || c === undefined) throw new Error("servers");
  const killed = (await listServers(c)).find(({ self }) => self);
  c.kill("SIGKILL");
  const at = performance.now();
  for (const server of [a, b]) {
    const rows = await untilServers(server, (all) => all.some(({ state }) => state === "dead"), 20_000);
    expect(rows.find(({ state }) => state === "dead")?.incarnation).toBe(killed?.incarnation);
    expect(await metric(server.url, "channel_servers")).toBe(2);
  }
  expect(performance.now() - at).toBeGreaterThan(7_000);
  const dead = await world.backend.redis.ttl(`hub:dead:${killed?.incarnation}`);
  expect(dead).toBeGreaterThan(86_000);
}, 60_000);

test("a server frozen for 30 s is declared dead, and continues under a new incarnation; its old connections stay", async () => {
  world = await startFleet(["a", "b"]);
  const [a, b] = world.servers;
  if (a === undefined || b === undefined) throw new Error("servers");
  const before = (await listServers(b)).find(({ self }) => self);
  const client = await world.join(b, "room", "alice");
  b.kill("SIGSTOP");
  await untilServers(a, (all) => all.some(({ state }) => state === "silent"));
  for (let i = 0; i < 50; i++) await world.backend.publish("to:room:news", String(i));
  await untilServers(a, (all) => all.some(({ state, lag }) => state === "silent" && lag >= 50));
  expect(await metric(a.url, 'channel_fleet_lag_messages\\{server="b"\\}')).toBeGreaterThanOrEqual(50);
  expect(await metric(a.url, 'channel_fleet_lag_messages\\{server="a"\\}')).toBe(0);
  await untilServers(a, (all) => all.some(({ state }) => state === "dead"));
  await Bun.sleep(20_000);
  b.kill("SIGCONT");
  const renewed = await b.log.until(
    ({ message }) => message.includes("declared this one dead"),
    "the new incarnation",
  );
  expect(renewed.previous).toBe(before?.incarnation);
  const rows = await untilServers(a, (all) => all.length === 2 && all.every(({ state }) => state === "up"));
  expect(rows.map(({ incarnation }) => incarnation)).toContain(String(renewed.incarnation));
  // The frozen one waits 10 s of its own ticks before it declares anybody dead.
  expect(b.lines.filter(({ message }) => message === "server declared dead")).toEqual([]);
  expect((await client.ask({ topic: "room", event: "x", payload: "1" })).status).toBe("ok");
  // Its old connections are still found by their ids, from any server.
  const { body } = await call(b.url, "/api/connections?server=b&search=alice");
  const [{ id }] = body.connections;
  expect(String(id)).toStartWith(String(before?.incarnation));
  const closed = await call(a.url, `/api/connections/${id}`, { method: "DELETE" });
  expect(closed.body).toEqual({ disconnected: 1, servers: [{ name: "b", ok: true, disconnected: 1 }] });
  expect(await client.socket.closed).toMatchObject({ code: 1001 });
}, 90_000);

test("a restart of Redis kills no server: each waits 10 s from when it is back", async () => {
  world = await startFleet(["a", "b"]);
  const servers = world.servers;
  const before = await Promise.all(servers.map(listServers));
  await world.redis.down();
  await Bun.sleep(12_000);
  for (const server of servers) expect(states(await listServers(server))).toHaveLength(2);
  await world.redis.restart();
  for (const { url } of servers) {
    await until(
      async () => (await fetch(`${url}/ready`)).status,
      (status) => status === 200,
    );
  }
  await Bun.sleep(12_000);
  for (const [i, server] of servers.entries()) {
    const rows = await untilServers(server, (all) => states(all).join() === "a up,b up");
    expect(rows.map(({ incarnation }) => incarnation)).toEqual(
      before[i]?.map(({ incarnation }) => incarnation) ?? [],
    );
  }
}, 90_000);

test("a server that is stopped says so, and is removed after 10 s", async () => {
  world = await startFleet(["a", "b"]);
  const [a, b] = world.servers;
  if (a === undefined || b === undefined) throw new Error("servers");
  await b.stop();
  await untilServers(a, (rows) => states(rows).join() === "a up,b stopped");
  await until(
    () => metric(a.url, "channel_servers"),
    (count) => count === 1,
  );
  expect(a.lines.filter(({ message }) => message === "server declared dead")).toEqual([]);
}, 60_000);
