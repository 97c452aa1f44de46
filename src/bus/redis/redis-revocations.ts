import { Cluster, Redis } from "ioredis";
import type { Revocation, RevocationKind, RevocationStore } from "../../auth/revocations.ts";
import type { Log } from "../../log.ts";
import { parseRedisAddress, type SentinelSignIn } from "./redis-address.ts";
import { pauseBefore } from "./redis-connection.ts";

/** A sorted set: `<kind>:<id>`, scored with when it may be forgotten (Unix ms). */
const KEY = "hub:revoked";

/** On which each is told as it is made: `<until> <kind>:<id>`. */
const TOPIC = "hub:revoked";

/** For an answer, in ms; and how long the start waits for the first list. */
const ANSWER_MS = 2000;

/** Between two looks at the whole list, in ms: a message may be lost with a connection. */
const LOOK_EVERY = 30_000;

/** Entries of one command. */
const BATCH = 500;

/**
 * Revocations that all servers of a Redis share. What is made while Redis is away is told when it is back, and so is what
 * Redis lost: every server puts back what it knows.
 *
 * @throws BusError where the address is none
 */
export function createRedisRevocations(url: string, log: Log, sentinel?: SentinelSignIn): RevocationStore {
  return new RedisRevocations(url, log, sentinel);
}

class RedisRevocations implements RevocationStore {
  complete = false;
  readonly #log: Log;
  readonly #shown: string;
  readonly #commands: Redis | Cluster;
  readonly #subscriber: Redis | Cluster;
  readonly #tried = Promise.withResolvers<void>();
  /** All that is known here, by `<kind>:<id>`. */
  readonly #known = new Map<string, number>();
  #heard: (revocation: Revocation) => void = () => {};
  #timer: Timer | null = null;
  #looking = false;
  #toldFailure = false;
  #stopped = false;

  constructor(url: string, log: Log, sentinel?: SentinelSignIn) {
    const address = parseRedisAddress(url, sentinel);
    this.#log = log;
    this.#shown = address.shown;
    const client = (name: string): Redis | Cluster => {
      const common = {
        connectionName: name,
        disableClientInfo: true,
        lazyConnect: true,
        enableOfflineQueue: false,
        autoResubscribe: false,
        maxRetriesPerRequest: 0,
        commandTimeout: ANSWER_MS,
        connectTimeout: ANSWER_MS,
        enableReadyCheck: address.kind === "sentinel",
        // A master that became a replica goes on answering for a while.
        reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
      };
      if (address.kind === "cluster") {
        return new Cluster([...address.hosts], {
          redisOptions: { ...address.options, ...common },
          clusterRetryStrategy: pauseBefore,
          lazyConnect: true,
          enableOfflineQueue: false,
        });
      }
      return new Redis({
        ...address.options,
        ...common,
        retryStrategy: pauseBefore,
        sentinelRetryStrategy: pauseBefore,
        sentinelCommandTimeout: ANSWER_MS,
      });
    };
    this.#commands = client("channel-revocations");
    this.#subscriber = client("channel-revoked");
    this.#subscriber.on("ready", () => void this.#subscribe());
    this.#commands.on("ready", () => void this.#look());
    this.#subscriber.on("message", (_topic: string, text: string) => this.#told(text));
    // What is wrong with Redis the bus says.
    for (const each of [this.#commands, this.#subscriber]) {
      each.on("error", () => {});
      each.on("end", () => this.#again(each));
    }
  }

  start(heard: (revocation: Revocation) => void): Promise<void> {
    this.#heard = heard;
    this.#timer = setInterval(() => {
      void this.#look();
      this.#ask();
    }, LOOK_EVERY);
    const late = setTimeout(() => this.#tried.resolve(), ANSWER_MS);
    for (const each of [this.#commands, this.#subscriber]) {
      each.connect().catch(() => {
        if (each === this.#commands) this.#tried.resolve();
      });
    }
    return this.#tried.promise.finally(() => clearTimeout(late));
  }

  add({ kind, id, until }: Revocation): void {
    const member = `${kind}:${id}`;
    this.#known.set(member, until);
    const failed = (error: unknown): void => this.#failed(error);
    if (this.#commands.status !== "ready") return;
    this.#commands.zadd(KEY, until, member).catch(failed);
    this.#commands.publish(TOPIC, `${until} ${member}`).catch(failed);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#tried.resolve();
    for (const each of [this.#commands, this.#subscriber]) each.disconnect();
  }

  /** ioredis gives up where it could not even begin; we don't. */
  #again(client: Redis | Cluster): void {
    if (this.#stopped) return;
    setTimeout(() => {
      if (!this.#stopped) client.connect().catch(() => {});
    }, pauseBefore(10)).unref();
  }

  /** A subscription that is silent may hang on a connection that is dead. */
  #ask(): void {
    if (this.#subscriber.status !== "ready") return;
    this.#subscriber.ping().catch(() => {
      if (!this.#stopped) this.#subscriber.disconnect(true);
    });
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(TOPIC);
      // What was told before the subscription stands in the list.
      await this.#look();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Reads the whole list, and puts back what it lacks. */
  async #look(): Promise<void> {
    if (this.#looking || this.#stopped || this.#commands.status !== "ready") return;
    this.#looking = true;
    try {
      const now = Date.now();
      const listed = new Set<string>();
      const found = await this.#commands.zrangebyscore(KEY, `(${now}`, "+inf", "WITHSCORES");
      for (let at = 0; at + 1 < found.length; at += 2) {
        const [member = "", score = ""] = found.slice(at, at + 2);
        listed.add(member);
        this.#take(member, Number(score));
      }
      await this.#putBack(listed, now);
      await this.#commands.zremrangebyscore(KEY, "-inf", now);
      this.complete = true;
      this.#toldFailure = false;
    } catch (error) {
      this.#failed(error);
      if (isTimeout(error) && !this.#stopped) this.#commands.disconnect(true);
    } finally {
      this.#looking = false;
      this.#tried.resolve();
    }
  }

  async #putBack(listed: ReadonlySet<string>, now: number): Promise<void> {
    let batch: (string | number)[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await this.#commands.zadd(KEY, ...batch);
      batch = [];
    };
    for (const [member, until] of this.#known) {
      if (until <= now) this.#known.delete(member);
      else if (!listed.has(member)) {
        batch.push(until, member);
        await this.#commands.publish(TOPIC, `${until} ${member}`);
        if (batch.length >= 2 * BATCH) await flush();
      }
    }
    await flush();
  }

  #told(text: string): void {
    const space = text.indexOf(" ");
    this.#take(text.slice(space + 1), Number(text.slice(0, space)));
  }

  #take(member: string, until: number): void {
    const colon = member.indexOf(":");
    const kind = KINDS.find((known) => known === member.slice(0, colon));
    const id = member.slice(colon + 1);
    if (kind === undefined || id === "" || !Number.isFinite(until)) return;
    this.#known.set(member, until);
    this.#heard({ kind, id, until });
  }

  #failed(error: unknown): void {
    if (this.#stopped || this.#toldFailure || this.#commands.status !== "ready") return;
    this.#toldFailure = true;
    const reason = error instanceof Error ? error.message : "unknown";
    this.#log.warn("sign-outs and revoked tokens hold on this server only", { where: this.#shown, reason });
  }
}

/** How ioredis says that `commandTimeout` is over. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Command timed out";
}

const KINDS: readonly RevocationKind[] = ["session", "token"];
