import type { Greeting, SubscribedFamily } from "../bus.ts";
import { bulk, type Protocol, push, request } from "../resp.ts";
import { printFrom } from "../topics.ts";
import { RedisHandshake, type Refusable } from "./redis-handshake.ts";
import { NOT_REDIS, readReply, valueEnd } from "./redis-reply.ts";

/** Receives what arrives on a subscribing connection. */
export interface SubscriberOwner {
  /** The subscription is confirmed. */
  subscribed(): void;
  /** Whether clients' messages may be published: `null`, or the error of Redis. Called after `subscribed`. */
  permitted(refusal: string | null): void;
  /** Redis refused a part that the subscription can do without. */
  refused(what: Refusable, reason: string): void;
  /** Whether `release` would be permitted, after `askRelease`. */
  releasable(isPermitted: boolean): void;
  /** A message, as for `BusListener.message`. */
  message(name: Buffer, payload: Buffer, room: number): void;
  /** The connection is unusable: Redis refused a command, or sent what is not its protocol. */
  failed(reason: string): void;
}

export interface SubscriberOptions {
  readonly families: readonly SubscribedFamily[];
  /** Added before each name in Redis. */
  readonly prefix: string;
  /** Bytes. Of a longer payload, this many and one more are delivered, so that the receiver sees that it is too long. */
  readonly maxPayload: number;
  /** As `BusListener.greeting`. Default: nothing is published. */
  readonly greeting?: (brokerTime: number, node: string) => Greeting | null;
  /** Whether the server is known to be a node of a cluster. Default: as the server says. */
  readonly clustered?: boolean;
}

/** The part of a socket that is used. */
export interface SubscribingStream {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  removeAllListeners(event: "data"): unknown;
  write(data: string | Uint8Array): unknown;
}

const PING = request("PING");

/** The start of a message of one pattern, as a push (RESP3) and as an array (RESP2); name and payload follow. */
interface MessageHead {
  readonly push: Buffer;
  readonly array: Buffer;
}

/** How the reply to PUNSUBSCRIBE begins, after the sign of an array or of a push. */
const UNSUBSCRIBED = "3\r\n$12\r\npunsubscribe\r\n";

/** Bytes by which a partial value of unknown length grows. */
const STEP = 1024;

/** Longest name that is buffered, in bytes, unless `maxPayload` is larger. A longer one ends the connection. */
const MAX_NAME = 1024 * 1024;

/** Bytes of a reply that are inspected and logged. */
const MAX_SHOWN = 200;

const GREATER = 62;
const STAR = 42;
const CR = 13;
const ZERO = 48;

/** Chunks of at least this many bytes are freed immediately. */
const LARGE = 16 * 1024;

/**
 * Reads a subscribing connection that ioredis opened. It parses by itself, so that a payload of 200 KB is not copied
 * twice: a message that arrived in one piece is delivered in place, one in several pieces is joined once, in reused memory.
 */
export class RedisSubscriber {
  readonly #owner: SubscriberOwner;
  readonly #maxPayload: number;
  readonly #prefixBytes: number;
  readonly #heads: readonly MessageHead[];
  readonly #options: SubscriberOptions;
  /**
   * Publishes nothing: RESP2 does not allow PUBLISH on a subscribed connection. Redis checks the ACL first, so the error
   * is `NOPERM`, or `ERR Can't execute` if publishing is permitted.
   */
  readonly #mayPublish: string;
  #stream: SubscribingStream | null = null;
  /** `null` once the subscription is complete. */
  #handshake: RedisHandshake | null = null;
  /** A partial value: `#joined` of its `#length` bytes; `#length` is 0 while unknown. */
  #joint = Buffer.allocUnsafe(64 * 1024);
  #joined = 0;
  #length = 0;
  /** Bytes to skip: the rest of a payload over the limit. */
  #skip = 0;
  #subscribed = false;
  #resp2 = true;
  // Offsets of the message that `#find` found last.
  #nameAt = 0;
  #nameEnd = 0;
  #payloadAt = 0;
  #payloadEnd = 0;
  /** Bytes after it to skip. */
  #over = 0;
  /** Offset after the number that `#number` read last and its line end. */
  #after = 0;

  constructor(owner: SubscriberOwner, options: SubscriberOptions) {
    const { families, prefix, maxPayload } = options;
    this.#owner = owner;
    this.#options = options;
    this.#maxPayload = maxPayload;
    this.#prefixBytes = prefix.length;
    const patterns = families.map((family) => `${prefix}${family}:*`);
    const head = (protocol: Protocol, pattern: string): Buffer => {
      const empty = bulk("");
      const whole = push(protocol, [bulk("pmessage"), bulk(pattern), empty, empty]);
      return Buffer.from(`${whole.slice(0, -2 * empty.length)}$`);
    };
    this.#heads = patterns.map((pattern) => ({ push: head(3, pattern), array: head(2, pattern) }));
    this.#mayPublish = request("PUBLISH", prefix + printFrom("phoenix", "heartbeat"), "{}");
  }

  /** Takes over a connection with no command of ioredis in flight, and subscribes. */
  take(stream: SubscribingStream): void {
    this.close();
    // ioredis' own reader would parse the same bytes.
    stream.removeAllListeners("data");
    stream.on("data", (chunk: Buffer) => {
      if (stream === this.#stream) this.read(chunk);
      release(chunk);
    });
    this.#stream = stream;
    this.#handshake = this.#handshakeOn(stream);
    this.#handshake.start();
  }

  #handshakeOn(stream: SubscribingStream): RedisHandshake {
    const { families, prefix, greeting = null, clustered = false } = this.#options;
    return new RedisHandshake(
      {
        write: (data) => stream.write(data),
        greeting: families.includes("hub") ? greeting : null,
        confirmed: () => {
          this.#subscribed = true;
          this.#owner.subscribed();
        },
        finished: (resp2) => {
          this.#handshake = null;
          this.#resp2 = resp2;
          this.askPermission();
        },
        refused: (what, reason) => this.#owner.refused(what, reason),
        failed: (reason) => this.#owner.failed(reason),
      },
      { families, prefix, clustered, address: `${stream.remoteAddress}:${stream.remotePort}` },
    );
  }

  /** Sends PING. Any byte received shows that the connection lives. */
  ping(): void {
    if (this.#handshake === null) this.#stream?.write(PING);
  }

  /** Asks whether clients' messages may be published. Only while subscribed: otherwise PUBLISH would take effect. */
  askPermission(): void {
    if (!this.#subscribed || this.#handshake !== null) return;
    if (this.#resp2) this.#stream?.write(this.#mayPublish);
    else this.#owner.permitted(null);
  }

  /** Asks whether `release` is permitted, by ending a subscription that does not exist. */
  askRelease(): void {
    if (this.#handshake === null)
      this.#stream?.write(request("PUNSUBSCRIBE", `${this.#options.prefix}none:*`));
  }

  /** Ends the subscription of one family. Messages that are on their way still arrive. */
  release(family: SubscribedFamily): void {
    this.#stream?.write(request("PUNSUBSCRIBE", `${this.#options.prefix}${family}:*`));
  }

  close(): void {
    this.#stream = null;
    this.#handshake = null;
    this.#subscribed = false;
    this.#joined = 0;
    this.#length = 0;
    this.#skip = 0;
  }

  /** Parses a chunk, cut anywhere. The subscriber owns the chunk. */
  read(chunk: Buffer): void {
    const stream = this.#stream;
    let at = 0;
    while (at < chunk.length && stream === this.#stream) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, chunk.length - at);
        this.#skip -= passed;
        at += passed;
      } else {
        at = this.#joined > 0 ? this.#join(chunk, at) : this.#walk(chunk, at);
      }
    }
  }

  /** Reads the value at `at`, or keeps it while incomplete. Returns the offset after it. */
  #walk(chunk: Buffer, at: number): number {
    const length = this.#find(chunk, at, chunk.length);
    if (length < 0) {
      const end = this.#other(chunk, at, chunk.length);
      if (end > 0) return end;
    } else if (length > 0 && at + length <= chunk.length) {
      this.#deliver(chunk, at);
      return at + length;
    }
    this.#length = Math.max(length, 0);
    this.#append(chunk, at, chunk.length);
    return chunk.length;
  }

  /** Continues a value of an earlier chunk. Returns the offset up to which this chunk was consumed. */
  #join(chunk: Buffer, at: number): number {
    const wanted = this.#length > 0 ? this.#length - this.#joined : STEP;
    const end = Math.min(at + wanted, chunk.length);
    this.#append(chunk, at, end);
    if (this.#length === 0) this.#length = Math.max(0, this.#find(this.#joint, 0, this.#joined));
    if (this.#length === 0) {
      const other = this.#other(this.#joint, 0, this.#joined);
      if (other > 0) return this.#joinedUpTo(other, end);
      if (this.#joined > Math.max(this.#maxPayload, MAX_NAME))
        this.#owner.failed("a channel name is too long");
      return end;
    }
    if (this.#joined < this.#length) return end;
    const length = this.#length;
    this.#find(this.#joint, 0, this.#joined);
    this.#deliver(this.#joint, 0);
    return this.#joinedUpTo(length, end);
  }

  /** `used` joined bytes are consumed. The rest is read again from the chunk, which was appended up to `end`. */
  #joinedUpTo(used: number, end: number): number {
    const rest = this.#joined - used;
    this.#joined = 0;
    this.#length = 0;
    return end - rest;
  }

  #append(chunk: Buffer, from: number, to: number): void {
    const needed = Math.max(this.#length, this.#joined + to - from);
    if (needed > this.#joint.length) {
      const larger = Buffer.allocUnsafe(needed + (needed >> 1));
      this.#joint.copy(larger, 0, 0, this.#joined);
      this.#joint = larger;
    }
    chunk.copy(this.#joint, this.#joined, from, to);
    this.#joined += to - from;
  }

  /** Delivers the message at `at`. All of it may be overwritten, but not what comes before and after it. */
  #deliver(data: Buffer, at: number): void {
    const name = data.subarray(this.#nameAt + this.#prefixBytes, this.#nameEnd);
    const payload = data.subarray(this.#payloadAt, this.#payloadEnd);
    this.#skip = this.#over;
    this.#owner.message(name, payload, this.#over === 0 ? this.#payloadAt - at : 0);
  }

  /**
   * The length of the message at `at`: 0 while unknown, negative if none begins there. For a payload over the limit, the
   * length of the part that is kept; the rest is skipped then.
   */
  #find(data: Buffer, at: number, end: number): number {
    const headEnd = this.#headEnd(data, at, end);
    if (headEnd < 0) return -1;
    const nameSize = this.#number(data, headEnd, end);
    if (nameSize < 0) return 0;
    this.#nameAt = this.#after;
    this.#nameEnd = this.#nameAt + nameSize;
    // After the name: a line end, and the sign before the payload's length.
    const payloadSize = this.#number(data, this.#nameEnd + 3, end);
    if (payloadSize < 0) return 0;
    this.#payloadAt = this.#after;
    const kept = Math.min(payloadSize, this.#maxPayload + 1);
    this.#payloadEnd = this.#payloadAt + kept;
    const whole = kept === payloadSize;
    this.#over = whole ? 0 : payloadSize - kept + 2;
    return this.#payloadEnd + (whole ? 2 : 0) - at;
  }

  /** The offset after the message head at `at`, past `end` if it may still arrive; -1 if there is none. */
  #headEnd(data: Buffer, at: number, end: number): number {
    const isPush = data[at] === GREATER;
    for (const head of this.#heads) {
      const start = isPush ? head.push : head.array;
      const present = Math.min(end - at, start.length);
      if (data.compare(start, 0, present, at, at + present) === 0) return at + start.length;
    }
    return -1;
  }

  /** The whole number at `at`; -1 while its line end is missing. */
  #number(data: Buffer, at: number, end: number): number {
    let value = 0;
    for (let i = at; i + 1 < end; i++) {
      const digit = (data[i] ?? 0) - ZERO;
      if (digit >= 0 && digit <= 9) {
        value = value * 10 + digit;
        continue;
      }
      this.#after = i + 2;
      if (data[i] === CR) return value;
      this.#owner.failed(NOT_REDIS);
      return -1;
    }
    return -1;
  }

  /** Reads a reply that is not a message. Returns the offset after it, 0 while incomplete. */
  #other(data: Buffer, at: number, end: number): number {
    const handshake = this.#handshake;
    if (handshake?.atTransaction === true && data[at] === STAR) {
      const head = data.indexOf("\r\n", at);
      if (head < 0 || head + 2 > end) return 0;
      handshake.transactionBegins();
      return head + 2;
    }
    const after = valueEnd(data, at, end);
    if (after === "malformed") this.#owner.failed(NOT_REDIS);
    if (after === "malformed" || after === null) return 0;
    if (handshake !== null) {
      const read = readReply(data, at);
      if (read === null || read === "malformed") this.#owner.failed(NOT_REDIS);
      else handshake.reply(read.value);
      return after;
    }
    const text = data.toString("latin1", at, Math.min(after, at + MAX_SHOWN));
    if (text.startsWith("-")) this.#error(text.slice(1).trimEnd());
    else if (text.startsWith(":")) this.#owner.permitted(null);
    else if (text.startsWith(UNSUBSCRIBED, 1)) this.#owner.releasable(true);
    return after;
  }

  #error(text: string): void {
    if (text.startsWith("ERR Can't execute")) this.#owner.permitted(null);
    else if (/'punsubscribe'/i.test(text)) this.#owner.releasable(false);
    else if (text.startsWith("NOPERM") && !text.includes("'ping'")) this.#owner.permitted(text);
    else this.#owner.failed(text);
  }
}

/**
 * Frees the memory of a large chunk. The garbage collector would let megabytes of them pile up, and the next chunk would
 * be in memory that is not in the CPU cache.
 */
function release(chunk: Buffer): void {
  const { buffer } = chunk;
  if (chunk.length >= LARGE && chunk.length === buffer.byteLength && buffer instanceof ArrayBuffer) {
    buffer.transfer(0);
  }
}
