import { afterAll, beforeAll, expect, test } from "bun:test";
import { Redis } from "ioredis";
import type { HistoryRules } from "../../src/hub/history/history.ts";
import { HistoryServer, Order, RULES } from "./history-rig.ts";
import { type Random, randomFrom } from "./random.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";

/** Steps of one run, and runs. */
const STEPS = 400;
const RUNS = process.env.CHANNEL_LONG === undefined ? 3 : 30;

const FEW: HistoryRules = { ...RULES, count: 20 };
const CHANNELS = ["a", "b", "{c}%"] as const;
const LOST = ["unknown position", "too old", "too many", "gap", "ahead"];

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

/** A position that a client has, and how many messages of each channel were published before it. */
interface Seen {
  readonly position: string;
  readonly published: ReadonlyMap<string, number>;
}

/** All messages that were published, whether or not a server received them, and positions that servers gave. */
class World {
  readonly order = new Order();
  readonly published = new Map<string, string[]>(CHANNELS.map((channel) => [channel, []]));
  readonly seen: Seen[] = [];
  readonly results = new Map<string, number>();
  readonly wrong: string[] = [];
  readonly #stopping: Promise<void>[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  one<T>(list: readonly T[]): T | undefined {
    return list[this.#random.int(list.length)];
  }

  publish(count: number): void {
    for (let i = 0; i < count; i++) {
      const channel = this.one(CHANNELS) ?? "a";
      const all = this.published.get(channel) ?? [];
      all.push(`${channel}${all.length}`);
      this.order.publish(channel, all.at(-1) ?? "", { rules: FEW });
      this.order.pass(this.#random.int(3));
    }
  }

  see(): void {
    const position = this.one(this.live())?.positions.current ?? null;
    if (position === null) return;
    const published = new Map([...this.published].map(([channel, all]) => [channel, all.length]));
    this.seen.push({ position, published });
  }

  live(): HistoryServer[] {
    return this.order.servers.filter(({ subscribed }) => subscribed);
  }

  /** A client comes to a server with a position of some time ago. */
  async recover(): Promise<void> {
    const server = this.one(this.live());
    const seen = this.one(this.seen.slice(-12));
    const channel = this.one(CHANNELS) ?? "a";
    if (server === undefined || seen === undefined) return;
    await server.history.prepare?.(channel, FEW, seen.position);
    if (!server.subscribed) return;
    const found = server.sinceNow(channel, seen.position, FEW);
    const expected = this.published.get(channel)?.slice(seen.published.get(channel)) ?? [];
    const result = typeof found === "string" ? found : "recovered";
    this.results.set(result, (this.results.get(result) ?? 0) + 1);
    if (typeof found === "string" ? LOST.includes(found) : found.join() === expected.join()) return;
    this.wrong.push(`${channel} since ${seen.position}: ${found} instead of ${expected}`);
  }

  /** No server writes afterwards: the positions of all runs are the same. */
  async stop(): Promise<void> {
    await Promise.all([this.order.stop(), ...this.#stopping]);
  }

  async step(): Promise<void> {
    const live = this.live();
    const chance = this.#random.int(100);
    if (chance < 40) this.publish(1 + this.#random.int(8));
    else if (chance < 55) this.see();
    else if (chance < 75) void this.recover();
    else if (chance < 82) await Bun.sleep(this.#random.int(60));
    else if (chance < 87 && live.length < 4)
      this.order.subscribe(new HistoryServer(redis.url, { budget: this.one([1 << 20, 12_000]) ?? 0 }));
    else if (chance < 91) {
      const gone = this.one(live);
      if (gone !== undefined) await this.#remove(gone);
    } else if (chance < 94) {
      const lost = this.one(live);
      lost?.lose();
      this.publish(this.#random.int(3));
      if (lost !== undefined) this.order.subscribe(lost);
    } else if (chance < 97) await this.#disturb();
    else this.order.mark();
  }

  async #remove(server: HistoryServer): Promise<void> {
    server.subscribed = false;
    const stopping = server.stop();
    this.#stopping.push(stopping);
    if (this.#random.int(2) === 0) await stopping;
    this.order.servers.splice(this.order.servers.indexOf(server), 1);
  }

  async #disturb(): Promise<void> {
    const chance = this.#random.int(6);
    const channel = this.one(CHANNELS) ?? "a";
    const key = `hub:{${channel.replaceAll("%", "%25").replaceAll("{", "%7B").replaceAll("}", "%7D")}}:h`;
    if (chance === 0) await raw.flushall();
    else if (chance === 1) await raw.del(key);
    else if (chance === 2) await raw.xtrim(key, "MAXLEN", 2);
    else if (chance === 3) {
      await raw.config("SET", "maxmemory", "1");
      this.publish(5);
      await Bun.sleep(this.#random.int(300));
      await raw.config("SET", "maxmemory", "0");
    } else {
      const list = String(await raw.client("LIST"));
      const ids = [...list.matchAll(/^id=(\d+) .* name=channel-history /gm)].map(([, id]) => id ?? "");
      const id = this.one(ids);
      if (id !== undefined) await raw.client("KILL", "ID", id);
    }
  }
}

test.each(Array.from({ length: RUNS }, (_, run) => run))(
  "no recovery misses or repeats a message, whatever happens (%p)",
  async (run) => {
    await raw.flushall();
    const world = new World(randomFrom(run));
    for (let step = 0; step < STEPS; step++) {
      await world.step();
      if (world.wrong.length > 0) break;
    }
    for (let i = 0; i < 30; i++) await world.recover();
    expect(world.wrong).toEqual([]);
    expect(world.results.get("recovered") ?? 0).toBeGreaterThan(0);
    await world.stop();
  },
  120_000,
);
