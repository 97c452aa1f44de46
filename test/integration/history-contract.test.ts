import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { CHANNEL_OVERHEAD, type HistoryRules, MESSAGE_OVERHEAD } from "../../src/hub/history/history.ts";
import { HistoryServer, Order, RULES, untilStored } from "./history-rig.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";

let redis: RedisProcess;
let raw: Redis;
beforeAll(async () => {
  redis = await startRedis();
  raw = new Redis(redis.url);
});
afterAll(async () => {
  raw.disconnect();
  await redis.stop();
});

const FIVE: HistoryRules = { ...RULES, count: 5 };

/**
 * Where messages are kept, and who is asked for them: the server that received them; one that reads all from Redis, since it
 * started later; one that has forgotten them.
 */
const PLACES = ["memory", "redis, by the server that received them", "redis, by a later server"] as const;

describe.each([...PLACES])("kept messages (%s)", (place) => {
  let order: Order;

  afterEach(async () => {
    await order.stop();
    await raw.flushall();
  });

  function start(): { server: HistoryServer; position: string } {
    order = new Order();
    const server = order.subscribe(new HistoryServer(place === "memory" ? null : redis.url));
    return { server, position: server.positions.current ?? "" };
  }

  async function asked(server: HistoryServer): Promise<HistoryServer> {
    if (place === "memory") return server;
    await untilStored(raw, server);
    return place.includes("later") ? order.subscribe(new HistoryServer(redis.url)) : server;
  }

  test("after a position are those after it, in order, whatever else was published", async () => {
    const { server } = start();
    const positions: string[] = [];
    for (let i = 0; i < 5; i++) {
      order.pass(i);
      order.publish("a", `${i}`, { rules: FIVE });
      order.publish("b", "x", { rules: FIVE });
      if (i === 2) order.mark();
      positions.push(server.positions.current ?? "");
    }
    const other = await asked(server);
    for (const [i, position] of positions.entries()) {
      const expected = ["0", "1", "2", "3", "4"].slice(i + 1);
      expect(await other.since("a", position, FIVE)).toEqual(expected);
    }
    expect(await other.since("never", positions[0] ?? "", FIVE)).toEqual([]);
    expect(await other.last("a", 2, FIVE)).toEqual([
      [expect.any(String), "3"],
      [expect.any(String), "4"],
    ]);
    expect(await other.last("a", 100, FIVE)).toEqual(await server.last("a", 100, FIVE));
  });

  test("are too many once one of them was dropped by count", async () => {
    const { server, position } = start();
    order.publish("a", "0", { rules: FIVE });
    const second = server.positions.current ?? "";
    for (let i = 1; i < 6; i++) order.publish("a", `${i}`, { rules: FIVE });
    const other = await asked(server);
    expect(await other.since("a", position, FIVE)).toBe("too many");
    expect(await other.since("a", second, FIVE)).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("are too many once one of them was dropped by bytes", async () => {
    const rules = { ...FIVE, bytes: 2 * (MESSAGE_OVERHEAD + 2) };
    const { server, position } = start();
    order.publish("a", "0", { rules });
    const second = server.positions.current ?? "";
    for (const payload of ["1", "2"]) order.publish("a", payload, { rules });
    const other = await asked(server);
    expect(await other.since("a", position, rules)).toBe("too many");
    expect(await other.since("a", second, rules)).toEqual(["1", "2"]);
  });

  test("are too many after a message that is larger than all may be", async () => {
    const rules = { ...FIVE, bytes: 1000 };
    const { server, position } = start();
    order.publish("a", "0", { rules });
    order.publish("a", "x".repeat(1000), { rules });
    const newest = server.positions.current ?? "";
    const other = await asked(server);
    expect(await other.since("a", position, rules)).toBe("too many");
    expect(await other.since("a", newest, rules)).toEqual([]);
  });

  test("are too old once one of them is older than the rules say", async () => {
    const { server, position } = start();
    order.publish("a", "old", { rules: FIVE, at: Date.now() - 61_000 });
    const second = server.positions.current ?? "";
    order.publish("a", "new", { rules: FIVE });
    const other = await asked(server);
    expect(await other.since("a", position, FIVE)).toBe("too old");
    expect(await other.since("a", second, FIVE)).toEqual(["new"]);
  });

  test("have any event, any bytes, and any channel name", async () => {
    const { server, position } = start();
    const payload = Buffer.from([0, 255, 13, 10, 0xc3, 0x28]);
    for (const channel of ["{a}", "%7Ba%7D", "ä:b c", "a"]) {
      const message = { event: `é "${channel}`, payload, at: Date.now() };
      server.receive(channel, RULES, message);
    }
    const other = await asked(server);
    for (const channel of ["{a}", "%7Ba%7D", "ä:b c", "a"]) {
      await other.since(channel, position);
      const [kept, ...more] = other.history.last(channel, RULES, 10);
      expect(more).toEqual([]);
      expect(kept?.event).toBe(`é "${channel}`);
      expect(kept?.payload).toEqual(payload);
    }
  });

  test("of a channel that was forgotten are read again where they are stored", async () => {
    order = new Order();
    const budget = 3 * (CHANNEL_OVERHEAD + MESSAGE_OVERHEAD + 10);
    const server = order.subscribe(new HistoryServer(place === "memory" ? null : redis.url, { budget }));
    const position = server.positions.current ?? "";
    for (const channel of ["a", "b", "c", "d"]) order.publish(channel, channel);
    const other = await asked(server);
    const stored = place === "memory" ? "too old" : ["a"];
    expect(await other.since("a", position)).toEqual(stored);
    expect(other.history.bytes).toBeLessThanOrEqual(64 * 1024 * 1024);
  });
});
