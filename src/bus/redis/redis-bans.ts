import type { Cluster, Redis } from "ioredis";
import type { BanChange, BanStore } from "../../auth/bans.ts";
import { printHub } from "../topics.ts";
import { lacksScripts, REPLY_TIMEOUT_MS } from "./redis-commands.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/** Between two reads of all bans, in ms: a notice of another server may be lost. */
const READ_EVERY_MS = 30_000;

/** How long a lifted ban is kept, in ms: longer than any server misses it. */
const LIFTED_FOR_MS = 3_600_000;

/** `<version> <end>[ lifted]`: the end, or for a lifted one when the entry may go, by the clock of Redis in ms. */
const ENTRY = /^(\d{1,16}) (\d{1,16})( lifted)?$/;

/**
 * Writes entries, apart from those that Redis has in the same or a newer version, and removes those that are over.
 * KEYS: the hash. ARGV: Redis' time in ms, then user and entry by turns.
 */
const WRITE_NEWER = `
local known = redis.call('HGETALL', KEYS[1])
local versions = {}
for i = 1, #known, 2 do
  local version, till = string.match(known[i + 1], '^(%d+) (%d+)')
  if version and tonumber(till) > tonumber(ARGV[1]) then
    versions[known[i]] = tonumber(version)
  else
    redis.call('HDEL', KEYS[1], known[i])
  end
end
for i = 2, #ARGV, 2 do
  local version = tonumber(string.match(ARGV[i + 1], '^%d+'))
  if (versions[ARGV[i]] or 0) < version then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
`;

interface Entry {
  readonly version: number;
  /** By the clock of Redis, in ms. */
  readonly end: number;
  readonly lifted: boolean;
}

/**
 * Bans in Redis: the hash `hub:bans`, a field for each user. Their ends are by the clock of Redis, so that those of servers
 * need not agree. Each server writes what it knows better: changes made while Redis was away, and what Redis lost.
 * Nothing overwrites a newer version: a server that missed that a ban was lifted does not bring it back.
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
  #reading: Promise<void> | null = null;
  /** Whether a read was requested during the current one, which may have begun before a connection was lost. */
  #readAgain = false;
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
      .then(() => this.#reading ?? this.#read())
      .finally(() => this.#attempted.resolve());
    return this.#attempted.promise.finally(() => clearTimeout(timeout));
  }

  put(change: BanChange): void {
    const entry = this.#remember(change);
    if (entry !== null) void this.#connection.ask((redis) => this.#write(redis, [change.user, print(entry)]));
  }

  learn(change: BanChange): void {
    this.#remember(change);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#attempted.resolve();
  }

  /** The entry of a change; `null` if a newer one is known. */
  #remember({ user, until, version }: BanChange): Entry | null {
    if ((this.#known.get(user)?.version ?? 0) >= version) return null;
    const end = (until === 0 ? Date.now() + LIFTED_FOR_MS : until) + this.#ahead;
    const entry = { version, end, lifted: until === 0 };
    this.#known.set(user, entry);
    return entry;
  }

  /** Resolves when all that was stored before the call is known, or could not be read. */
  async #read(): Promise<void> {
    if (this.#reading !== null) {
      this.#readAgain = true;
      return this.#reading;
    }
    this.#reading = this.#readAll();
    await this.#reading;
    this.#reading = null;
  }

  async #readAll(): Promise<void> {
    do {
      this.#readAgain = false;
      await this.#connection.ask((redis) => this.#exchange(redis));
    } while (this.#readAgain);
  }

  /** Learns what Redis knows better, and writes what this server knows better. */
  async #exchange(redis: Redis | Cluster): Promise<void> {
    const [time, found] = await Promise.all([redis.time(), redis.hgetall(this.#key)]);
    const now = toMs(time);
    this.#ahead = now - Date.now();
    const versions = new Map<string, number>();
    let isOver = false;
    for (const [user, text] of Object.entries(found)) {
      const entry = parse(text);
      if (entry === null || entry.end <= now) isOver = true;
      else {
        versions.set(user, entry.version);
        this.#adopt(user, entry);
      }
    }
    const newer: string[] = [];
    for (const [user, entry] of this.#known) {
      if (entry.end <= now) this.#known.delete(user);
      else if ((versions.get(user) ?? 0) < entry.version) newer.push(user, print(entry));
    }
    if (isOver || newer.length > 0) await this.#write(redis, newer);
  }

  #adopt(user: string, entry: Entry): void {
    const known = this.#known.get(user);
    if (known !== undefined && known.version >= entry.version) return;
    this.#known.set(user, entry);
    const until = entry.lifted ? 0 : entry.end - this.#ahead;
    this.#changed({ user, until, version: entry.version });
  }

  /** @param fields user and entry by turns */
  async #write(redis: Redis | Cluster, fields: readonly string[]): Promise<void> {
    try {
      await redis.eval(WRITE_NEWER, 1, this.#key, Date.now() + this.#ahead, ...fields);
    } catch (error) {
      // Without scripts, of two servers that write at once the later one wins until it learns of the newer change.
      if (!lacksScripts(error)) throw error;
      if (fields.length > 0) await redis.hset(this.#key, ...fields);
    }
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

function toMs([seconds = 0, micros = 0]: readonly (number | string)[]): number {
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
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
