import type { Redis } from "ioredis";
import { createRedisHistory } from "../../src/bus/redis/redis-history.ts";
import type { History, HistoryRules, KeptMessage } from "../../src/hub/history/history.ts";
import { MemoryHistory } from "../../src/hub/history/memory-history.ts";
import { Positions, printMarker } from "../../src/hub/history/positions.ts";
import { recordingLog } from "./bus-rig.ts";

export const MIB = 1024 * 1024;
export const RULES: HistoryRules = { count: 100, bytes: MIB, ttl: 60_000, lastValue: false, stored: true };

/** The history of one server: it receives what `Order` delivers. */
export class HistoryServer {
  readonly positions = new Positions();
  readonly history: History;
  readonly logged = recordingLog();
  subscribed = false;
  /** Messages that were not written when they came. */
  unstored = 0;

  constructor(url: string | null, { budget = 64 * MIB, prefix = "" } = {}) {
    const memory = new MemoryHistory(budget);
    this.history =
      url === null
        ? memory
        : createRedisHistory({
            ...{ url, prefix, memory, longestTtl: RULES.ttl, log: this.logged.log },
            unstored: () => void this.unstored++,
          });
    this.history.start?.(this.positions);
  }

  receive(channel: string, rules: HistoryRules, message: Omit<KeptMessage, "seq">): void {
    this.history.append(channel, rules, { ...message, seq: this.positions.advance() });
  }

  marker(id: string): void {
    if (this.positions.mark(id)) this.history.marked?.();
  }

  lose(): void {
    this.subscribed = false;
    this.positions.gap();
    this.history.lost?.();
  }

  /** The payloads of the messages after a position, or why there are none. */
  async since(channel: string, position: string, rules = RULES): Promise<string[] | string> {
    await this.history.prepare?.(channel, rules, position);
    return this.sinceNow(channel, position, rules);
  }

  /** As `since`, by what is in memory. */
  sinceNow(channel: string, position: string, rules = RULES): string[] | string {
    const seq = this.positions.resolve(position);
    const found = typeof seq === "number" ? this.history.since(channel, rules, seq, 10_000) : seq;
    return typeof found === "string" ? found : found.map(({ payload }) => payload.toString());
  }

  /** The newest messages: position and payload. */
  async last(channel: string, count = 100, rules = RULES): Promise<(readonly [string | null, string])[]> {
    await this.history.prepare?.(channel, rules, null);
    return this.history
      .last(channel, rules, count)
      .map(({ seq, payload }) => [this.positions.at(seq), payload.toString()]);
  }

  async stop(): Promise<void> {
    await this.history.stop?.();
  }
}

/** Delivers messages and markers to all servers that are subscribed, in one order. */
export class Order {
  readonly servers: HistoryServer[] = [];
  #micros = 1_700_000_000_000_000;

  /** Subscribes a server, which publishes a marker first. */
  subscribe(server: HistoryServer): HistoryServer {
    server.subscribed = true;
    if (!this.servers.includes(server)) this.servers.push(server);
    this.mark();
    return server;
  }

  /** Publishes a marker, above the last by `micros`. */
  mark(micros = 1000): void {
    this.#micros += micros;
    const id = printMarker(this.#micros, "a1b");
    for (const server of this.#subscribed()) server.marker(id);
  }

  publish(channel: string, payload: string, { rules = RULES, event = "e", at = Date.now() } = {}): void {
    for (const server of this.#subscribed()) {
      server.receive(channel, rules, { event, payload: Buffer.from(payload), at });
    }
  }

  /** Messages that no channel keeps. */
  pass(count = 1): void {
    for (const { positions } of this.#subscribed()) for (let i = 0; i < count; i++) positions.advance();
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  #subscribed(): HistoryServer[] {
    return this.servers.filter(({ subscribed }) => subscribed);
  }
}

/** Waits until all that a server received is in Redis. */
export function untilStored(raw: Redis, { positions }: HistoryServer, prefix = ""): Promise<void> {
  return untilStoredAt(raw, positions.current ?? "", prefix);
}

/** Waits until all up to a position is in Redis. */
export async function untilStoredAt(raw: Redis, position: string, prefix = ""): Promise<void> {
  const [marker = "", n = ""] = position.split("-");
  const micros = Number.parseInt(marker, 36);
  for (let i = 0; i < 1000; i++) {
    const end = (await raw.hget(`${prefix}hub:history`, "end")) ?? "";
    if (end.startsWith(`${micros}-`) && Number(end.slice(-13)) >= Number(n)) return;
    await Bun.sleep(10);
  }
  throw new Error(`not stored: ${JSON.stringify(await raw.hgetall(`${prefix}hub:history`))}`);
}
