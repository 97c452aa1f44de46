import type { Socket } from "bun";
import { array, bulk, bulkHead, nilArray, type Protocol, push as pushOf, type Resp } from "../resp.ts";
import type { Lists, ListWaiter } from "./lists.ts";
import { RespReader } from "./resp-reader.ts";
import {
  costOf,
  keyOf,
  type Message,
  type Subscriber,
  SubscriptionRefusal,
  type Subscriptions,
} from "./subscriptions.ts";

/** Small pieces are joined into writes of up to this many bytes. */
const JOIN = 64 * 1024;
const END_OF_LINE = Buffer.from("\r\n");
/** Payloads of at least this many bytes are copied once for all subscribers, whatever their patterns are. */
const SHARED = 4096;
/** Replies are collected as text up to this many characters. */
const MAX_TEXT = 16 * 1024;
/** Memory of the subscriptions of one connection, in bytes. */
const MAX_SUBSCRIPTION_COST = 4 * 1024 * 1024;

/** Timeout for AUTH, if there is a password, in seconds. */
const AUTH_TIMEOUT_S = 10;

const TOO_MANY = new SubscriptionRefusal("too many subscriptions of this client");

/** Bytes that wait for all connections together. */
export interface Budget {
  waiting: number;
  readonly most: number;
  /** Called when `waiting` exceeds `most`. */
  exceeded(): void;
}

/** The longest time of a timer, in ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** One client of the embedded bus: its subscriptions, and the output that waits for it. */
export class RespConnection implements Subscriber, ListWaiter {
  readonly id: number;
  readonly reader: RespReader;
  readonly #socket: Socket<RespConnection>;
  readonly #subscriptions: Subscriptions;
  readonly #budget: Budget;
  /** Called when output is added. */
  readonly #dirty: (connection: RespConnection) => void;
  readonly #lists: Lists;
  /** Called when its requests are to be handled again. */
  readonly #unblocked: (connection: RespConnection) => void;
  protocol: Protocol = 2;
  name = "";
  /** Input is ignored; the connection ends when the waiting output is sent. */
  closing = false;
  readonly channels = new Map<string, Buffer>();
  readonly patterns = new Map<string, Buffer>();

  /** Replies that are not yet in `#out`: many small ones would each be an object. */
  #text = "";
  #out: Buffer[] = [];
  #waiting = 0;
  #cost = 0;
  #blocked = false;
  /** Whether it waits for an item of a list: its requests are not handled meanwhile. */
  #awaitsItem = false;
  #timer: Timer | null = null;

  constructor(options: {
    readonly id: number;
    readonly socket: Socket<RespConnection>;
    readonly maxBulk: number;
    readonly authenticated: boolean;
    readonly subscriptions: Subscriptions;
    readonly budget: Budget;
    readonly dirty: (connection: RespConnection) => void;
    readonly lists: Lists;
    readonly unblocked: (connection: RespConnection) => void;
  }) {
    this.id = options.id;
    this.reader = new RespReader({ maxBulk: options.maxBulk }, options.authenticated);
    this.#budget = options.budget;
    this.#socket = options.socket;
    this.#subscriptions = options.subscriptions;
    this.#dirty = options.dirty;
    this.#lists = options.lists;
    this.#unblocked = options.unblocked;
    // By default Bun closes a socket after 120 s. A subscriber stays connected for as long as it reads.
    this.#socket.timeout(options.authenticated ? 0 : AUTH_TIMEOUT_S);
  }

  get authenticated(): boolean {
    return this.reader.authenticated;
  }

  set authenticated(value: boolean) {
    this.reader.authenticated = value;
    if (!this.closing) this.#socket.timeout(value ? 0 : AUTH_TIMEOUT_S);
  }

  get awaitsItem(): boolean {
    return this.#awaitsItem;
  }

  /** Waits for an item of one of some lists; 0 ms: without end. Returns false for too many lists. */
  waitForItem(keys: readonly Buffer[], ms: number): boolean {
    if (!this.#lists.wait(this, keys)) return false;
    this.#awaitsItem = true;
    if (ms > 0) this.#timer = setTimeout(() => this.#gaveUp(), Math.min(Math.ceil(ms), MAX_TIMER_MS)).unref();
    return true;
  }

  received(key: Buffer, item: Buffer): void {
    this.#stopWaiting();
    this.send(array([bulk(keyOf(key)), bulk(keyOf(item))]));
    this.#unblocked(this);
  }

  #gaveUp(): void {
    this.#stopWaiting();
    this.send(nilArray(this.protocol));
    this.#unblocked(this);
  }

  #stopWaiting(): void {
    if (!this.#awaitsItem) return;
    this.#awaitsItem = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#lists.stopWaiting(this);
  }

  /** Bytes that the client has not read yet. */
  get waiting(): number {
    return this.#waiting;
  }

  get subscribed(): number {
    return this.channels.size + this.patterns.size;
  }

  send(reply: Resp): void {
    this.#text += reply;
    this.#count(reply.length);
    if (this.#text.length > MAX_TEXT) this.#pushText();
  }

  receive(message: Message, pattern: Buffer | null): void {
    if (this.closing) return;
    const key = pattern === null ? `${this.protocol}` : `${this.protocol} ${keyOf(pattern)}`;
    const whole = message.payload.length < SHARED;
    let frame = message.frames.get(key);
    if (frame === undefined) {
      frame = encode(this.protocol, message, pattern, whole);
      message.frames.set(key, frame);
    }
    this.#queue(frame);
    if (whole) return;
    message.tail ??= Buffer.concat([message.payload, END_OF_LINE]);
    this.#queue(message.tail);
  }

  /** Returns the new number of subscriptions. */
  subscribe(name: Buffer, isPattern: boolean): number | SubscriptionRefusal {
    const own = isPattern ? this.patterns : this.channels;
    const cost = costOf(name, isPattern);
    if (this.#cost + cost > MAX_SUBSCRIPTION_COST && !own.has(keyOf(name))) {
      return TOO_MANY;
    }
    const kept = this.#subscriptions.add(this, name, isPattern);
    if (kept instanceof SubscriptionRefusal) return kept;
    if (kept !== null) {
      own.set(keyOf(kept), kept);
      this.#cost += cost;
    }
    return this.subscribed;
  }

  unsubscribe(name: Buffer, isPattern: boolean): number {
    const own = isPattern ? this.patterns : this.channels;
    if (own.delete(keyOf(name))) {
      this.#subscriptions.remove(this, name, isPattern);
      this.#cost -= costOf(name, isPattern);
    }
    return this.subscribed;
  }

  unsubscribeAll(): void {
    for (const name of this.channels.values()) this.#subscriptions.remove(this, name, false);
    for (const name of this.patterns.values()) this.#subscriptions.remove(this, name, true);
    this.channels.clear();
    this.patterns.clear();
    this.#cost = 0;
  }

  /** Writes as much as the socket accepts; the rest waits for `drained`. */
  flush(): void {
    this.#pushText();
    while (!this.#blocked && this.#out.length > 0) {
      const piece = this.#next();
      const written = Math.max(0, this.#socket.write(piece));
      this.#count(-written);
      if (written < piece.length) {
        this.#out.unshift(piece.subarray(written));
        this.#blocked = true;
      }
    }
    if (this.closing && this.#out.length === 0) this.#socket.end();
  }

  drained(): void {
    this.#blocked = false;
    this.flush();
  }

  /** The timeout of a connection that is closing, or that did not authenticate. */
  timedOut(): void {
    if (this.closing || !this.authenticated) this.terminate();
  }

  /** No further request is handled; the connection ends when its output is sent. */
  close(): void {
    this.closing = true;
    this.#stopWaiting();
    this.unsubscribeAll();
  }

  /** Ends the connection and discards its output. */
  terminate(): void {
    this.forget();
    this.#socket.terminate();
  }

  /** Releases subscriptions and output: the socket is closed. */
  forget(): void {
    this.closing = true;
    this.#stopWaiting();
    this.unsubscribeAll();
    this.#out = [];
    this.#text = "";
    this.#budget.waiting -= this.#waiting;
    this.#waiting = 0;
  }

  #queue(piece: Buffer): void {
    this.#pushText();
    this.#out.push(piece);
    this.#count(piece.length);
  }

  #pushText(): void {
    if (this.#text === "") return;
    this.#out.push(Buffer.from(this.#text, "latin1"));
    this.#text = "";
  }

  #count(bytes: number): void {
    this.#waiting += bytes;
    this.#budget.waiting += bytes;
    if (bytes < 0) return;
    this.#dirty(this);
    if (this.#budget.waiting > this.#budget.most) this.#budget.exceeded();
  }

  /** The next piece to write; small ones are joined. */
  #next(): Buffer {
    let size = this.#out[0]?.length ?? 0;
    let count = 1;
    for (; count < this.#out.length; count++) {
      const { length } = this.#out[count] ?? END_OF_LINE;
      if (size + length > JOIN) break;
      size += length;
    }
    const pieces = this.#out.splice(0, count);
    const [only] = pieces;
    return count === 1 && only !== undefined ? only : Buffer.concat(pieces, size);
  }
}

/** The frame, or, if not `whole`, the part before the payload. */
function encode(
  protocol: Protocol,
  { name, payload }: Message,
  pattern: Buffer | null,
  whole: boolean,
): Buffer {
  const channel = bulk(keyOf(name));
  const payloadHead = bulkHead(payload.length);
  const head =
    pattern === null
      ? pushOf(protocol, [bulk("message"), channel, payloadHead])
      : pushOf(protocol, [bulk("pmessage"), bulk(keyOf(pattern)), channel, payloadHead]);
  const before = Buffer.from(head, "latin1");
  return whole ? Buffer.concat([before, payload, END_OF_LINE]) : before;
}
