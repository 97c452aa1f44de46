import { afterEach, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Answer, call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import { eventually } from "../phoenix-client.ts";
import { type FleetWorld, startFleet, TOML, until, untilServers } from "./fleet-world.ts";

/*
 * `POST /api/publish` where Redis does not permit all that it uses, and where servers and Redis fail.
 */

const SETTINGS = `${TOML}[channels."kept:*"]\nhistory = 100\n`;

let world: FleetWorld | undefined;
afterEach(async () => {
  await world?.stop();
  world = undefined;
});

/** The rights that the documentation lists for a server, without some commands. */
function rightsWithout(...commands: readonly string[]): string[] {
  const text = readFileSync(join(import.meta.dir, "../../../docs/errors.md"), "utf8");
  const rights = /ACL SETUSER channel on >\S+ (.+)/.exec(text)?.[1]?.trim().split(" ") ?? [];
  for (const each of commands) if (!rights.includes(each)) throw new Error(`${each} is not documented`);
  return rights.filter((each) => !commands.includes(each));
}

/** Servers as a user of Redis without some commands. */
async function start(count: number, ...commands: readonly string[]): Promise<ChannelProcess[]> {
  const here = await startFleet([]);
  world = here;
  await here.backend.redis.call("ACL", "SETUSER", "channel", "on", ">s", ...rightsWithout(...commands));
  const redisUrl = `redis://channel:s@127.0.0.1:${here.redis.port}`;
  const names = ["a", "b"].slice(0, count);
  const servers = await Promise.all(names.map((name) => here.start(name, { redisUrl, toml: SETTINGS })));
  for (const server of servers) await untilServers(server, (rows) => rows.length === count);
  return servers;
}

function publish({ url }: ChannelProcess, body: unknown): Promise<Answer> {
  return call(url, "/api/publish", { body });
}

/** The warnings with a text, when there is one. */
async function warnings({ log }: ChannelProcess, text: string): Promise<number> {
  return (await log.atLeast(1, ({ level, message }) => level === "warn" && message.includes(text))).length;
}

async function ready({ url }: ChannelProcess): Promise<void> {
  await eventually(async () => (await fetch(`${url}/ready`)).status === 200, "a live bus");
}

test("with all rights, nothing is refused", async () => {
  const [a, b] = (await start(2)) as [ChannelProcess, ChannelProcess];
  const body = { channels: ["kept:1", "room:1"], event: "e", payload: 1, id: "one" };
  expect((await publish(a, body)).body).toMatchObject({ positions: { "kept:1": expect.any(String) } });
  expect((await publish(b, body)).body.repeated).toBe(true);
  const { channels: _, id: __, ...single } = body;
  expect((await publish(b, { ...single, channel: "kept:1" })).body.position).toBeString();
  const log = JSON.stringify(await world?.backend.redis.call("ACL", "LOG"));
  expect([...log.matchAll(/"object","([^"]+)","username","channel"/g)].map(([, object]) => object)).toEqual([
    "config|get",
  ]);
}, 30_000);

test("with a prefix, names, keys and notes begin with it", async () => {
  const here = await startFleet(["a", "b"], { toml: `prefix = "one."\n${SETTINGS}` });
  world = here;
  const [a, b] = here.servers as [ChannelProcess, ChannelProcess];
  const received = await here.backend.listen("*");
  const client = await here.join(b, "kept:1", "alice");
  for (const body of [
    { channel: "kept:1", event: "e", payload: 1 },
    { channel: "kept:1", event: "e", payload: 1, id: "one" },
  ]) {
    expect((await publish(a, body)).body.position).toBeString();
    await client.event("e");
    await received.until(({ name }) => name === "one.to:kept:1:e");
  }
  expect(received.all.filter(({ name }) => !name.startsWith("one."))).toEqual([]);
  expect((await here.backend.redis.keys("*")).filter((key) => !key.startsWith("one."))).toEqual([]);
}, 30_000);

test("without transactions, messages are published one by one, and without a position", async () => {
  const [a] = (await start(1, "+multi", "+exec")) as [ChannelProcess];
  const received = await world?.backend.listen("to:*");
  for (let n = 0; n < 3; n++) {
    const several = await publish(a, { channels: ["kept:1", "room:1"], event: "e", payload: n });
    expect(several).toMatchObject({ status: 200, body: { positions: { "kept:1": null } } });
    const one = await publish(a, { channel: "kept:1", event: "e", payload: n });
    expect(one).toMatchObject({ status: 200, body: { position: null } });
  }
  const seen = ["kept", "room", "kept", "kept", "room", "kept", "kept", "room", "kept"];
  for (const name of seen)
    expect((await received?.until((each) => each.name.endsWith(":e")))?.name).toBe(`to:${name}:1:e`);
  expect(await warnings(a, "Redis refused a message")).toBe(1);
}, 30_000);

test("with MULTI but without EXEC, the same, and nothing is published twice", async () => {
  const [a] = (await start(1, "+exec")) as [ChannelProcess];
  const received = await world?.backend.listen("to:*");
  const body = { channels: ["kept:1", "room:1"], event: "e", payload: 1 };
  for (let n = 0; n < 2; n++) {
    expect(await publish(a, body)).toMatchObject({ status: 200, body: { positions: { "kept:1": null } } });
  }
  for (const name of ["kept", "room", "kept", "room"]) {
    expect((await received?.until(isOurs))?.name).toBe(`to:${name}:1:e`);
  }
  await ready(a);
}, 30_000);

test("without scripts, an id is published once all the same, and one line of the log says so", async () => {
  const [a, b] = (await start(2, "+eval")) as [ChannelProcess, ChannelProcess];
  const received = await world?.backend.listen("to:kept:1:*");
  const body = { channel: "kept:1", event: "e", payload: 1, id: "one" };
  const first = await publish(a, body);
  expect(first.body).toMatchObject({ repeated: false, position: expect.any(String) });
  for (const server of [a, b]) {
    const again = await until(
      () => publish(server, body),
      (each) => each.body.position !== null,
    );
    expect(again.body).toEqual({ ...first.body, repeated: true });
  }
  expect((await publish(b, { ...body, id: "other", event: "last" })).body.repeated).toBe(false);
  expect([(await received?.next())?.name, (await received?.next())?.name]).toEqual([
    "to:kept:1:e",
    "to:kept:1:last",
  ]);
  for (const server of [a, b]) expect(await warnings(server, "Redis permits no scripts")).toBe(1);
}, 30_000);

test("without keys, an id is refused and nothing is published; without an id it is", async () => {
  const [a] = (await start(1)) as [ChannelProcess];
  const received = await world?.backend.listen("to:room:1:*");
  await world?.backend.redis.call("ACL", "SETUSER", "channel", "resetkeys");
  const body = { channel: "room:1", event: "e", payload: 1, id: "one" };
  expect(await publish(a, body)).toMatchObject({ status: 503, body: { code: "id_unknown" } });
  expect((await publish(a, { channel: "room:1", event: "plain", payload: 1 })).status).toBe(200);
  await world?.backend.redis.call("ACL", "SETUSER", "channel", "~hub:*");
  expect((await publish(a, body)).body).toEqual({ listeners: 0, repeated: false });
  expect(a.lines.filter(({ message }) => message.includes("Redis permits no scripts"))).toEqual([]);
  expect(await warnings(a, "Redis refused the keys of servers")).toBe(1);
  expect([(await received?.next())?.name, (await received?.next())?.name]).toEqual([
    "to:room:1:plain",
    "to:room:1:e",
  ]);
}, 30_000);

test("where the memory of Redis is full, an id is refused, and nothing is published with it", async () => {
  const [a] = (await start(1)) as [ChannelProcess];
  const received = await world?.backend.listen("to:room:1:*");
  await world?.backend.redis.config("SET", "maxmemory", "1mb");
  const body = { channel: "room:1", event: "e", payload: 1, id: "one" };
  expect(await publish(a, body)).toMatchObject({ status: 503, body: { code: "id_unknown" } });
  await world?.backend.redis.config("SET", "maxmemory", "0");
  expect((await publish(a, body)).body.repeated).toBe(false);
  await publish(a, { channel: "room:1", event: "last", payload: 1 });
  expect([(await received?.next())?.name, (await received?.next())?.name]).toEqual([
    "to:room:1:e",
    "to:room:1:last",
  ]);
}, 30_000);

test("where a name is refused, nothing of several messages is published, and the id stays free", async () => {
  const [a] = (await start(1)) as [ChannelProcess];
  const here = world;
  const received = await here?.backend.listen("to:*");
  const acl = (...rules: readonly string[]) =>
    here?.backend.redis.call("ACL", "SETUSER", "channel", ...rules);
  await acl("resetchannels", "&to:kept:*", "&to:datetime:*", "&from:*", "&push:*", "&hub:*");
  const body = { channels: ["kept:1", "room:1"], event: "e", payload: 1 };
  // The connection that subscribes is ended by Redis: `to:*` is no longer its own.
  await until(
    () => publish(a, body),
    ({ status }) => status === 503,
  );
  for (const channels of [body.channels, body.channels.toReversed()]) {
    expect(await publish(a, { ...body, channels, id: "one" })).toMatchObject({ status: 503 });
  }
  await acl("allchannels");
  await ready(a);
  const again = await until(
    () => publish(a, { ...body, channels: ["room:1", "kept:1"], id: "one" }),
    ({ status }) => status === 200,
  );
  expect(again.body.repeated).toBe(false);
  const names = [await received?.until(isOurs), await received?.until(isOurs)].map((each) => each?.name);
  expect(names).toEqual(["to:room:1:e", "to:kept:1:e"]);
}, 30_000);

function isOurs({ name }: { readonly name: string }): boolean {
  return name.endsWith(":e");
}

test("a message that Redis was away for is published once by the same id", async () => {
  const here = await startFleet(["a", "b"], { toml: SETTINGS });
  world = here;
  const [a, b] = here.servers as [ChannelProcess, ChannelProcess];
  const body = { channel: "room:1", event: "e", payload: 1, id: "one" };
  here.redis.kill("SIGKILL");
  for (let n = 0; n < 2; n++) expect(await publish(a, body)).toMatchObject({ status: 503 });
  await here.redis.restart();
  await Promise.all([ready(a), ready(b)]);
  const first = await until(
    () => publish(a, body),
    ({ status }) => status === 200,
  );
  expect(first.body.repeated).toBe(false);
  const again = await until(
    () => publish(b, body),
    ({ status }) => status === 200,
  );
  expect(again.body.repeated).toBe(true);
}, 30_000);

test("a message to a connection of a server that does not answer is not published", async () => {
  const here = await startFleet(["a", "b"], { toml: SETTINGS });
  world = here;
  const [a, b] = here.servers as [ChannelProcess, ChannelProcess];
  const client = await here.join(b, "room:1", "alice");
  const { body } = await call(a.url, "/api/connections?search=alice");
  const [{ id: connection }] = body.connections;
  b.kill("SIGSTOP");
  try {
    const silent = { channel: "room:1", connection, event: "lost", payload: 1, id: "one" };
    expect(await publish(a, silent)).toMatchObject({ status: 503, body: { code: "server_silent" } });
  } finally {
    b.kill("SIGCONT");
  }
  const sent = { channel: "room:1", connection, event: "said", payload: 1, id: "one" };
  const answer = await until(
    () => publish(a, sent),
    ({ status }) => status === 200,
  );
  expect(answer.body.repeated).toBe(false);
  await client.event("said");
  expect(client.frames.all.filter(({ event }) => event === "lost")).toEqual([]);
}, 30_000);

test("each request is one line of the audit log, without payload and id", async () => {
  const here = await startFleet(["a"], { toml: SETTINGS });
  world = here;
  const [a] = here.servers as [ChannelProcess];
  const rest = { event: "e", payload: "the payload" };
  const targets = [
    { channels: ["room:1", "room:2"] },
    { user: "alice" },
    { channel: "room:1", except: ["x", "y"] },
    { channel: "room:1", connection: "x" },
  ];
  for (const [i, target] of targets.entries()) await publish(a, { ...rest, ...target, id: `the id ${i}` });
  const lines = await until(
    async () => a.lines.filter(({ message }) => message === "audit"),
    (found) => found.length === targets.length,
  );
  const act = { act: "publish", who: "secret", event: "e", result: "ok" };
  expect(lines).toMatchObject([
    { ...act, channels: "room:1 room:2" },
    { ...act, user: "alice" },
    { ...act, channel: "room:1", except: 2 },
    { ...act, channel: "room:1", connection: "x", result: "refused 404" },
  ]);
  expect(JSON.stringify(a.lines)).not.toMatch(/the payload|the id/);
}, 30_000);

test("each of many requests, repeated until it is answered, is published once while servers are killed", async () => {
  const here = await startFleet(["a", "b"], { toml: SETTINGS });
  world = here;
  const received = await here.backend.listen("to:room:orders:*");
  let kills = 0;
  let open = 200;
  const kill = async (): Promise<void> => {
    while (open > 0) {
      const victim = here.servers.shift();
      victim?.kill("SIGKILL");
      kills++;
      await here.start(`restarted ${kills}`);
    }
  };
  const order = async (n: number): Promise<void> => {
    const body = { channel: "room:orders", event: "paid", payload: n, id: `order ${n}` };
    for (let attempt = n; ; attempt++) {
      const server = here.servers[attempt % here.servers.length];
      const answer = server === undefined ? null : await publish(server, body).catch(() => null);
      if (answer?.status === 200) break;
      await Bun.sleep(10);
    }
    open--;
  };
  const worker = async (first: number): Promise<void> => {
    for (let n = first; n < 200; n += 10) {
      await order(n);
      // Spread over several kills.
      while (n > kills * 50) await Bun.sleep(10);
    }
  };
  await Promise.all([kill(), ...Array.from({ length: 10 }, (_, first) => worker(first))]);
  expect(kills).toBeGreaterThan(2);
  await here.backend.publish("to:room:orders:end", "1");
  await received.until(({ name }) => name === "to:room:orders:end");
  const published = received.all.slice(0, -1).map(({ payload }) => Number(payload.toString()));
  expect(published.toSorted((one, other) => one - other)).toEqual(Array.from({ length: 200 }, (_, n) => n));
}, 60_000);
