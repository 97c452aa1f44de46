import type { Cluster, Redis } from "ioredis";
import type { Revocation, RevocationKind, RevocationStore } from "../../auth/revocations.ts";
import type { Log } from "../../log.ts";
import { printHub } from "../topics.ts";
import { parseRedisAddress, type SentinelCredentials } from "./redis-address.ts";
import { createCommandClient, isTimeout, REPLY_TIMEOUT_MS } from "./redis-commands.ts";
import { pauseBefore } from "./redis-connection.ts";

/**
 * Without the prefix: the key of a sorted set of `<kind>:<id>`, scored with the Unix time in ms at which an entry expires,
 * and the name on which each new entry is published as `<until> <kind>:<id>`.
 */
const REVOKED = printHub("revoked");

/** Between two reads of the whole list, in ms: a message may be lost with a connection. */
const READ_EVERY_MS = 30_000;

/** Entries of one command. */
const BATCH = 500;

/** Signs messages between servers, and verifies them. */
export interface MessageSigner {
  sign(name: string, body: string): string;
  /** The body of a signed message; `null` if the signature is wrong. */
  open(name: string, payload: Buffer): Buffer | null;
}

export interface RedisRevocationsOptions {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** Added before each name and key in Redis. Default: none. */
  readonly prefix?: string;
  /** `null`: messages are not signed, since no secret is shared. */
  readonly signer?: MessageSigner | null;
  readonly log: Log;
}

/**
 * Revocations shared by all servers of a Redis. Each server writes the entries that the list in Redis lacks, or has with an
 * earlier end: those made while Redis was away, and those that Redis lost.
 * @throws BusError if the address is invalid.
 */
export function createRedisRevocations(options: RedisRevocationsOptions): RevocationStore {
  return new RedisRevocations(options);
}

class RedisRevocations implements RevocationStore {
  complete = false;
  readonly #log: Log;
  readonly #name: string;
  readonly #signer: MessageSigner | null;
  readonly #shown: string;
  readonly #commands: Redis | Cluster;
  readonly #subscriber: Redis | Cluster;
  readonly #attempted = Promise.withResolvers<void>();
  /** Expiry times (Unix ms) of the entries known to this server, by `<kind>:<id>`. */
  readonly #known = new Map<string, number>();
  #received: (revocation: Revocation) => void = () => {};
  #timer: Timer | null = null;
  #reading = false;
  /** Whether a read was requested during the current one: an entry may be published between it and the subscription. */
  #readAgain = false;
  #loggedFailure = false;
  #stopped = false;

  constructor({ url, sentinel, prefix = "", signer = null, log }: RedisRevocationsOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#name = prefix + REVOKED;
    this.#signer = signer;
    this.#log = log;
    this.#shown = address.shown;
    this.#commands = createCommandClient(address, "channel-revocations");
    this.#subscriber = createCommandClient(address, "channel-revoked");
    this.#subscriber.on("ready", () => void this.#subscribe());
    this.#commands.on("ready", () => void this.#read());
    this.#subscriber.on("message", (_topic: string, text: string) => this.#parse(text));
    // The bus logs connection errors.
    for (const each of [this.#commands, this.#subscriber]) {
      each.on("error", () => {});
      each.on("end", () => this.#reconnect(each));
    }
  }

  start(received: (revocation: Revocation) => void): Promise<void> {
    this.#received = received;
    this.#timer = setInterval(() => {
      void this.#read();
      this.#ping();
    }, READ_EVERY_MS);
    const timeout = setTimeout(() => this.#attempted.resolve(), REPLY_TIMEOUT_MS);
    for (const each of [this.#commands, this.#subscriber]) {
      each.connect().catch(() => {
        if (each === this.#commands) this.#attempted.resolve();
      });
    }
    return this.#attempted.promise.finally(() => clearTimeout(timeout));
  }

  add({ kind, id, until: end }: Revocation): void {
    const member = `${kind}:${id}`;
    const until = this.#remember(member, end);
    const failed = (error: unknown): void => this.#failed(error);
    if (this.#commands.status !== "ready") return;
    this.#commands.zadd(this.#name, until, member).catch(failed);
    this.#commands.publish(this.#name, this.#print(until, member)).catch(failed);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#attempted.resolve();
    for (const each of [this.#commands, this.#subscriber]) each.disconnect();
  }

  /** ioredis gives up in some cases; this retries. */
  #reconnect(client: Redis | Cluster): void {
    if (this.#stopped) return;
    setTimeout(() => {
      if (!this.#stopped) client.connect().catch(() => {});
    }, pauseBefore(10)).unref();
  }

  /** Detects a dead connection of the subscription. */
  #ping(): void {
    if (this.#subscriber.status !== "ready") return;
    this.#subscriber.ping().catch(() => {
      if (!this.#stopped) this.#subscriber.disconnect(true);
    });
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(this.#name);
      // Entries published before the subscription are in the list.
      await this.#read();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Reads the whole list, and writes the entries that it lacks. */
  async #read(): Promise<void> {
    if (this.#stopped || this.#commands.status !== "ready") return;
    if (this.#reading) {
      this.#readAgain = true;
      return;
    }
    this.#reading = true;
    try {
      const now = Date.now();
      const listed = new Map<string, number>();
      const found = await this.#commands.zrangebyscore(this.#name, `(${now}`, "+inf", "WITHSCORES");
      for (let at = 0; at + 1 < found.length; at += 2) {
        const [member = "", score = ""] = found.slice(at, at + 2);
        listed.set(member, Number(score));
        this.#add(member, Number(score));
      }
      await this.#writeMissing(listed, now);
      await this.#commands.zremrangebyscore(this.#name, "-inf", now);
      this.complete = true;
      this.#loggedFailure = false;
    } catch (error) {
      this.#failed(error);
      if (isTimeout(error) && !this.#stopped) this.#commands.disconnect(true);
    } finally {
      this.#reading = false;
      this.#attempted.resolve();
      if (this.#readAgain) {
        this.#readAgain = false;
        void this.#read();
      }
    }
  }

  /** Writes the entries that the list lacks, or has with an earlier end. */
  async #writeMissing(listed: ReadonlyMap<string, number>, now: number): Promise<void> {
    const missing: [member: string, until: number][] = [];
    for (const [member, until] of this.#known) {
      if (until <= now) this.#known.delete(member);
      else if ((listed.get(member) ?? 0) < until) missing.push([member, until]);
    }
    for (let at = 0; at < missing.length; at += BATCH) {
      const batch = missing.slice(at, at + BATCH);
      // Published when listed: a server that subscribes in between reads the list after that.
      await this.#commands.zadd(this.#name, ...batch.flatMap(([member, until]) => [until, member]));
      await Promise.all(
        batch.map(([member, until]) => this.#commands.publish(this.#name, this.#print(until, member))),
      );
    }
  }

  #print(until: number, member: string): string {
    const body = `${until} ${member}`;
    return this.#signer?.sign(REVOKED, body) ?? body;
  }

  #parse(message: string): void {
    const signer = this.#signer;
    // A message of a server with another secret, or of no server, is ignored; the list in Redis is read anyway.
    const text = signer === null ? message : signer.open(REVOKED, Buffer.from(message))?.toString();
    if (text === undefined) return;
    const space = text.indexOf(" ");
    this.#add(text.slice(space + 1), Number(text.slice(0, space)));
  }

  #add(member: string, until: number): void {
    const colon = member.indexOf(":");
    const kind = KINDS.find((known) => known === member.slice(0, colon));
    const id = member.slice(colon + 1);
    if (kind === undefined || id === "" || !Number.isFinite(until)) return;
    this.#remember(member, until);
    this.#received({ kind, id, until });
  }

  /** Returns the latest end of an entry that is known. */
  #remember(member: string, until: number): number {
    const latest = Math.max(until, this.#known.get(member) ?? 0);
    this.#known.set(member, latest);
    return latest;
  }

  #failed(error: unknown): void {
    if (this.#stopped || this.#loggedFailure || this.#commands.status !== "ready") return;
    this.#loggedFailure = true;
    const reason = error instanceof Error ? error.message : "unknown";
    this.#log.warn("revocations not shared with other servers", { where: this.#shown, reason });
  }
}

const KINDS: readonly RevocationKind[] = ["session", "token"];
