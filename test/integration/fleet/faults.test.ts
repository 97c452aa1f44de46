import { afterEach, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Redis from "ioredis";
import { call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import { mint } from "../phoenix-client.ts";
import { SECRET } from "../world.ts";
import {
  type FleetWorld,
  listServers,
  startFleet,
  states,
  TOML,
  until,
  untilServers,
} from "./fleet-world.ts";

const WRONG_SECRET =
  "ignored messages of servers that another secret signed: fleet_secret must be the same on all";

let world: FleetWorld | null = null;
const clients: Redis[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  await world?.stop();
  world = null;
});

async function start(names: readonly string[]): Promise<FleetWorld> {
  world = await startFleet(names);
  return world;
}

async function rejected({ url }: ChannelProcess): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^channel_fleet_rejected_total (\S+)$/m.exec(text)?.[1]);
}

test("another secret: each server is alone, and logs one error that says so", async () => {
  const { servers, start: startServer } = await start(["a"]);
  const other = await startServer("b", { toml: TOML.replace("what-the-servers", "what-other-servers") });
  const [a] = servers;
  if (a === undefined) throw new Error("a server");
  for (const server of [a, other]) {
    // It may come before the line that it listens.
    await server.log.atLeast(1, ({ message }) => message === WRONG_SECRET, "the error");
    await until(
      () => rejected(server),
      (count) => count >= 3,
    );
    expect(states(await listServers(server))).toHaveLength(1);
    expect(server.lines.filter(({ level }) => level === "error")).toHaveLength(1);
  }
}, 60_000);

test("several secrets: servers with the old and the new one see each other during a change", async () => {
  const { servers, start: startServer } = await start(["a"]);
  const both = TOML.replace(
    /fleet_secret = "(.*)"/,
    'fleet_secrets = ["the-new-secret-of-these-tests", "$1"]',
  );
  const older = TOML.replace(
    /fleet_secret = "(.*)"/,
    'fleet_secrets = ["$1", "the-new-secret-of-these-tests"]',
  );
  const [a] = servers;
  if (a === undefined) throw new Error("a server");
  await a.stop();
  const [b, c] = await Promise.all([startServer("b", { toml: both }), startServer("c", { toml: older })]);
  for (const server of [b, c]) {
    await untilServers(server, (rows) => rows.filter(({ state }) => state === "up").length === 2);
  }
}, 60_000);

test("forged and huge messages have no effect, and are counted", async () => {
  const { servers, backend } = await start(["a", "b"]);
  const [a] = servers;
  if (a === undefined) throw new Error("a server");
  const forged = `${"A".repeat(22)}${JSON.stringify({ incarnation: "forged", seq: 1, name: "forged" })}`;
  const before = await rejected(a);
  for (const kind of ["node", "ask"]) {
    await backend.publish(`hub:${kind}`, forged);
    await backend.publish(`hub:${kind}`, "");
    await backend.publish(`hub:${kind}`, Buffer.alloc(900 * 1024, "{"));
    await backend.publish(`hub:${kind}`, Buffer.alloc(3 * 1024 * 1024, 0));
  }
  await backend.publish("hub:unknown", forged);
  await until(
    () => rejected(a),
    (count) => count >= before + 8,
  );
  // The other server is silent while its report is late.
  await untilServers(a, (rows) => states(rows).join() === "a up,b up");
  expect((await call(a.url, "/api/connections")).body.servers).toEqual([
    { name: "a", ok: true },
    { name: "b", ok: true },
  ]);
  expect(await a.log.atLeast(1, ({ level }) => level === "error")).toHaveLength(1);
}, 60_000);

test("repeated messages have no effect: a kick is not done again, a dead server does not come back", async () => {
  const { servers, backend, connect } = await start(["a", "b", "c"]);
  const [a, b, c] = servers;
  if (a === undefined || b === undefined || c === undefined) throw new Error("three servers");
  const asks = await backend.listen("hub:ask");
  const reports = await backend.listen("hub:node");
  const client = await connect(b);
  const token = mint({ id: "kim", channel: "room" }, SECRET);
  await client.join("room", { token });
  expect((await call(a.url, "/api/kick", { body: { channel: "room", id: "kim" } })).body.kicked).toBe(1);
  await client.event("phx_close");
  const kick = await asks.until(({ payload }) => payload.includes('"kind":"kick"'), "the request");
  expect((await client.join("room", { token })).status).toBe("ok");
  for (let i = 0; i < 5; i++) await backend.publish(kick.name, kick.payload);

  const dying = (await listServers(c)).find(({ self }) => self)?.incarnation ?? "";
  const report = await reports.until(
    ({ payload }) => payload.includes(`"incarnation":"${dying}"`),
    "a report",
  );
  c.kill("SIGKILL");
  const repeating = setInterval(() => void backend.publish(report.name, report.payload), 500);
  try {
    await untilServers(a, (rows) => rows.some(({ state }) => state === "dead"));
    await Bun.sleep(2_000);
    // The second one is silent while its report is late.
    await untilServers(a, (rows) => states(rows).join() === "a up,b up,c dead");
    // A server that never saw it does not take the repetition for a new server.
    const late = await world?.start("late");
    if (late === undefined) throw new Error("a late server");
    await untilServers(late, (rows) => rows.length === 3);
    await Bun.sleep(1_500);
    await untilServers(late, (rows) => states(rows).join() === "a up,b up,late up");
  } finally {
    clearInterval(repeating);
  }
  // Still a member after all the repetitions.
  const pushed = await client.ask({ topic: "room", joinRef: "2", event: "still", payload: "1" });
  expect(pushed.status).toBe("ok");
}, 90_000);

/** The rules of an access list in a page of the documentation. */
function ruleOf(page: string, user: string): string[] {
  const text = readFileSync(join(import.meta.dir, "../../../docs", page), "utf8");
  const found = new RegExp(`ACL SETUSER ${user} on >\\S+ (.+)`).exec(text)?.[1];
  if (found === undefined) throw new Error(`docs/${page} has no access list of ${user}`);
  return found.trim().split(" ");
}

test("the documented access lists: servers do all, a backend cannot speak for a server", async () => {
  const { redis, backend, start: startServer, join: joinAs } = await start([]);
  await backend.redis.call(
    "ACL",
    "SETUSER",
    "channel",
    "reset",
    "on",
    ">s",
    ...ruleOf("errors.md", "channel"),
  );
  await backend.redis.call(
    "ACL",
    "SETUSER",
    "backend",
    "reset",
    "on",
    ">b",
    ...ruleOf("fleet.md", "backend"),
  );
  const redisUrl = `redis://channel:s@127.0.0.1:${redis.port}`;
  const [a, b] = await Promise.all([startServer("a", { redisUrl }), startServer("b", { redisUrl })]);
  await untilServers(a, (rows) => rows.length === 2);
  await joinAs(b, "room", "alice");
  const { body } = await call(a.url, "/api/disconnect", { body: { id: "alice", ban: "1h" } });
  expect([body.disconnected, body.servers.map(({ ok }: { ok: boolean }) => ok)]).toEqual([1, [true, true]]);
  expect(await backend.redis.hexists("hub:bans", "alice")).toBe(1);

  const client = new Redis({
    host: "127.0.0.1",
    port: redis.port,
    username: "backend",
    password: "b",
    enableReadyCheck: false,
  });
  clients.push(client);
  await client.publish("to:room:news", "1");
  await client.rpush("queue:work", "1");
  const refusals = await Promise.allSettled([
    client.publish("hub:ask", "x"),
    client.publish("hub:node", "x"),
    client.get("hub:bans"),
    client.del("hub:bans"),
    client.set("hub:dead:abc", "1"),
  ]);
  for (const refusal of refusals) {
    expect(refusal.status === "rejected" ? String(refusal.reason) : "permitted").toContain("NOPERM");
  }
  const listener = client.duplicate();
  clients.push(listener);
  await listener.psubscribe("from:*");
  const heard = await listener.psubscribe("hub:*").then(
    () => "permitted",
    (error: unknown) => String(error),
  );
  expect(heard).toContain("NOPERM");
  const log = JSON.stringify(await backend.redis.call("ACL", "LOG"));
  expect([...log.matchAll(/"object","([^"]+)","username","channel"/g)].map(([, object]) => object)).toEqual([
    "config|get",
  ]);
}, 60_000);

test("a Redis that may evict keys: one warning", async () => {
  const { redis, backend, start: startServer } = await start([]);
  await backend.redis.config("SET", "maxmemory-policy", "allkeys-lru");
  const server = await startServer("a", { redisUrl: redis.url });
  const warnings = await until(
    async () => server.lines.filter(({ message }) => message.startsWith("Redis may evict bans")),
    (lines) => lines.length > 0,
  );
  expect(warnings).toEqual([expect.objectContaining({ level: "warn", policy: "allkeys-lru" })]);
});
