import { Cluster, type Redis } from "ioredis";
import type { BusFigures, BusNode } from "../bus-figures.ts";
import { pubsubLimit } from "./redis-buffer-limit.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/** How long an answer is waited for, in ms. */
const TIMEOUT = 2500;

/** How long an answer is given again, in ms: several pages may ask at once. */
const KEPT = 1000;

/** The most nodes of a cluster that are asked. */
const MAX_NODES = 32;

/** Longest text of INFO that is kept, in characters. */
const MAX_TEXT = 100;

/** The values of `INFO` that are kept. */
const INFO = new Set([
  ...["redis_version", "valkey_version", "server_name", "redis_mode", "role", "uptime_in_seconds"],
  ...["used_memory", "used_memory_peak", "maxmemory", "maxmemory_policy", "mem_fragmentation_ratio"],
  ...["connected_clients", "blocked_clients", "maxclients", "connected_slaves", "pubsub_patterns"],
  ...["instantaneous_ops_per_sec", "instantaneous_input_kbps", "instantaneous_output_kbps"],
  ...["evicted_keys", "expired_keys", "rejected_connections", "total_error_replies"],
  ...["client_recent_max_output_buffer", "evicted_clients", "loading", "rdb_last_bgsave_status"],
]);

/** Reads the figures of the Redis of the bus, over a connection that the first question opens. */
export class RedisFigures implements BusFigures {
  readonly #connection: RedisFleetConnection;
  #started: Promise<void> | null = null;
  #latest: { readonly at: number; readonly nodes: Promise<readonly BusNode[] | null> } | null = null;

  constructor(connection: RedisFleetConnection) {
    this.#connection = connection;
  }

  read(): Promise<readonly BusNode[] | null> {
    const now = performance.now();
    if (this.#latest !== null && now - this.#latest.at < KEPT) return this.#latest.nodes;
    const { promise, resolve } = Promise.withResolvers<readonly BusNode[] | null>();
    const timer = setTimeout(() => resolve(null), TIMEOUT);
    void this.#ask().then((nodes) => {
      clearTimeout(timer);
      resolve(nodes);
    });
    this.#latest = { at: now, nodes: promise };
    return promise;
  }

  stop(): void {
    this.#connection.stop();
  }

  async #ask(): Promise<readonly BusNode[] | null> {
    this.#started ??= this.#connection.start();
    await this.#started;
    return this.#connection.ask(async (redis) => {
      const nodes = redis instanceof Cluster ? redis.nodes("master").slice(0, MAX_NODES) : [redis];
      return Promise.all(nodes.map((node) => figuresOf(node, this.#connection.shown)));
    });
  }
}

async function figuresOf(redis: Redis, shown: string): Promise<BusNode> {
  const { host, port } = redis.options;
  const where = host === undefined || port === undefined ? shown : `${host}:${port}`;
  const asked = performance.now();
  const answered = await permitted(redis.ping());
  const ping = answered === null ? null : Math.round((performance.now() - asked) * 100) / 100;
  const [info, limits] = await Promise.all([
    permitted(redis.info()),
    permitted(redis.config("GET", "client-output-buffer-limit")),
  ]);
  const bufferLimit = Array.isArray(limits) ? (pubsubLimit(String(limits[1])) ?? 0) : null;
  return { where, ping, info: info === null ? null : parseInfo(info), bufferLimit };
}

/** An answer; `null` where the access list does not permit the question. */
async function permitted<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Error && /^NOPERM|unknown command/.test(error.message)) return null;
    throw error;
  }
}

/** The lines `name:value` of `INFO` that are shown. */
export function parseInfo(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const at = line.indexOf(":");
    const name = line.slice(0, Math.max(at, 0));
    if (INFO.has(name))
      found[name] = line
        .slice(at + 1)
        .trim()
        .slice(0, MAX_TEXT);
  }
  return found;
}
