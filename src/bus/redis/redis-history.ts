import type {
  ExtendableHistory,
  History,
  HistoryRules,
  KeptMessage,
  Lost,
} from "../../hub/history/history.ts";
import type { Positions } from "../../hub/history/positions.ts";
import type { Log } from "../../log.ts";
import { HistoryLoader } from "./history-loader.ts";
import { HistoryStore } from "./history-store.ts";
import { HistoryWriter } from "./history-writer.ts";
import type { SentinelCredentials } from "./redis-address.ts";

/** How long Redis keeps what is covered and what is known of each channel, in ms, unless messages are kept for longer. */
const KEEP_MS = 3_600_000;

export interface RedisHistoryOptions {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** Added before each key in Redis. Default: none. */
  readonly prefix?: string;
  readonly memory: ExtendableHistory;
  /** The longest time for which messages of a stored channel are kept, in ms. */
  readonly longestTtl: number;
  readonly log: Log;
  /** A message is in memory only: Redis refuses it, or is not connected. */
  unstored(): void;
}

/**
 * Keeps messages in memory, and those of channels with `stored` in Redis too, for servers that start later. Not for Redis
 * Cluster.
 * @throws BusError if the address is invalid.
 */
export function createRedisHistory(options: RedisHistoryOptions): History {
  return new RedisHistory(options);
}

class RedisHistory implements History {
  readonly #options: RedisHistoryOptions;
  readonly #memory: ExtendableHistory;
  readonly #store: HistoryStore;
  #writer: HistoryWriter | null = null;
  #loader: HistoryLoader | null = null;

  constructor(options: RedisHistoryOptions) {
    this.#options = options;
    this.#memory = options.memory;
    this.#store = new HistoryStore(options);
  }

  get bytes(): number {
    return this.#memory.bytes;
  }

  get channels(): number {
    return this.#memory.channels;
  }

  start(positions: Positions): void {
    const { memory, longestTtl, log, unstored } = this.#options;
    const store = this.#store;
    const keep = Math.max(KEEP_MS, longestTtl);
    const writer = new HistoryWriter({ store, memory, positions, keep, log, unstored });
    this.#writer = writer;
    this.#loader = new HistoryLoader({ store, memory, positions, writer });
    writer.start();
    store.start(() => writer.connected());
  }

  async stop(): Promise<void> {
    await this.#writer?.stop();
    this.#store.stop();
  }

  append(channel: string, rules: HistoryRules, message: KeptMessage): void {
    this.#memory.append(channel, rules, message);
    if (rules.stored === true && rules.count > 0) this.#writer?.append(channel, rules, message);
  }

  since(channel: string, rules: HistoryRules, seq: number, limit: number): readonly KeptMessage[] | Lost {
    return this.#memory.since(channel, rules, seq, limit);
  }

  last(channel: string, rules: HistoryRules, count: number): readonly KeptMessage[] {
    return this.#memory.last(channel, rules, count);
  }

  lastValues(channel: string): readonly KeptMessage[] {
    return this.#memory.lastValues(channel);
  }

  removeLastValue(channel: string, event: string): void {
    this.#memory.removeLastValue(channel, event);
  }

  sizeOf(channel: string): { readonly messages: number; readonly bytes: number } {
    return this.#memory.sizeOf(channel);
  }

  prepare(channel: string, rules: HistoryRules, position: string | null): Promise<void> | null {
    return this.#loader?.prepare(channel, rules, position) ?? null;
  }

  marked(): void {
    this.#writer?.marked();
  }

  lost(): void {
    this.#writer?.lost();
  }

  tick(now: number): void {
    this.#memory.tick(now);
  }
}
