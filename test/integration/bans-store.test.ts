import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type { BanChange } from "../../src/auth/bans.ts";
import { RedisBans } from "../../src/bus/redis/redis-bans.ts";
import { RedisFleetConnection } from "../../src/bus/redis/redis-fleet-connection.ts";
import type { Log } from "../../src/log.ts";
import { until } from "./fleet/fleet-world.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { type Backend, backendOn } from "./world.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
const HOUR = 3_600_000;

let redis: RedisProcess;
let backend: Backend;
beforeAll(async () => {
  redis = await startRedis();
  backend = backendOn(redis.port);
});
afterAll(async () => {
  backend?.stop();
  await redis?.stop();
});
beforeEach(() => backend.redis.flushall());

interface Store extends Disposable {
  readonly bans: RedisBans;
  /** What it learned from Redis. */
  readonly learned: BanChange[];
}

async function start(): Promise<Store> {
  const connection = new RedisFleetConnection({ url: redis.url, log: SILENT });
  const bans = new RedisBans(connection);
  const learned: BanChange[] = [];
  await bans.start((change) => learned.push(change));
  return {
    bans,
    learned,
    [Symbol.dispose]: () => {
      bans.stop();
      connection.stop();
    },
  };
}

/** The version of a stored entry, and whether it is a lifted ban. */
async function stored(user: string): Promise<string> {
  return (await backend.redis.hget("hub:bans", user))?.replace(/ \d+/, "") ?? "";
}

async function untilStored(user: string, entry: string): Promise<void> {
  await until(
    () => stored(user),
    (now) => now === entry,
  );
}

test("of two changes the newer one is kept, in whatever order they are written", async () => {
  using one = await start();
  using other = await start();
  const change = { user: "__proto__", until: Date.now() + HOUR };
  one.bans.put({ ...change, version: 7 });
  await untilStored("__proto__", "7");
  other.bans.put({ ...change, version: 3 });
  other.bans.put({ user: "last", until: Date.now() + HOUR, version: 1 });
  await untilStored("last", "1");
  expect(await stored("__proto__")).toBe("7");
});

test("what a server learned from another one is stored again after a loss, also without the other", async () => {
  using one = await start();
  one.bans.learn({ user: "bob", until: 0, version: 2 });
  await backend.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  await untilStored("bob", "2 lifted");
});

test("all kept bans are known when a store has started, and those that are over are removed", async () => {
  const entries = Array.from({ length: 10_000 }, (_, i) => [`user-${i}`, `${i + 1} ${Date.now() + HOUR}`]);
  await backend.redis.hset("hub:bans", ...entries.flat(), "over", "1 2", "broken", "x");
  using store = await start();
  expect(store.learned).toHaveLength(10_000);
  await until(
    () => backend.redis.hmget("hub:bans", "over", "broken"),
    (found) => found.every((entry) => entry === null),
  );
  expect(await backend.redis.hlen("hub:bans")).toBe(10_000);
});

test("without the right to run scripts, bans are stored nevertheless", async () => {
  await backend.redis.call("ACL", "SETUSER", "default", "-eval");
  try {
    using store = await start();
    store.bans.put({ user: "bob", until: Date.now() + HOUR, version: 1 });
    await untilStored("bob", "1");
  } finally {
    await backend.redis.call("ACL", "SETUSER", "default", "+eval");
  }
});
