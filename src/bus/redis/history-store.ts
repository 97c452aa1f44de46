import { createHash } from "node:crypto";
import type { Cluster, Redis } from "ioredis";
import type { Log } from "../../log.ts";
import { printHub } from "../topics.ts";
import { APPEND, LOAD } from "./history-scripts.ts";
import { parseRedisAddress, type SentinelCredentials } from "./redis-address.ts";
import { createCommandClient, REPLY_TIMEOUT_MS } from "./redis-commands.ts";
import { pauseBefore } from "./redis-connection.ts";

/** Bytes of one reply with entries; one entry may exceed it. */
const PAGE_BYTES = 1024 * 1024;

/** The key of the covered range, without the prefix. */
const RANGE = printHub("history");

/** Characters of a channel name that are percent-encoded in keys. */
const SPECIAL = /[%{}]/;
const EACH_SPECIAL = /[%{}]/g;

/** What Redis has of a channel, as ids: `start` to `end` is covered. Empty: there is none. */
export interface StoredChannel {
  readonly start: string;
  readonly end: string;
  /** Why messages before `start` are not covered: `gap`, or `age`. */
  readonly why: string;
  /** `<marker> <n> <flag>;`... */
  readonly marks: string;
  /** The newest message of all, and the newest that was trimmed. */
  readonly last: string;
  readonly floor: string;
  /** Whether the stream is as it was written. */
  readonly intact: boolean;
  /** The newest first. */
  readonly entries: readonly StoredEntry[];
}

export interface StoredEntry {
  readonly id: string;
  readonly event: string;
  readonly at: number;
  readonly payload: Buffer;
}

/** The reply to an append: whether it was applied, the end of the covered range, and the number of new messages. */
export interface Appended {
  readonly applied: boolean;
  readonly end: string;
  readonly added: number;
}

export interface HistoryStoreOptions {
  readonly url: string;
  readonly sentinel?: SentinelCredentials;
  /** Added before each key in Redis. Default: none. */
  readonly prefix?: string;
  readonly log: Log;
}

/** The commands on the keys of the history in Redis, on a connection of its own. Methods reject while it is not connected. */
export class HistoryStore {
  readonly #redis: Redis | Cluster;
  readonly #prefix: string;
  readonly #log: Log;
  readonly #shown: string;
  /** In ms of `performance.now`. */
  #closedAt = performance.now();
  #wasOpen = false;
  #checkedPolicy = false;
  #stopped = false;

  /** @throws BusError if the address is invalid. */
  constructor({ url, sentinel, prefix = "", log }: HistoryStoreOptions) {
    const address = parseRedisAddress(url, sentinel);
    this.#prefix = prefix;
    this.#log = log;
    this.#shown = address.shown;
    this.#redis = createCommandClient(address, "channel-history");
  }

  get where(): string {
    return this.#shown;
  }

  get connected(): boolean {
    return this.#redis.status === "ready";
  }

  /** Whether it is connected, or may be so in a moment. */
  get expected(): boolean {
    return this.connected || performance.now() - this.#closedAt < REPLY_TIMEOUT_MS;
  }

  /** Connects, and retries until `stop`. @param opened called at each connection */
  start(opened: () => void): void {
    this.#redis.on("ready", () => {
      this.#wasOpen = true;
      void this.#checkPolicy();
      opened();
    });
    this.#redis.on("close", () => {
      if (this.#wasOpen) this.#closedAt = performance.now();
      this.#wasOpen = false;
    });
    // The bus logs connection errors.
    this.#redis.on("error", () => {});
    this.#redis.on("end", () => {
      if (this.#stopped) return;
      // ioredis gives up in some cases.
      setTimeout(() => this.#connect(), pauseBefore(10)).unref();
    });
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.#redis.disconnect();
  }

  /** Ends a connection on which a reply is overdue. */
  drop(): void {
    if (!this.#stopped) this.#redis.disconnect(true);
  }

  /** What the keys of a channel begin with. */
  keyOf(channel: string): string {
    const tag = SPECIAL.test(channel) ? channel.replaceAll(EACH_SPECIAL, encodeURIComponent) : channel;
    return `${this.#prefix}${printHub(`{${tag}}`)}`;
  }

  /** The end of the covered range; empty without one. */
  async end(): Promise<string> {
    return (await this.#redis.hget(this.#prefix + RANGE, "end")) ?? "";
  }

  /** @param payloads of all messages of the header, joined */
  async append(header: string, payloads: Buffer): Promise<Appended> {
    const reply = await this.#run(APPEND_SCRIPT, [this.#prefix + RANGE], [header, payloads]);
    const [applied, end, added] = Array.isArray(reply) ? reply : [];
    return { applied: applied === 1, end: textOf(end), added: typeof added === "number" ? added : 0 };
  }

  /** @param upTo the id of the newest entry to read, or `+` */
  async load(channel: string, upTo: string, withMarks: boolean): Promise<StoredChannel> {
    const key = this.keyOf(channel);
    const keys = [this.#prefix + RANGE, `${key}:i`, `${key}:h`];
    const reply = await this.#run(LOAD_SCRIPT, keys, [upTo, String(PAGE_BYTES), withMarks ? "1" : "0"]);
    const parts: readonly unknown[] = Array.isArray(reply) ? reply : [];
    const [start = "", end = "", why = "", marks = "", last = "", floor = ""] = parts.slice(0, 6).map(textOf);
    const [intact, entries] = parts.slice(6);
    return { start, end, why, marks, last, floor, intact: intact === 1, entries: readEntries(entries) };
  }

  #connect(): void {
    if (!this.#stopped) this.#redis.connect().catch(() => {});
  }

  async #run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    try {
      return await this.#redis.callBuffer("EVALSHA", script.sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return await this.#redis.callBuffer("EVAL", script.body, keys.length, ...keys, ...args);
    }
  }

  /** Warns of a Redis that may remove keys by itself. */
  async #checkPolicy(): Promise<void> {
    if (this.#checkedPolicy) return;
    this.#checkedPolicy = true;
    const info = await this.#redis.info("memory").catch(() => "");
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    const fields = { where: this.#shown, maxmemory_policy: policy ?? "unknown" };
    if (policy === undefined) this.#log.debug("Redis does not show its memory policy", fields);
    else if (policy !== "noeviction") {
      this.#log.warn("Redis may remove kept messages: set maxmemory-policy to noeviction", fields);
    }
  }
}

interface Script {
  readonly body: string;
  readonly sha: string;
}

function scriptOf(body: string): Script {
  return { body, sha: createHash("sha1").update(body).digest("hex") };
}

const APPEND_SCRIPT = scriptOf(APPEND);
const LOAD_SCRIPT = scriptOf(LOAD);

function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString("utf8") : "";
}

/** Entries of XREVRANGE: `[id, ["e", event, "a", at, "d", payload]]`. */
function readEntries(value: unknown): StoredEntry[] {
  const entries: StoredEntry[] = [];
  for (const entry of Array.isArray(value) ? value : []) {
    const [id, fields]: readonly unknown[] = Array.isArray(entry) ? entry : [];
    const [, event, , at, , payload]: readonly unknown[] = Array.isArray(fields) ? fields : [];
    if (!Buffer.isBuffer(id) || !Buffer.isBuffer(payload)) continue;
    // Copied: the reply is one large buffer.
    entries.push({
      id: textOf(id),
      event: textOf(event),
      at: Number(textOf(at)),
      payload: Buffer.from(payload),
    });
  }
  return entries;
}
