import { Redis } from "ioredis";
import type { Log } from "../../log.ts";
import { type HostPort, type RedisAddress, showHost } from "./redis-address.ts";
import { errorIn, SPEAKS_TLS, whyClosed } from "./redis-errors.ts";
import { isUnasked, whyNoMaster } from "./redis-role.ts";
import { readSlots } from "./redis-slots.ts";

/** Told what becomes of a connection. */
export interface RedisConnectionOwner {
  /** Connected, signed in, and at a master (in a cluster: at any node). Called again after each loss. */
  opened(redis: Redis): void;
  /** Before `opened`: for questions that ioredis reads the answers to. It must not reject. */
  prepare?(redis: Redis): Promise<void>;
  /** Redis does not tell its role, with its reason: it is taken for a master. */
  roleUnknown?(reason: string): void;
  /** Not connected, with the reason in a few words; called for each failed try too. */
  lost(reason: string): void;
}

export interface LinkOptions {
  /** What `CLIENT LIST` shows of the connection. */
  readonly name: string;
  /** RESP2 knows what a subscriber may not do: the answer says whether it might otherwise. Default: 3, if Redis has it. */
  readonly protocol?: 2 | 3;
  /** Whether any server will do, a replica too: for those who listen only. */
  readonly anyRole?: boolean;
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
export class RedisConnection {
  readonly #address: RedisAddress;
  readonly #owner: RedisConnectionOwner;
  readonly #log: Log;
  readonly #redis: Redis;
  readonly #anyRole: boolean;
  /** Of a cluster: nodes to try in turn, named by the operator or learned. */
  #nodes: HostPort[];
  /** Nodes that were learned last, as `showHost` prints them. */
  #learned: ReadonlySet<string> = new Set();
  #node = 0;
  /** What Redis said before the connection was ready: an error that it ends with. */
  #said: string | null = null;
  #open = false;
  #reason: string | null = null;
  /** Whether `#reason` says no more than that the connection ended. */
  #unexplained = true;
  /** When it was last asked why, in ms of `performance.now`, and what came of it. */
  #explainedAt = Number.NEGATIVE_INFINITY;
  #explanation: Promise<string | null> = Promise.resolve(null);
  /** Connections in a row that were given up soon after they had opened. */
  #drops = 0;
  #openedAt = 0;
  #stopped = false;
  #again: Timer | null = null;

  constructor(address: RedisAddress, options: LinkOptions, owner: RedisConnectionOwner, log: Log) {
    this.#address = address;
    this.#anyRole = options.anyRole ?? false;
    this.#owner = owner;
    this.#log = log;
    this.#nodes = address.kind === "cluster" ? [...address.hosts] : [];
    // Two links to one cluster should not both hang on its first node.
    this.#node = this.#nodes.length === 0 ? 0 : Math.floor(Math.random() * this.#nodes.length);
    this.#redis = new Redis({
      ...address.options,
      ...this.#nodes[this.#node],
      lazyConnect: true,
      connectionName: options.name,
      ...(options.protocol === undefined ? {} : { protocol: options.protocol }),
      // Only for people who look at CLIENT LIST, and an ACL would have to allow it.
      disableClientInfo: true,
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
        // ioredis begins to count anew with each connection, of use or not.
        return pauseBefore(Math.max(attempt, this.#drops));
      },
      sentinelRetryStrategy: pauseBefore,
      sentinelCommandTimeout: ANSWER_MS,
    });
    this.#redis.on("connecting", () => {
      this.#reason = null;
      this.#said = null;
      this.#unexplained = true;
    });
    this.#redis.on("connect", () => this.#listenForWords());
    this.#redis.on("ready", () => void this.#ready());
    this.#redis.on("error", (error: unknown) => {
      // The first error of a try is its cause: a refusal is followed by the end of the connection.
      const first = this.#reason === null;
      this.#reason ??= this.#describe(error);
      if (first) this.#unexplained = this.#said === null && this.#isUnexplained(error);
      if (!this.#open && !this.#unexplained) this.#lost(this.#reason);
    });
    this.#redis.on("close", () => this.#closed());
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

  /** The server that it is connected to, by number: `127.0.0.1:6379`; `null` by a socket file, or while not connected. */
  get remote(): string | null {
    const { remoteAddress: host, remotePort: port } = this.#redis.stream ?? {};
    if (host === undefined || port === undefined) return null;
    return showHost({ host: host.replace(/^::ffff:(?=\d+\.)/i, ""), port });
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
    this.#drops = performance.now() - this.#openedAt > STEADY_MS ? 1 : this.#drops + 1;
    this.#reason = reason;
    this.#unexplained = false;
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

  /** Nodes of the cluster as one of them lists them now. A node that was listed and is no more is left. */
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
      // One that is gone, or that was never listed, stays where it is until the next try.
      if (at >= 0) this.#node = at;
      else this.#node = Math.min(this.#node, this.#nodes.length - 1);
    }
    if (gone && this.#open) {
      Object.assign(this.#redis.options, this.#nodes[this.#node]);
      this.drop("the node left the cluster");
    }
  }

  /**
   * Redis says some things before it is asked, and closes: `max number of clients reached`, `DENIED` of the protected mode.
   * ioredis takes them for answers to commands whose errors it ignores.
   */
  #listenForWords(): void {
    const { stream } = this.#redis;
    const listen = (chunk: Buffer): void => {
      if (this.#open || stream !== this.#redis.stream) stream.off("data", listen);
      // A server with TLS answers what is none with an alert.
      else if (chunk[0] === TLS_ALERT) this.#said = SPEAKS_TLS;
      else this.#said = errorIn(chunk.toString("utf8")) ?? this.#said;
      // ioredis would take it for a refusal of its password, and print that: it gets an answer without meaning instead.
      if (this.#said !== null && UNASKED.test(this.#said)) {
        chunk.fill(" ").write("+");
        chunk.write("\r\n", chunk.length - 2);
      }
    };
    stream?.prependListener("data", listen);
  }

  #closed(): void {
    const reason = this.#reason ?? this.#said ?? CLOSED;
    const hosts =
      this.#nodes[this.#node] ?? (this.#address.kind === "single" ? this.#address.hosts[0] : undefined);
    const { path, tls } = this.#address.options;
    const place = path === undefined || path === null ? hosts : { path };
    if (this.#open || this.#stopped || !this.#unexplained || this.#said !== null || place === undefined) {
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

  /** Whether an error says no more than that a connection which was accepted came to nothing. */
  #isUnexplained(error: unknown): boolean {
    if (!(error instanceof Error)) return false;
    const code = "code" in error ? String(error.code) : "";
    if (this.#address.options.tls !== undefined && (code === "ETIMEDOUT" || code.startsWith("ERR_SSL")))
      return true;
    return code === "ECONNRESET" || code === "EPIPE";
  }

  /** Asks what has to be asked before the owner may read the answers itself. */
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
    this.#said = null;
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

  /** ioredis gives up where it could not even begin (Sentinels that fell silent, an address that is none). We don't. */
  #ended(): void {
    if (this.#stopped) return;
    this.#lost(this.#reason ?? this.#said ?? CLOSED);
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
  async #learnNodes(): Promise<string | null> {
    let slots: unknown;
    try {
      slots = await this.#redis.cluster("SLOTS");
    } catch {
      // Not permitted, or no cluster: then those that were named are all.
      return null;
    }
    const nodes = readSlots(slots);
    this.learn(nodes);
    return nodes.length === 0 ? NO_CLUSTER : null;
  }

  #describe(error: unknown): string {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const words = typeof code === "string" ? REASONS.get(code) : undefined;
    // What Redis said explains why it closed.
    if (words !== undefined) return this.#said ?? words;
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

/** Why a node that lists no slots is no bus. */
export const NO_CLUSTER = "the node belongs to no cluster: it lists no slots";

const CLOSED = "the connection was closed";
/** The first byte of a TLS alert. */
const TLS_ALERT = 0x15;
/** What Redis says unasked, before it closes. */
const UNASKED = /^(DENIED|ERR max number of clients)/;
/** Characters of what Redis says that are shown: the protected mode explains itself at length. */
const MAX_SHOWN = 200;
/** Between two questions why connections are closed, in ms. */
const EXPLAIN_EVERY_MS = 5000;
/** A connection that has lived so long was of use, in ms. */
const STEADY_MS = 10_000;

const REASONS: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["EPIPE", CLOSED],
  ["ENOTFOUND", "unknown host"],
  ["EAI_AGAIN", "the host name could not be looked up"],
  ["ETIMEDOUT", "no answer"],
  ["EHOSTUNREACH", "host unreachable"],
  ["ENETUNREACH", "network unreachable"],
  ["ENOENT", "no such socket"],
  ["EACCES", "permission denied"],
]);
