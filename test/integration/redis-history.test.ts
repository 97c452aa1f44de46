import { afterEach, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { HistoryServer, Order } from "./history-rig.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";

const open: { stop(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.stop();
});

async function start(
  args: readonly string[] = [],
): Promise<{ redis: RedisProcess; order: Order; raw: Redis }> {
  const redis = await startRedis(args);
  const order = new Order();
  const raw = new Redis(redis.url);
  raw.on("error", () => {});
  open.push(redis, { stop: () => raw.disconnect() }, order);
  return { redis, order, raw };
}

/** Waits until all that a server received is in Redis. */
async function written(raw: Redis, { positions }: HistoryServer): Promise<void> {
  const [marker = "", n = ""] = positions.current?.split("-") ?? [];
  const micros = Number.parseInt(marker, 36);
  for (let i = 0; i < 500; i++) {
    const end = (await raw.hget("hub:history", "end")) ?? "";
    if (end.startsWith(`${micros}-`) && Number(end.slice(-13)) >= Number(n)) return;
    await Bun.sleep(10);
  }
  throw new Error(`not written: ${await raw.hgetall("hub:history").then((all) => JSON.stringify(all))}`);
}

describe("a server that starts later", () => {
  test("has what was kept before it", async () => {
    const { redis, order, raw } = await start();
    const one = order.subscribe(new HistoryServer(redis.url));
    order.publish("a", "1");
    const position = one.positions.current ?? "";
    order.pass(5);
    for (const n of ["2", "3"]) order.publish("a", n);
    order.publish("b", "other");
    await written(raw, one);
    const two = order.subscribe(new HistoryServer(redis.url));
    order.publish("a", "4");
    expect(await two.since("a", position)).toEqual(["2", "3", "4"]);
    expect(await two.last("a")).toEqual(await one.last("a"));
    expect(await two.since("b", position)).toEqual(["other"]);
    expect(await two.since("c", position)).toEqual([]);
  });
});
