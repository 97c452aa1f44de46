import { Redis } from "ioredis";
import type { Log } from "../log.ts";
import { type HostPort, type RedisAddress, showHost } from "./redis-address.ts";

/** Told what becomes of a connection. */
export interface LinkOwner {
  /** Connected and signed in. Called again after each loss. */
  opened(redis: Redis): void;
  /** Not connected, with the reason in a few words; called for each failed try too. */
  lost(reason: string): void;
}

/** Between two tries, in ms. Together with connecting it stays under the 2 s within which a subscription must be back. */
const MAX_PAUSE = 1500;
const FIRST_PAUSE = 50;
/** For an answer to whatever opens a connection, in ms. */
const ANSWER_MS = 2000;
/** From ending a connection to tearing it down, in ms: what was written last may still leave. */
const FAREWELL_MS = 200;

/** How long to wait before try number `attempt` (from 1), in ms: doubling, jittered so that servers don't knock in step. */
export function pauseBefore(attempt: number): number {
  return Math.min(MAX_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

/**
 * One connection to a Redis, tried for ever. ioredis opens it (TLS, sign-in, Sentinel) and tries again; what runs over
 * it is the owner's. In a cluster any node will do, since every node hears every message: they are tried in turn.
 */
export class RedisLink {
  readonly #address: RedisAddress;
  readonly #owner: LinkOwner;
  readonly #log: Log;
  readonly #redis: Redis;
  readonly #nodes: HostPort[];
  #node = 0;
  #open = false;
  #reason: string | null = null;
  #stopped = false;
  #again: Timer | null = null;

  /** `name` is what `CLIENT LIST` shows of the connection. */
  constructor(address: RedisAddress, name: string, owner: LinkOwner, log: Log) {
    this.#address = address;
    this.#owner = owner;
    this.#log = log;
    this.#nodes = address.kind === "cluster" ? [...address.hosts] : [];
    // Two links to one cluster should not both hang on its first node.
    this.#node = this.#nodes.length === 0 ? 0 : Math.floor(Math.random() * this.#nodes.length);
    this.#redis = new Redis({
      ...address.options,
      ...this.#nodes[this.#node],
      lazyConnect: true,
      connectionName: name,
      // Nothing waits for a connection and nothing is said twice (bridge.md, "When Redis goes away").
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      commandTimeout: ANSWER_MS,
      connectTimeout: ANSWER_MS,
      disconnectTimeout: FAREWELL_MS,
      // It asks for INFO, which publish and subscribe do not need and ACLs often forbid; Sentinel checks the role by it.
      enableReadyCheck: address.kind === "sentinel",
      retryStrategy: (attempt) => {
        this.#turn();
        return pauseBefore(attempt);
      },
      sentinelRetryStrategy: pauseBefore,
      sentinelCommandTimeout: ANSWER_MS,
    });
    this.#redis.on("connecting", () => {
      this.#reason = null;
    });
    this.#redis.on("ready", () => {
      if (address.kind !== "cluster") this.#opened();
      // First, since the owner may read the answers itself from then on.
      else void this.#learnNodes().then(() => this.#opened());
    });
    this.#redis.on("error", (error: unknown) => {
      // The first error of a try is its cause: a refusal is followed by the end of the connection.
      this.#reason ??= this.#describe(error);
      if (!this.#open) this.#lost(this.#reason);
    });
    this.#redis.on("close", () => this.#lost(this.#reason ?? "the connection was closed"));
    this.#redis.on("end", () => this.#ended());
  }

  /** Whether `opened` was the last that its owner was told. */
  get open(): boolean {
    return this.#open;
  }

  /** Where it is or was last tried, for people. */
  get where(): string {
    const node = this.#nodes[this.#node];
    return node === undefined ? this.#address.shown : showHost(node);
  }

  /** Bytes heard on this connection: when they grow, somebody is there. */
  get heard(): number {
    return this.#redis.stream?.bytesRead ?? 0;
  }

  start(): void {
    this.#redis.connect().catch(() => {});
  }

  /** Gives a connection up that is open but of no use; its owner is told at once, and another is tried. */
  drop(reason: string): void {
    if (this.#stopped) return;
    this.#reason = reason;
    this.#lost(reason);
    this.#redis.disconnect(true);
  }

  /** Sends what is written, then closes. The owner hears nothing more. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#open = false;
    if (this.#again !== null) clearTimeout(this.#again);
    const stream = this.#redis.stream;
    const closed = Promise.withResolvers<void>();
    if (stream === undefined || stream === null || stream.destroyed) closed.resolve();
    else {
      stream.once("close", () => closed.resolve());
      // A stream that was never connected may not say that it closed.
      setTimeout(() => closed.resolve(), FAREWELL_MS * 2).unref();
    }
    this.#redis.disconnect();
    await closed.promise;
  }

  #opened(): void {
    if (this.#stopped || this.#redis.status !== "ready") return;
    this.#open = true;
    this.#owner.opened(this.#redis);
  }

  #lost(reason: string): void {
    if (this.#stopped) return;
    this.#open = false;
    this.#log.debug("no connection to Redis", { where: this.where, reason });
    this.#owner.lost(reason);
  }

  /** ioredis gives up where it could not even begin (Sentinels that fell silent, an address that is none). We don't. */
  #ended(): void {
    if (this.#stopped) return;
    this.#lost(this.#reason ?? "the connection was closed");
    if (this.#again !== null) clearTimeout(this.#again);
    this.#again = setTimeout(() => this.start(), pauseBefore(10));
  }

  /** On to the next node. The connector reads host and port from these options at each try. */
  #turn(): void {
    if (this.#nodes.length < 2) return;
    this.#node = (this.#node + 1) % this.#nodes.length;
    Object.assign(this.#redis.options, this.#nodes[this.#node]);
  }

  /** Nodes that the operator did not name are tried too when those that were named are gone. */
  async #learnNodes(): Promise<void> {
    const slots: unknown = await this.#redis.cluster("SLOTS").catch(() => []);
    for (const range of Array.isArray(slots) ? slots : []) {
      // First and last slot, then its nodes: [address, port, id, ...] (CLUSTER SLOTS).
      for (const node of Array.isArray(range) ? range.slice(2) : []) {
        const [host, port]: unknown[] = Array.isArray(node) ? node : [];
        if (typeof host !== "string" || host === "" || typeof port !== "number") continue;
        const known = this.#nodes.some((other) => other.host === host && other.port === port);
        if (!known) this.#nodes.push({ host, port });
      }
    }
  }

  #describe(error: unknown): string {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const words = typeof code === "string" ? REASONS.get(code) : undefined;
    if (words !== undefined) return words;
    const text = error instanceof Error ? error.message : String(error);
    const { password } = this.#address;
    return (password === null ? text : text.replaceAll(password, "***")).replace(/\.?\s*$/, "");
  }
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["EPIPE", "the connection was closed"],
  ["ENOTFOUND", "unknown host"],
  ["EAI_AGAIN", "the host name could not be looked up"],
  ["ETIMEDOUT", "no answer"],
  ["EHOSTUNREACH", "host unreachable"],
  ["ENETUNREACH", "network unreachable"],
  ["ENOENT", "no such socket"],
  ["EACCES", "permission denied"],
]);
