import type { Cluster, Redis } from "ioredis";
import type { BanChange, BanStore } from "../../auth/bans.ts";
import { printHub } from "../topics.ts";
import { REPLY_TIMEOUT_MS } from "./redis-commands.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/** Between two reads of all bans, in ms: a notice of another server may be lost. */
const READ_EVERY_MS = 30_000;

/** How long a lifted ban is kept, in ms: longer than any server misses it. */
const LIFTED_FOR_MS = 3_600_000;

/** `<version> <end>[ lifted]`: the end, or for a lifted one when the entry may go, by the clock of Redis in ms. */
const ENTRY = /^(\d{1,16}) (\d{1,16})( lifted)?$/;

interface Entry {
  readonly version: number;
  /** By the clock of Redis, in ms. */
  readonly end: number;
  readonly lifted: boolean;
}

/**
 * Bans in Redis: the hash `hub:bans`, a field for each user. Their ends are by the clock of Redis, so that those of servers
 * need not agree. Each server writes what it knows better: changes made while Redis was away, and what Redis lost.
 */
export class RedisBans implements BanStore {
  readonly #connection: RedisFleetConnection;
  readonly #key: string;
  readonly #known = new Map<string, Entry>();
  readonly #attempted = Promise.withResolvers<void>();
  #changed: (change: BanChange) => void = () => {};
  /** What the clock of Redis is ahead, in ms. */
  #ahead = 0;
  #timer: Timer | null = null;
  #reading = false;
  #warned = false;

  constructor(connection: RedisFleetConnection) {
    this.#connection = connection;
    this.#key = connection.prefix + printHub("bans");
    connection.onOpen(() => {
      void this.#read();
      void this.#checkEviction();
    });
  }

  start(changed: (change: BanChange) => void): Promise<void> {
    this.#changed = changed;
    this.#timer = setInterval(() => void this.#read(), READ_EVERY_MS);
    const timeout = setTimeout(() => this.#attempted.resolve(), REPLY_TIMEOUT_MS);
    void this.#connection
      .start()
      .then(() => this.#read())
      .finally(() => this.#attempted.resolve());
    return this.#attempted.promise.finally(() => clearTimeout(timeout));
  }

  put({ user, until, version }: BanChange): void {
    const now = Date.now();
    const end = (until === 0 ? now + LIFTED_FOR_MS : until) + this.#ahead;
    const entry = { version, end, lifted: until === 0 };
    this.#known.set(user, entry);
    void this.#connection.ask((redis) => redis.hset(this.#key, user, print(entry)));
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#attempted.resolve();
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    await this.#connection.ask(async (redis) => {
      const [time, found] = await Promise.all([redis.time(), redis.hgetall(this.#key)]);
      const now = Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000);
      this.#ahead = now - Date.now();
      const expired: string[] = [];
      for (const [user, text] of Object.entries(found)) {
        const entry = parse(text);
        if (entry === null || entry.end <= now) expired.push(user);
        else this.#adopt(user, entry);
      }
      await this.#write(redis, new Map(Object.entries(found)), now);
      if (expired.length > 0) await redis.hdel(this.#key, ...expired);
    });
    this.#reading = false;
  }

  #adopt(user: string, entry: Entry): void {
    const known = this.#known.get(user);
    if (known !== undefined && known.version >= entry.version) return;
    this.#known.set(user, entry);
    const until = entry.lifted ? 0 : entry.end - this.#ahead;
    this.#changed({ user, until, version: entry.version });
  }

  /** Writes what Redis lacks, or has in an older version. */
  async #write(redis: Redis | Cluster, found: ReadonlyMap<string, string>, now: number): Promise<void> {
    const missing: string[] = [];
    for (const [user, entry] of this.#known) {
      if (entry.end <= now) this.#known.delete(user);
      else if ((parse(found.get(user) ?? "")?.version ?? 0) < entry.version) missing.push(user, print(entry));
    }
    if (missing.length > 0) await redis.hset(this.#key, ...missing);
  }

  /** Warns once if Redis may remove keys when its memory is full. */
  async #checkEviction(): Promise<void> {
    const { log, shown: where } = this.#connection;
    if (this.#warned) return;
    const answer = await this.#connection.ask(async (redis) => {
      // Not permitted: nothing is known.
      const reply: unknown = await redis.config("GET", "maxmemory-policy").catch(() => null);
      return Array.isArray(reply) ? String(reply[1]) : "";
    });
    if (answer === null || answer === "" || answer === "noeviction" || this.#warned) return;
    this.#warned = true;
    log.warn("Redis may evict bans (maxmemory-policy)", { where, policy: answer, needed: "noeviction" });
  }
}

function print({ version, end, lifted }: Entry): string {
  return `${version} ${end}${lifted ? " lifted" : ""}`;
}

function parse(text: string): Entry | null {
  const [, version, end, lifted] = ENTRY.exec(text) ?? [];
  return version === undefined
    ? null
    : { version: Number(version), end: Number(end), lifted: lifted !== undefined };
}
