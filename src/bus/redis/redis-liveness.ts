import type { Cluster, Redis } from "ioredis";
import type { Log } from "../../log.ts";
import type { LivenessStore } from "../liveness-store.ts";
import { printHub } from "../topics.ts";
import { parseRedisAddress, type SentinelCredentials } from "./redis-address.ts";
import { createCommandClient, isTimeout } from "./redis-commands.ts";
import { pauseBefore } from "./redis-connection.ts";

/** Errors that an operator has to mend; others pass with the state of Redis, which the bus logs. */
const FOR_OPERATORS = /^(NOPERM|OOM|MISCONF)/;

/** How long a server counts as declared dead, in seconds. */
const DEAD_SECS = 86_400;

export interface RedisLivenessOptions {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** Added before each key in Redis. Default: none. */
  readonly prefix?: string;
  readonly log: Log;
}

/**
 * Keeps in Redis which servers live, on a connection of its own.
 * @throws BusError if the address is invalid.
 */
export function createRedisLiveness(options: RedisLivenessOptions): LivenessStore {
  return new RedisLiveness(options);
}

class RedisLiveness implements LivenessStore {
  readonly #log: Log;
  readonly #shown: string;
  readonly #node: string;
  readonly #dead: string;
  readonly #redis: Redis | Cluster;
  #loggedFailure = false;
  #stopped = false;

  constructor({ url, sentinel, prefix = "", log }: RedisLivenessOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#log = log;
    this.#shown = address.shown;
    this.#node = `${prefix}${printHub("node")}:`;
    this.#dead = `${prefix}${printHub("dead")}:`;
    this.#redis = createCommandClient(address, "channel-fleet");
    // The bus logs connection errors.
    this.#redis.on("error", () => {});
    this.#redis.on("end", () => this.#reconnect());
  }

  start(opened: () => void): void {
    this.#redis.on("ready", opened);
    this.#redis.connect().catch(() => {});
  }

  renew(incarnation: string, ttl: number): Promise<boolean | null> {
    return this.#ask(async (redis) => {
      const [, dead] = await Promise.all([
        redis.set(this.#node + incarnation, "1", "PX", ttl),
        redis.exists(this.#dead + incarnation),
      ]);
      return dead === 1;
    });
  }

  isPresent(incarnation: string): Promise<boolean | null> {
    return this.#ask(async (redis) => (await redis.exists(this.#node + incarnation)) === 1);
  }

  declareDead(incarnation: string): Promise<boolean | null> {
    return this.#ask(
      async (redis) => (await redis.set(this.#dead + incarnation, "1", "EX", DEAD_SECS, "NX")) === "OK",
    );
  }

  async remove(incarnation: string): Promise<void> {
    await this.#ask(async (redis) => (await redis.del(this.#node + incarnation)) > 0);
  }

  stop(): void {
    this.#stopped = true;
    this.#redis.disconnect();
  }

  async #ask(run: (redis: Redis | Cluster) => Promise<boolean>): Promise<boolean | null> {
    if (this.#stopped || this.#redis.status !== "ready") return null;
    try {
      const answer = await run(this.#redis);
      this.#loggedFailure = false;
      return answer;
    } catch (error) {
      this.#failed(error);
      return null;
    }
  }

  #failed(error: unknown): void {
    if (this.#stopped || this.#redis.status !== "ready") return;
    const reason = error instanceof Error ? error.message : "unknown";
    // The connection is dead, or Redis is blocked.
    if (isTimeout(error)) this.#redis.disconnect(true);
    else if (!this.#loggedFailure && FOR_OPERATORS.test(reason)) {
      this.#loggedFailure = true;
      this.#log.warn("Redis refused the keys of servers", { where: this.#shown, reason });
    }
  }

  /** ioredis gives up in some cases; this retries. */
  #reconnect(): void {
    if (this.#stopped) return;
    setTimeout(() => {
      if (!this.#stopped) this.#redis.connect().catch(() => {});
    }, pauseBefore(10)).unref();
  }
}
