import { afterEach, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { HistoryServer, Order, RULES, untilStored } from "./history-rig.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";

const open: { stop(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.stop();
});

interface Place {
  readonly redis: RedisProcess;
  readonly order: Order;
  readonly raw: Redis;
  server(url?: string): HistoryServer;
}

async function start(args: readonly string[] = []): Promise<Place> {
  const redis = await startRedis(args);
  const order = new Order();
  const raw = new Redis(redis.url);
  raw.on("error", () => {});
  open.push(redis, { stop: () => raw.disconnect() }, order);
  return { redis, order, raw, server: (url = redis.url) => order.subscribe(new HistoryServer(url)) };
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
}

function publishAll(order: Order, payloads: readonly string[], rules = RULES): void {
  for (const payload of payloads) order.publish("a", payload, { rules });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000 && !(await condition()); i++) await Bun.sleep(10);
  expect(await condition()).toBe(true);
}

describe("messages kept in Redis", () => {
  test("are written once, whichever servers write", async () => {
    const { order, raw, server } = await start();
    const servers = [server(), server(), server()];
    const position = servers[0]?.positions.current ?? "";
    for (let i = 0; i < 20; i++) {
      publishAll(order, numbers(10 * i, 10 * i + 9), { ...RULES, count: 1000 });
      await Bun.sleep(20);
    }
    for (const each of servers) await untilStored(raw, each);
    const info: unknown[] = Object(await raw.xinfo("STREAM", "hub:{a}:h"));
    expect(info[info.indexOf("length") + 1]).toBe(200);
    if (info.includes("entries-added")) expect(info[info.indexOf("entries-added") + 1]).toBe(200);
    expect(await server().since("a", position, { ...RULES, count: 1000 })).toEqual(numbers(0, 199));
  });

  test("are not read before they are written", async () => {
    const { order, raw, server } = await start();
    const one = server();
    publishAll(order, ["1"]);
    await untilStored(raw, one);
    const position = one.positions.current ?? "";
    await raw.client("PAUSE", 600, "WRITE");
    publishAll(order, numbers(2, 9));
    const two = server();
    publishAll(order, ["10"]);
    expect(await two.since("a", position)).toEqual(numbers(2, 10));
  });

  test("are written by the next server where one stops", async () => {
    const { order, raw, server } = await start();
    const one = server();
    publishAll(order, ["1"]);
    await untilStored(raw, one);
    const position = one.positions.current ?? "";
    const two = server();
    one.subscribed = false;
    publishAll(order, ["2"]);
    await untilStored(raw, two);
    expect(await server().since("a", position)).toEqual(["2"]);
  });

  test("are lost with the stream, and known to be", async () => {
    const { order, raw, server } = await start();
    // A stream is compared with what was written every second then.
    const rules = { ...RULES, ttl: 16_000 };
    const one = server();
    const position = one.positions.current ?? "";
    const channels = ["deleted", "trimmed", "expired"];
    for (const channel of channels) for (const n of ["1", "2"]) order.publish(channel, n, { rules });
    const newest = one.positions.current ?? "";
    await untilStored(raw, one);
    await raw.del("hub:{deleted}:h");
    await raw.xtrim("hub:{trimmed}:h", "MAXLEN", 1);
    await raw.pexpire("hub:{expired}:h", 1);
    await Bun.sleep(1100);
    const two = server();
    for (const channel of channels) {
      expect(await two.since(channel, position, rules)).toBe("too old");
      expect(await two.since(channel, newest, rules)).toEqual([]);
      order.publish(channel, "3", { rules });
    }
    await untilStored(raw, one);
    const three = server();
    for (const channel of channels) {
      expect(await three.since(channel, position, rules)).toBe("too many");
      expect(await three.since(channel, newest, rules)).toEqual(["3"]);
    }
  });

  test("are trimmed by count, bytes and time", async () => {
    const { order, raw, server } = await start();
    const one = server();
    publishAll(order, numbers(1, 1000), { ...RULES, count: 40 });
    for (let i = 0; i < 100; i++) {
      order.publish("b", "x".repeat(10_000), { rules: { ...RULES, bytes: 100_000 } });
    }
    await untilStored(raw, one);
    expect(await raw.xlen("hub:{a}:h")).toBeWithin(40, 46);
    expect(await raw.xlen("hub:{b}:h")).toBeWithin(9, 12);
    expect(await raw.pttl("hub:{a}:h")).toBeWithin(50_000, 63_751);
    for (const key of ["hub:history", "hub:{a}:i"]) expect(await raw.pttl(key)).toBeWithin(60_000, 4_500_001);
    expect((await server().last("a", 100, { ...RULES, count: 40 })).map(([, payload]) => payload)).toEqual(
      numbers(961, 1000),
    );
  });

  test("are in memory only while Redis refuses them, and are written afterwards", async () => {
    const { order, raw, server } = await start();
    const one = server();
    publishAll(order, ["1"]);
    await untilStored(raw, one);
    const position = one.positions.current ?? "";
    await raw.config("SET", "maxmemory", "1");
    publishAll(order, ["2"]);
    const warnings = (): unknown[] => one.logged.entries.filter(({ level }) => level === "warn");
    await until(() => warnings().length > 0);
    for (const payload of numbers(3, 5)) {
      publishAll(order, [payload]);
      await Bun.sleep(20);
    }
    await until(() => one.unstored > 0);
    expect(await one.since("a", position)).toEqual(numbers(2, 5));
    expect(warnings()).toEqual([
      expect.objectContaining({ message: "Redis does not keep messages, they are in memory only" }),
    ]);
    await raw.config("SET", "maxmemory", "0");
    await untilStored(raw, one);
    // Redis has them before its answer has come.
    await until(() => one.logged.entries.some(({ message }) => message === "Redis keeps messages again"));
    expect(await server().since("a", position)).toEqual(numbers(2, 5));
  }, 30_000);

  test("need no more than the documented ACL", async () => {
    const { order, raw, server, redis } = await start();
    const text = await Bun.file(`${import.meta.dir}/../../docs/errors.md`).text();
    const [, rules = ""] = /ACL SETUSER channel on >your-password (.*)/.exec(text) ?? [];
    const [, more = ""] = /With `history_store = "redis"` also `([^`]*)`/.exec(text) ?? [];
    const acl = ["on", ">password", ...rules.split(" "), ...more.split(" ")];
    await raw.call("ACL", "SETUSER", "channel", ...acl);
    const url = redis.url.replace("redis://", "redis://channel:password@");
    const one = server(url);
    const position = one.positions.current ?? "";
    publishAll(order, numbers(1, 300), { ...RULES, count: 50 });
    await untilStored(raw, one);
    const newest = one.positions.current ?? "";
    publishAll(order, ["301"], { ...RULES, count: 50 });
    const two = server(url);
    expect(await two.since("a", newest, { ...RULES, count: 50 })).toEqual(["301"]);
    expect(await two.since("a", position, { ...RULES, count: 50 })).toBe("too many");
    expect(one.logged.entries.filter(({ level }) => level !== "debug")).toEqual([]);
  });

  test("stand under the prefix", async () => {
    const { redis, order, raw } = await start();
    const one = order.subscribe(new HistoryServer(redis.url, { prefix: "one." }));
    publishAll(order, ["1"]);
    await untilStored(raw, one, "one.");
    expect((await raw.keys("*")).sort()).toEqual(["one.hub:history", "one.hub:{a}:h", "one.hub:{a}:i"]);
  });
});
