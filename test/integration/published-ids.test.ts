import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ID_TTL, MemoryIds, type PublishedIds } from "../../src/bus/published-ids.ts";
import { RedisFleetConnection } from "../../src/bus/redis/redis-fleet-connection.ts";
import { RedisIds } from "../../src/bus/redis/redis-ids.ts";
import { recordingLog } from "./bus-rig.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { type Backend, backendOn } from "./world.ts";

let redis: RedisProcess;
let backend: Backend;
const connections: RedisFleetConnection[] = [];
beforeAll(async () => {
  redis = await startRedis();
  backend = backendOn(redis.port);
});
afterAll(async () => {
  for (const each of connections) each.stop();
  backend?.stop();
  await redis?.stop();
});

/** A time in ms that a test sets. */
interface Clock {
  now: number;
}

let installations = 0;

async function redisIds(max: number, clock: Clock, prefix = `p${++installations}.`): Promise<RedisIds> {
  const connection = new RedisFleetConnection({ url: redis.url, prefix, log: recordingLog().log });
  connections.push(connection);
  await connection.start();
  return new RedisIds(connection, max, () => clock.now);
}

const STORES = [
  ["memory", async (max: number, clock: Clock) => new MemoryIds(max, () => clock.now)],
  ["Redis", redisIds],
] as const satisfies readonly (readonly [string, (max: number, clock: Clock) => Promise<PublishedIds>])[];

describe.each(STORES)("ids of publications in %s", (_name, open) => {
  test("a claimed key is known, with what was kept for it, until it is released", async () => {
    const ids = await open(10, { now: 0 });
    expect(await ids.has("a")).toBe(false);
    expect(await ids.claim("a")).toEqual({ kind: "new" });
    expect(await ids.has("a")).toBe(true);
    expect(await ids.claim("a")).toEqual({ kind: "known", answer: "" });
    ids.keep("a", "answer");
    expect(await ids.claim("a")).toEqual({ kind: "known", answer: "answer" });
    ids.keep("b", "nothing");
    expect(await ids.has("b")).toBe(false);
    ids.release("a");
    expect(await ids.claim("a")).toEqual({ kind: "new" });
  });

  test("no more than the limit are new within the time to live", async () => {
    const clock = { now: 1000 };
    const ids = await open(3, clock);
    for (const key of ["a", "b", "c"]) expect(await ids.claim(key)).toEqual({ kind: "new" });
    expect(await ids.claim("d")).toEqual({ kind: "full" });
    clock.now += ID_TTL - 1;
    expect(await ids.claim("d")).toEqual({ kind: "full" });
    clock.now += ID_TTL;
    expect(await ids.claim("d")).toEqual({ kind: "new" });
  });
});

test("in memory, a key is forgotten after its time to live", async () => {
  const clock = { now: 0 };
  const ids = new MemoryIds(10, () => clock.now);
  await ids.claim("a");
  clock.now = ID_TTL - 1;
  expect(await ids.claim("a")).toEqual({ kind: "known", answer: "" });
  clock.now = ID_TTL;
  expect(await ids.claim("a")).toEqual({ kind: "new" });
});

test("in Redis, a key lives for five minutes, also when an answer is kept, and is that of its installation", async () => {
  const clock = { now: 0 };
  const [one, other] = [await redisIds(10, clock, "one."), await redisIds(10, clock, "other.")];
  const received = await backend.listen("*");
  const note = { name: "hub:at:x", payload: "n" };
  const group = { names: ["to:a:e", "to:b:e"], payload: Buffer.from([0, 255]), note };
  expect(await one.publish("k", group)).toEqual({ kind: "done", noted: true });
  expect(await one.publish("k", group)).toEqual({ kind: "known", answer: "" });
  one.keep("k", "answer");
  expect(await one.publish("k", group)).toEqual({ kind: "known", answer: "answer" });
  const ttl = await backend.redis.pttl("one.hub:id:k");
  expect(ttl).toBeGreaterThan(ID_TTL - 60_000);
  expect(ttl).toBeLessThanOrEqual(ID_TTL);
  expect(await other.publish("k", { ...group, note: null })).toEqual({ kind: "done", noted: false });
  const names: string[] = [];
  for (let n = 0; n < 6; n++) {
    const { name, payload } = await received.next();
    names.push(name);
    if (name.includes("to:")) expect([...payload]).toEqual([0, 255]);
  }
  expect(names).toEqual([
    "one.hub:at:x",
    "one.to:a:e",
    "one.to:b:e",
    "one.hub:at:x",
    "other.to:a:e",
    "other.to:b:e",
  ]);
});
