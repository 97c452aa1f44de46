import type { ChainableCommander, Cluster, Redis } from "ioredis";
import {
  EXPIRY,
  type OccupancyWrite,
  type PresenceDatabase,
  type PresenceWrite,
} from "../../hub/presence/presence-database.ts";
import type { Log } from "../../log.ts";
import { printHub } from "../topics.ts";
import { parseRedisAddress, type SentinelCredentials } from "./redis-address.ts";
import { createCommandClient, isTimeout } from "./redis-commands.ts";
import { pauseBefore } from "./redis-connection.ts";

/** How long a server counts as dead, in seconds: as long as the declaration of the fleet. */
const DEAD_SECS = 86_400;

/** Channels of a server that are read in one step. */
const SCAN_COUNT = 1000;

export interface RedisPresenceOptions {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** Added before each name and key in Redis. Default: none. */
  readonly prefix?: string;
  readonly log: Log;
}

/** A command with its arguments. */
type Command = readonly [name: string, ...rest: (string | number)[]];

/**
 * Keeps presence in Redis, on a connection of its own: per channel the hashes `hub:presence:<channel>` (entries) and
 * `hub:occupied:<channel>` (members by server), per server the set `hub:channels:<incarnation>`, and the set `hub:open`.
 * @throws BusError if the address is invalid.
 */
export function createRedisPresence(options: RedisPresenceOptions): PresenceDatabase {
  return new RedisPresence(options);
}

class RedisPresence implements PresenceDatabase {
  readonly #log: Log;
  readonly #shown: string;
  readonly #entries: string;
  readonly #occupied: string;
  readonly #channels: string;
  readonly #open: string;
  readonly #dead: string;
  readonly #name: string;
  readonly #redis: Redis | Cluster;
  #loggedFailure = false;
  #stopped = false;

  constructor({ url, sentinel, prefix = "", log }: RedisPresenceOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#log = log;
    this.#shown = address.shown;
    this.#name = prefix + printHub("presence");
    this.#entries = `${this.#name}:`;
    this.#occupied = `${prefix}${printHub("occupied")}:`;
    this.#channels = `${prefix}${printHub("channels")}:`;
    this.#open = `${prefix}${printHub("open")}`;
    this.#dead = `${prefix}${printHub("dead")}:`;
    this.#redis = createCommandClient(address, "channel-presence");
    // The bus logs connection errors.
    this.#redis.on("error", () => {});
    this.#redis.on("end", () => this.#reconnect());
  }

  get ready(): boolean {
    return !this.#stopped && this.#redis.status === "ready";
  }

  start(opened: () => void): void {
    this.#redis.on("ready", opened);
    this.#redis.connect().catch(() => {});
  }

  async write(writes: readonly PresenceWrite[], messages: readonly string[]): Promise<boolean> {
    const commands: Command[] = [];
    for (const { channel, set, remove, renew } of writes) {
      const key = this.#entries + channel;
      if (set.length > 0) commands.push(["hset", key, ...set]);
      if (remove.length > 0) commands.push(["hdel", key, ...remove]);
      if (renew) commands.push(["expire", key, EXPIRY]);
    }
    const publishes = messages.map((message): Command => ["publish", this.#name, message]);
    return (await this.#inTurn(commands, publishes)) !== null;
  }

  async read(channels: readonly string[]): Promise<readonly ReadonlyMap<string, string>[] | null> {
    const answers = await this.#run(channels.map((channel) => ["hgetall", this.#entries + channel]));
    return answers?.map(textsByField) ?? null;
  }

  async occupy(
    incarnation: string,
    writes: readonly OccupancyWrite[],
  ): Promise<readonly ReadonlyMap<string, number>[] | null> {
    const index = this.#channels + incarnation;
    const [added, removed] = [true, false].map((open) =>
      writes.filter(({ members }) => members > 0 === open).map(({ channel }) => channel),
    );
    // A channel is listed for as long as there may be something in it.
    if (
      added?.length &&
      (await this.#run([
        ["sadd", index, ...added],
        ["expire", index, EXPIRY],
      ])) === null
    )
      return null;
    const commands = writes.flatMap(({ channel, members }): Command[] => {
      const key = this.#occupied + channel;
      const change: Command = members > 0 ? ["hset", key, incarnation, members] : ["hdel", key, incarnation];
      return [change, ["expire", key, EXPIRY], ["hgetall", key]];
    });
    // Also those that were listed before: Redis may have lost them.
    const open: Command[] = added?.length ? [["sadd", this.#open, ...added]] : [];
    const answers = await this.#inTurn(commands, open);
    if (answers === null) return null;
    if (removed?.length && (await this.#run([["srem", index, ...removed]])) === null) return null;
    return writes.map((_, i) => {
      const counts = [...textsByField(answers[i * 3 + 2])].map(
        ([field, text]) => [field, Number(text)] as const,
      );
      return new Map(counts.filter(([, members]) => members > 0));
    });
  }

  async listOpen(
    closed: readonly string[],
    max: number,
  ): Promise<{ readonly names: readonly string[] | null; readonly total: number } | null> {
    if (!(await this.#unlist(closed))) return null;
    const answers = await this.#run([
      ["scard", this.#open],
      ["srandmember", this.#open, max + 1],
    ]);
    if (answers === null) return null;
    const [total, listed] = answers;
    const names = listOf(listed).filter((name) => typeof name === "string");
    return { names: names.length > max ? null : names.toSorted(), total: Number(total) };
  }

  /** Another server may open a channel that this one found closed: it is looked at again after each change of the list. */
  async #unlist(closed: readonly string[]): Promise<boolean> {
    let lists = false;
    for (let channels = closed; channels.length > 0; lists = !lists) {
      const answers = await this.#inTurn(
        [[lists ? "sadd" : "srem", this.#open, ...channels]],
        channels.map((channel) => ["hgetall", this.#occupied + channel]),
      );
      if (answers === null) return false;
      channels = channels.filter((_, i) => textsByField(answers[i + 1]).size > 0 !== lists);
    }
    return true;
  }

  async channelsOf(incarnation: string): Promise<readonly string[] | null> {
    const found = new Set<string>();
    let cursor = "0";
    do {
      const answers = await this.#run([["sscan", this.#channels + incarnation, cursor, "COUNT", SCAN_COUNT]]);
      const [next, channels] = listOf(answers?.[0]);
      if (answers === null || typeof next !== "string") return null;
      for (const channel of listOf(channels)) if (typeof channel === "string") found.add(channel);
      cursor = next;
    } while (cursor !== "0");
    return [...found];
  }

  async renew(incarnation: string, channels: readonly string[]): Promise<readonly string[] | null> {
    const answers = await this.#run([
      ["expire", this.#channels + incarnation, EXPIRY],
      ...channels.flatMap((channel): Command[] => [
        ["expire", this.#entries + channel, EXPIRY],
        ["expire", this.#occupied + channel, EXPIRY],
      ]),
    ]);
    if (answers === null) return null;
    return channels.filter(
      (_, i) => answers[1 + i * 2] === 0 || answers[2 + i * 2] === 0 || answers[0] === 0,
    );
  }

  async isDead(incarnation: string): Promise<boolean | null> {
    const answers = await this.#run([["exists", this.#dead + incarnation]]);
    return answers === null ? null : answers[0] === 1;
  }

  async claim(incarnation: string): Promise<boolean | null> {
    const answers = await this.#run([["set", this.#dead + incarnation, "1", "EX", DEAD_SECS, "NX"]]);
    return answers === null ? null : answers[0] === "OK";
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#redis.disconnect();
  }

  #isSingle(): boolean {
    return "pipeline" in this.#redis && !this.#redis.isCluster;
  }

  /** Runs `then` after `first`, which go to several nodes in a cluster. As `#run`. */
  async #inTurn(first: readonly Command[], then: readonly Command[]): Promise<readonly unknown[] | null> {
    if (this.#isSingle()) return this.#run([...first, ...then]);
    const answers = await this.#run(first);
    const others = answers === null ? null : await this.#run(then);
    return answers === null || others === null ? null : [...answers, ...others];
  }

  /** The replies, in order; `null` if one is an error or is missing. Does not reject. */
  async #run(commands: readonly Command[]): Promise<readonly unknown[] | null> {
    if (commands.length === 0) return [];
    if (!this.ready) return null;
    try {
      const answers = this.#isSingle()
        ? await this.#pipelined(commands)
        : await Promise.all(commands.map(([name, ...rest]) => this.#redis.call(name, ...rest)));
      this.#loggedFailure = false;
      return answers;
    } catch (error) {
      this.#failed(error);
      return null;
    }
  }

  async #pipelined(commands: readonly Command[]): Promise<unknown[]> {
    const pipeline: ChainableCommander = this.#redis.pipeline();
    for (const [name, ...rest] of commands) pipeline.call(name, ...rest);
    const answers = await pipeline.exec();
    if (answers === null) throw new Error("no answer");
    return answers.map(([error, answer]) => {
      if (error !== null) throw error;
      return answer;
    });
  }

  #failed(error: unknown): void {
    if (!this.ready) return;
    // The connection is dead, or Redis is blocked.
    if (isTimeout(error)) this.#redis.disconnect(true);
    else if (!this.#loggedFailure) {
      this.#loggedFailure = true;
      const reason = error instanceof Error ? error.message : "unknown";
      this.#log.warn("presence not shared with other servers", { where: this.#shown, reason });
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

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A reply to HGETALL: fields and values in turn (RESP2), or an object where ioredis made one. */
function textsByField(answer: unknown): Map<string, string> {
  const texts = new Map<string, string>();
  const list = Array.isArray(answer) ? answer : Object.entries(Object(answer)).flat();
  for (let at = 0; at + 1 < list.length; at += 2) {
    const [field, value]: unknown[] = [list[at], list[at + 1]];
    if (typeof field === "string" && typeof value === "string") texts.set(field, value);
  }
  return texts;
}
