import { Redis } from "ioredis";
import type { Log } from "../../log.ts";
import { CLOSED, NETWORK_REASONS } from "../network-reasons.ts";
import { type HostPort, type RedisAddress, showHost } from "./redis-address.ts";
import { errorIn, TLS_THERE, whyClosed } from "./redis-errors.ts";
import { isUnasked, whyNoMaster } from "./redis-role.ts";
import { readSlots } from "./redis-slots.ts";

/** Notified of changes of a connection. */
export interface RedisConnectionOwner {
  /** Connected, authenticated, and to a master (in a cluster: to any node). Called again after each reconnect. */
  opened(redis: Redis): void;
  /** Called before `opened`, for commands through ioredis. Must not reject. */
  prepare?(redis: Redis): Promise<void>;
  /** `ROLE` is not available, with the error; the server is treated as a master. */
  roleUnknown?(reason: string): void;
  /** Not connected, with the reason in a few words; also called for each failed attempt. */
  lost(reason: string): void;
}

export interface ConnectionOptions {
  /** The name shown by `CLIENT LIST`. */
  readonly name: string;
  /** Default: 3 if Redis supports it. The subscriber uses 2 (`RedisSubscriber`). */
  readonly protocol?: 2 | 3;
  /** Whether a replica is accepted, for a connection that only subscribes. */
  readonly anyRole?: boolean;
}

/** The name of the subscription of a server. */
export const SUBSCRIBER_NAME = "channel-subscriber";

/** Longest pause between attempts, in ms. With connecting it is under 2 s, the limit for a subscription to be back. */
const MAX_PAUSE = 1500;
const FIRST_PAUSE = 50;
/** Timeout of connecting and of each command of the handshake, in ms. */
const REPLY_TIMEOUT_MS = 2000;
/** Time for the last writes of a connection that is closed, in ms. */
const CLOSE_TIMEOUT_MS = 200;

/** Pause before attempt number `attempt` (from 1), in ms: doubling, with jitter so that servers do not retry in step. */
export function pauseBefore(attempt: number): number {
  return Math.min(MAX_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

/**
 * One connection to a Redis, retried until `stop`. ioredis connects (TLS, authentication, Sentinel) and reconnects; the
 * owner uses the connection. In a cluster every node receives every message, so nodes are tried in turn.
 */
export class RedisConnection {
  readonly #address: RedisAddress;
  readonly #owner: RedisConnectionOwner;
  readonly #log: Log;
  readonly #redis: Redis;
  readonly #anyRole: boolean;
  /** Nodes of a cluster to try in turn, configured or learned. */
  #nodes: HostPort[];
  /** The nodes listed last by the cluster, as `showHost` prints them. */
  #learned: ReadonlySet<string> = new Set();
  #node = 0;
  /** The error that Redis sent before the connection was ready. */
  #earlyError: string | null = null;
  #open = false;
  #reason: string | null = null;
  /** Whether `#reason` says only that the connection ended. */
  #unexplained = true;
  /** Last call of `whyClosed`, in ms of `performance.now`, and its result. */
  #explainedAt = Number.NEGATIVE_INFINITY;
  #explanation: Promise<string | null> = Promise.resolve(null);
  /** Consecutive connections that were dropped soon after they opened. */
  #drops = 0;
  #openedAt = 0;
  #stopped = false;
  #again: Timer | null = null;

  constructor(address: RedisAddress, options: ConnectionOptions, owner: RedisConnectionOwner, log: Log) {
    this.#address = address;
    this.#anyRole = options.anyRole ?? false;
    this.#owner = owner;
    this.#log = log;
    this.#nodes = address.kind === "cluster" ? [...address.hosts] : [];
    // Connections start at different nodes.
    this.#node = this.#nodes.length === 0 ? 0 : Math.floor(Math.random() * this.#nodes.length);
    this.#redis = new Redis({
      ...address.options,
      ...this.#nodes[this.#node],
      lazyConnect: true,
      connectionName: options.name,
      ...(options.protocol === undefined ? {} : { protocol: options.protocol }),
      // CLIENT SETINFO is informational, and an ACL would have to allow it.
      disableClientInfo: true,
      // Nothing is queued while disconnected, and nothing is sent twice.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      commandTimeout: REPLY_TIMEOUT_MS,
      connectTimeout: REPLY_TIMEOUT_MS,
      disconnectTimeout: CLOSE_TIMEOUT_MS,
      // It sends INFO, which ACLs often forbid; with Sentinel, ioredis needs it to check the role.
      enableReadyCheck: address.kind === "sentinel",
      retryStrategy: (attempt) => {
        this.#nextNode();
        // ioredis restarts its count with each connection, usable or not.
        return pauseBefore(Math.max(attempt, this.#drops));
      },
      sentinelRetryStrategy: pauseBefore,
      sentinelCommandTimeout: REPLY_TIMEOUT_MS,
    });
    this.#redis.on("connecting", () => {
      this.#reason = null;
      this.#earlyError = null;
      this.#unexplained = true;
    });
    this.#redis.on("connect", () => this.#watchEarlyErrors());
    this.#redis.on("ready", () => void this.#ready());
    this.#redis.on("error", (error: unknown) => {
      // The first error of an attempt is its cause: after a refusal the connection ends.
      const first = this.#reason === null;
      this.#reason ??= this.#describe(error);
      if (first) this.#unexplained = this.#earlyError === null && this.#isUnexplained(error);
      if (!this.#open && !this.#unexplained) this.#lost(this.#reason);
    });
    this.#redis.on("close", () => this.#closed());
    this.#redis.on("end", () => this.#ended());
  }

  /** Whether the owner was last notified by `opened`. */
  get open(): boolean {
    return this.#open;
  }

  /** The address of the current or last attempt, for logs. */
  get where(): string {
    const node = this.#nodes[this.#node];
    return node === undefined ? this.#address.shown : showHost(node);
  }

  /** The IP address and port connected to: `127.0.0.1:6379`; `null` for a Unix socket, or while not connected. */
  get remote(): string | null {
    const { remoteAddress: host, remotePort: port } = this.#redis.stream ?? {};
    if (host === undefined || port === undefined) return null;
    return showHost({ host: host.replace(/^::ffff:(?=\d+\.)/i, ""), port });
  }

  /** Bytes received on this connection. */
  get received(): number {
    return this.#redis.stream?.bytesRead ?? 0;
  }

  start(): void {
    this.#redis.connect().catch(() => {});
  }

  /** Ends an open but unusable connection; calls `lost` immediately, then reconnects. */
  drop(reason: string): void {
    if (this.#stopped) return;
    this.#drops = performance.now() - this.#openedAt > STEADY_MS ? 1 : this.#drops + 1;
    this.#reason = reason;
    this.#unexplained = false;
    this.#lost(reason);
    this.#redis.disconnect(true);
  }

  /** Flushes and closes. The owner is not called afterwards. */
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
      // A stream that was never connected may emit no `close`.
      setTimeout(() => closed.resolve(), CLOSE_TIMEOUT_MS * 2).unref();
    }
    this.#redis.disconnect();
    await closed.promise;
  }

  /** Sets the nodes that the cluster lists. A connection to a node that is no longer listed is dropped. */
  learn(nodes: readonly HostPort[]): void {
    if (nodes.length === 0) return;
    const current = this.#nodes[this.#node];
    const listed = new Set(nodes.map(showHost));
    const { hosts } = this.#address;
    const all = [...hosts, ...nodes.filter((node) => !hosts.some((host) => isSame(host, node)))];
    const gone =
      current !== undefined && this.#learned.has(showHost(current)) && !listed.has(showHost(current));
    this.#learned = listed;
    this.#nodes = gone ? all.filter((node) => !isSame(node, current)) : all;
    if (current !== undefined) {
      const at = this.#nodes.findIndex((node) => isSame(node, current));
      // A current node that is not listed keeps its position until the next attempt.
      if (at >= 0) this.#node = at;
      else this.#node = Math.min(this.#node, this.#nodes.length - 1);
    }
    if (gone && this.#open) {
      Object.assign(this.#redis.options, this.#nodes[this.#node]);
      this.drop("the node left the cluster");
    }
  }

  /**
   * Redis sends some errors before any command, and closes: `max number of clients reached`, `DENIED` in protected mode.
   * ioredis takes them for replies to commands whose errors it ignores.
   */
  #watchEarlyErrors(): void {
    const { stream } = this.#redis;
    const listen = (chunk: Buffer): void => {
      if (this.#open || stream !== this.#redis.stream) stream.off("data", listen);
      // A TLS server replies to plain text with an alert.
      else if (chunk[0] === TLS_ALERT) this.#earlyError = TLS_THERE;
      else this.#earlyError = errorIn(chunk.toString("utf8")) ?? this.#earlyError;
      // ioredis would print it as a refused password: it gets an empty reply instead.
      if (this.#earlyError !== null && UNPROMPTED.test(this.#earlyError)) {
        chunk.fill(" ").write("+");
        chunk.write("\r\n", chunk.length - 2);
      }
    };
    stream?.prependListener("data", listen);
  }

  #closed(): void {
    const reason = this.#reason ?? this.#earlyError ?? CLOSED;
    const hosts =
      this.#nodes[this.#node] ?? (this.#address.kind === "single" ? this.#address.hosts[0] : undefined);
    const { path, tls } = this.#address.options;
    const place = path === undefined || path === null ? hosts : { path };
    if (
      this.#open ||
      this.#stopped ||
      !this.#unexplained ||
      this.#earlyError !== null ||
      place === undefined
    ) {
      this.#lost(reason);
      return;
    }
    if (performance.now() - this.#explainedAt > EXPLAIN_EVERY_MS) {
      this.#explainedAt = performance.now();
      this.#explanation = whyClosed(place, tls !== undefined);
    }
    void this.#explanation.then((words) => {
      if (!this.#open) this.#lost(words === null ? reason : this.#withoutSecrets(words));
    });
  }

  /** Whether an error says only that an accepted connection was closed. */
  #isUnexplained(error: unknown): boolean {
    if (!(error instanceof Error)) return false;
    const code = "code" in error ? String(error.code) : "";
    if (this.#address.options.tls !== undefined && (code === "ETIMEDOUT" || code.startsWith("ERR_SSL")))
      return true;
    return code === "ECONNRESET" || code === "EPIPE";
  }

  /** Sends the commands that are needed before the owner takes over the stream. */
  async #ready(): Promise<void> {
    const { stream } = this.#redis;
    const isCurrent = (): boolean =>
      !this.#stopped && this.#redis.status === "ready" && this.#redis.stream === stream;
    const [why] = await Promise.all([
      this.#address.kind === "cluster" ? this.#learnNodes() : this.#anyRole ? null : this.#askRole(isCurrent),
      this.#owner.prepare?.(this.#redis),
    ]);
    if (!isCurrent()) return;
    if (typeof why === "string") {
      this.drop(why);
      return;
    }
    this.#open = true;
    this.#openedAt = performance.now();
    this.#earlyError = null;
    this.#owner.opened(this.#redis);
  }

  async #askRole(isCurrent: () => boolean): Promise<string | null> {
    try {
      return whyNoMaster(await this.#redis.call("ROLE"));
    } catch (error) {
      const reason = this.#describe(error);
      if (!isUnasked(reason)) return reason;
      if (isCurrent()) this.#owner.roleUnknown?.(reason);
      return null;
    }
  }

  #lost(reason: string): void {
    if (this.#stopped) return;
    this.#open = false;
    this.#log.debug("no connection to Redis", { where: this.where, reason });
    this.#owner.lost(reason);
  }

  /** ioredis gives up in some cases (no Sentinel answers, an invalid address); this retries. */
  #ended(): void {
    if (this.#stopped) return;
    this.#lost(this.#reason ?? this.#earlyError ?? CLOSED);
    if (this.#again !== null) clearTimeout(this.#again);
    this.#again = setTimeout(() => this.start(), pauseBefore(10));
  }

  /** Selects the next node. The connector reads host and port from these options at each attempt. */
  #nextNode(): void {
    if (this.#nodes.length < 2) return;
    this.#node = (this.#node + 1) % this.#nodes.length;
    Object.assign(this.#redis.options, this.#nodes[this.#node]);
  }

  /** Reads the nodes of the cluster, so that nodes that are not configured are tried too. */
  async #learnNodes(): Promise<string | null> {
    let slots: unknown;
    try {
      slots = await this.#redis.cluster("SLOTS");
    } catch {
      // Not permitted: only the configured nodes are known.
      return null;
    }
    const nodes = readSlots(slots);
    this.learn(nodes);
    return nodes.length === 0 ? NO_CLUSTER : null;
  }

  #describe(error: unknown): string {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const words = typeof code === "string" ? NETWORK_REASONS.get(code) : undefined;
    // An error from Redis explains why it closed.
    if (words !== undefined) return this.#earlyError ?? words;
    return this.#withoutSecrets(error instanceof Error ? error.message : String(error));
  }

  #withoutSecrets(text: string): string {
    const { password } = this.#address;
    const { sentinelPassword } = this.#address.options;
    let shown = text;
    for (const secret of [password, sentinelPassword]) {
      if (typeof secret === "string" && secret !== "") shown = shown.replaceAll(secret, "***");
    }
    if (shown.length > MAX_SHOWN) shown = `${shown.slice(0, MAX_SHOWN)}...`;
    return shown.replace(/(?<!\.\.)\.?\s*$/, "");
  }
}

function isSame(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port;
}

/** The reason for which a node without slots is not used. */
export const NO_CLUSTER = "the node is not part of a cluster: it lists no slots";

/** The first byte of a TLS alert. */
const TLS_ALERT = 0x15;
/** Errors that Redis sends before any command, before it closes. */
const UNPROMPTED = /^(DENIED|ERR max number of clients)/;
/** Longest reason, in characters: the protected mode sends a long text. */
const MAX_SHOWN = 200;
/** Between two calls of `whyClosed`, in ms. */
const EXPLAIN_EVERY_MS = 5000;
/** A connection that stayed open for this long was usable, in ms. */
const STEADY_MS = 10_000;
