import type { Cluster, Redis } from "ioredis";
import type { Log } from "../../log.ts";
import { parseRedisAddress, type SentinelCredentials } from "./redis-address.ts";
import { createCommandClient, isTimeout } from "./redis-commands.ts";
import { pauseBefore } from "./redis-connection.ts";

/** Errors that an operator has to mend; others pass with the state of Redis, which the bus logs. */
const FOR_OPERATORS =
  /^(NOPERM|OOM|MISCONF|WRONGTYPE)|ACL failure in script|can't run this command|unknown command/;

const REFUSED = "Redis refused the keys of servers";

export interface RedisFleetOptions {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** Added before each key in Redis. Default: none. */
  readonly prefix?: string;
  /** Shown by `CLIENT LIST`. Default: `channel-fleet`. */
  readonly name?: string;
  /** The log line when Redis refuses a command. */
  readonly refused?: string;
  readonly log: Log;
}

/** The connection for the keys that servers share. */
export class RedisFleetConnection {
  readonly prefix: string;
  /** For logs. */
  readonly shown: string;
  readonly log: Log;
  readonly #redis: Redis | Cluster;
  readonly #refused: string;
  #loggedFailure = false;
  #stopped = false;

  /** @throws BusError if the address is invalid. */
  constructor({
    url,
    sentinel,
    prefix = "",
    name = "channel-fleet",
    refused = REFUSED,
    log,
  }: RedisFleetOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#refused = refused;
    this.log = log;
    this.prefix = prefix;
    this.shown = address.shown;
    this.#redis = createCommandClient(address, name);
    // The bus logs connection errors.
    this.#redis.on("error", () => {});
    this.#redis.on("end", () => this.#reconnect());
  }

  get ready(): boolean {
    return !this.#stopped && this.#redis.status === "ready";
  }

  /** To be called before `start`. @param opened called at each connection */
  onOpen(opened: () => void): void {
    this.#redis.on("ready", opened);
  }

  /** Connects, and retries until `stop`. Resolves after the first attempt. */
  async start(): Promise<void> {
    await this.#redis.connect().catch(() => {});
  }

  stop(): void {
    this.#stopped = true;
    this.#redis.disconnect();
  }

  /** Runs commands. Resolves to `null` without an answer: not connected, or refused. Never rejects. */
  async ask<T>(run: (redis: Redis | Cluster) => Promise<T>): Promise<T | null> {
    if (!this.ready) return null;
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
    if (!this.ready) return;
    const reason = error instanceof Error ? error.message : "unknown";
    // The connection is dead, or Redis is blocked.
    if (isTimeout(error)) this.#redis.disconnect(true);
    else if (!this.#loggedFailure && FOR_OPERATORS.test(reason)) {
      this.#loggedFailure = true;
      this.log.warn(this.#refused, { where: this.shown, reason });
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
