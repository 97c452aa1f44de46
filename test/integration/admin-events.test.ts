import { afterEach, expect, test } from "bun:test";
import type { Redis } from "ioredis";
import { connectAll, joinAll } from "../../src/bench/clients.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import type { Client } from "../../src/bench/websocket-client.ts";
import { readMetrics, total } from "../soak/samples.ts";
import { eventually } from "./phoenix-client.ts";
import { type Heard, startWorld, type World } from "./world.ts";

const CLIENTS = 10_000;
const WAVE = 500;

let world: World | null = null;
const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.end();
  await world?.stop();
  world = null;
});

/** Bytes that Redis has received from all its clients. */
async function sentToRedis(redis: Redis): Promise<number> {
  return Number(/total_net_input_bytes:(\d+)/.exec(await redis.info("stats"))?.[1]);
}

async function gaps({ channel }: World): Promise<number> {
  return total(await readMetrics(channel.url), "channel_bus_gaps_total");
}

function listOf({ payload }: Heard): {
  channel: string;
  names: readonly string[];
  total: number | undefined;
} {
  const { channel, channels, agents, total } = Object(JSON.parse(payload.toString()));
  return { channel, names: channels ?? agents, total };
}

/** Connects `count` clients. Client `index` joins `topic(index)`; `WAVE` joins run at a time. */
async function connectClients(count: number, topic: (index: number) => string): Promise<Client[]> {
  if (world === null) throw new Error("no world");
  const { channel, token } = world;
  const url = phoenix.socketUrl(channel.url.replace("http", "ws"));
  const connected = await connectAll(phoenix, url, count);
  clients.push(...connected);
  for (let at = 0; at < count; at += WAVE) {
    await joinAll(phoenix, connected.slice(at, at + WAVE), ({ index }) => ({
      topic: topic(index),
      token: token(topic(index)),
    }));
  }
  return connected;
}

test("10,000 clients in 10,000 channels send less than 20 MB to Redis and cause no gap", async () => {
  world = await startWorld("redis");
  const { backend, redis } = world;
  const received = await backend.listen("to:admin:channel.add");
  const before = await sentToRedis(backend.redis);
  await connectClients(CLIENTS, (index) => `user:${`${index}`.padStart(36, "0")}`);
  await eventually(() => received.all.length === CLIENTS, "every channel.add", 20_000);
  const bytes = (await sentToRedis(backend.redis)) - before;
  console.log(`${(bytes / 1e6).toFixed(1)} MB into Redis`);
  expect(bytes).toBeLessThan(20e6);
  expect(await gaps(world)).toBe(0);
  expect(redis).not.toBeNull();
  // Every channel is named once, although the lists are truncated.
  expect(new Set(received.all.map((each) => listOf(each).channel)).size).toBe(CLIENTS);
  for (const each of received.all) expect(each.payload.length).toBeLessThan(4096 + 200);
}, 120_000);

test("a join and a leave do not send the names of 1,000 other channels to Redis", async () => {
  world = await startWorld("redis");
  const { backend } = world;
  await connectClients(1000, (index) => `${index}`.padStart(200, "n"));
  const client = await world.connect();
  const token = world.token("flip");
  const received = await backend.listen("to:admin:channel.remove");
  // What the server keeps about the channels is written by then: their members, who has members in them, and the list of them.
  await eventually(async () => {
    const open = await backend.redis.smembers("hub:open");
    const entries = await backend.redis.keys("hub:presence:n*");
    return entries.length === 1000 && open.filter((name) => name.startsWith("n")).length === 1000;
  }, "every channel");
  const before = await sentToRedis(backend.redis);
  const FLIPS = 200;
  for (let i = 0; i < FLIPS; i++) {
    await client.join("flip", { token });
    await client.ask({ topic: "flip", event: "phx_leave" });
  }
  await eventually(() => received.all.length === FLIPS, "every channel.remove");
  const each = ((await sentToRedis(backend.redis)) - before) / FLIPS;
  console.log(`${Math.round(each)} bytes into Redis for a join and a leave`);
  // Two notices, an add, a remove, a diff, and the join and leave themselves.
  expect(each).toBeLessThan(2500);
  expect(listOf(received.all[0] ?? { name: "", payload: Buffer.from("{}") })).toEqual({
    channel: "flip",
    names: [],
    total: 1003,
  });
}, 60_000);

test("publishes the last leave of a channel before its removal", async () => {
  world = await startWorld("redis");
  const received = await world.backend.listen("to:admin:channel.*");
  const client = await world.connect();
  for (let round = 0; round < 20; round++) {
    const topic = `short:${round}`;
    const { response } = await client.join(topic, { token: world.token(topic) });
    await client.ask({ topic, event: "phx_leave" });
    await received.until(
      (each) => each.name === "to:admin:channel.remove" && listOf(each).channel === topic,
      `removal of ${topic}`,
    );
    const messages = received.all.filter((each) => listOf(each).channel === topic);
    expect(messages.map(({ name }) => name.slice("to:admin:channel.".length))).toEqual([
      "add",
      "join",
      "leave",
      "remove",
    ]);
    expect(JSON.parse(String(messages[2]?.payload))).toEqual({
      agent: Object(response).id,
      channel: topic,
      agents: [],
    });
  }
});

test("truncates the lists of a channel over 100 members and sends a joining administrator the total", async () => {
  world = await startWorld("redis");
  const received = await world.backend.listen("to:admin:channel.*");
  await connectClients(120, () => "crowd");
  const administrator = await world.connect();
  await administrator.join("admin", { token: await world.adminToken("root") });
  const list = await administrator.frames.until(
    (each) => each.event === "channel.list" && Object(each.payload).channel === "crowd",
    "channel.list of crowd",
  );
  expect(list.payload).toEqual({ channel: "crowd", agents: [], total: 120 });
  const last = await received.until(
    (each) => each.name === "to:admin:channel.join" && listOf(each).total === 120,
    "a join with the number of all",
  );
  expect(listOf(last).names).toHaveLength(1);
});

test("admin_events = false publishes nothing on to:admin and still sends events to administrators of this server", async () => {
  world = await startWorld("redis", { toml: "admin_events = false\n" });
  const received = await world.backend.listen("to:admin:*");
  const diffs = await world.backend.listen("to:*:presence_diff");
  const client = await world.connect();
  const administrator = await world.connect();
  await client.join("early", { token: world.token("early") });
  await administrator.join("admin", { token: await world.adminToken("root") });
  await administrator.frames.until((each) => each.event === "channel.list", "channel.list");
  await client.join("late", { token: world.token("late") });
  await administrator.event("channel.add", "admin");
  await diffs.until(({ name }) => name === "to:late:presence_diff", "the diff of late");
  expect(received.all.filter(({ name }) => name.startsWith("to:admin:channel."))).toEqual([]);
});
