import type { Socket } from "bun";
import { RespReader } from "./resp-reader.ts";
import { bulk, type Protocol, push as pushOf, type Reply } from "./resp-reply.ts";
import { keyOf, type Message, type Subscriber, type Subscriptions } from "./subscriptions.ts";

/** Small pieces are joined up to so many bytes, so that they leave in one write. */
const JOIN = 64 * 1024;
const END_OF_LINE = Buffer.from("\r\n");

/** One client of the embedded bus: what it has subscribed to, and what waits to be sent to it. */
export class RespConnection implements Subscriber {
  readonly id: number;
  readonly reader: RespReader;
  readonly #socket: Socket<RespConnection>;
  readonly #subscriptions: Subscriptions;
  /** Called whenever more waits to be sent. */
  readonly #dirty: (connection: RespConnection) => void;
  protocol: Protocol = 2;
  name = "";
  authenticated: boolean;
  /** Nothing more is read from it; it ends when what waits has left. */
  closing = false;
  readonly channels = new Map<string, Buffer>();
  readonly patterns = new Map<string, Buffer>();

  #out: Buffer[] = [];
  #waiting = 0;
  #blocked = false;

  constructor(options: {
    readonly id: number;
    readonly socket: Socket<RespConnection>;
    readonly maxBulk: number;
    readonly authenticated: boolean;
    readonly subscriptions: Subscriptions;
    readonly dirty: (connection: RespConnection) => void;
  }) {
    this.id = options.id;
    this.reader = new RespReader({ maxBulk: options.maxBulk });
    this.#socket = options.socket;
    this.#subscriptions = options.subscriptions;
    this.#dirty = options.dirty;
    this.authenticated = options.authenticated;
  }

  /** Bytes that it has not taken yet. */
  get waiting(): number {
    return this.#waiting;
  }

  get subscribed(): number {
    return this.channels.size + this.patterns.size;
  }

  send(reply: Reply): void {
    this.#queue(Buffer.from(reply, "latin1"));
  }

  hear(message: Message, pattern: Buffer | null): void {
    const key = pattern === null ? `${this.protocol}` : `${this.protocol} ${keyOf(pattern)}`;
    let frame = message.frames.get(key);
    if (frame === undefined) {
      frame = encode(this.protocol, message, pattern);
      message.frames.set(key, frame);
    }
    this.#queue(frame);
  }

  /** Gives the new number of subscriptions. */
  subscribe(name: Buffer, isPattern: boolean): number {
    const own = isPattern ? this.patterns : this.channels;
    if (this.#subscriptions.add(this, name, isPattern)) own.set(keyOf(name), Buffer.from(name));
    return this.subscribed;
  }

  unsubscribe(name: Buffer, isPattern: boolean): number {
    const own = isPattern ? this.patterns : this.channels;
    if (own.delete(keyOf(name))) this.#subscriptions.remove(this, name, isPattern);
    return this.subscribed;
  }

  unsubscribeAll(): void {
    for (const name of this.channels.values()) this.#subscriptions.remove(this, name, false);
    for (const name of this.patterns.values()) this.#subscriptions.remove(this, name, true);
    this.channels.clear();
    this.patterns.clear();
  }

  /** Writes what the socket takes; the rest waits for `drained`. */
  flush(): void {
    while (!this.#blocked && this.#out.length > 0) {
      const piece = this.#next();
      const written = Math.max(0, this.#socket.write(piece));
      this.#waiting -= written;
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

  /** Cuts it off, with all that waits for it. */
  terminate(): void {
    this.forget();
    this.#socket.terminate();
  }

  /** Lets go of everything that it holds: the socket is gone. */
  forget(): void {
    this.closing = true;
    this.unsubscribeAll();
    this.#out = [];
    this.#waiting = 0;
  }

  #queue(piece: Buffer): void {
    this.#dirty(this);
    this.#out.push(piece);
    this.#waiting += piece.length;
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

function encode(protocol: Protocol, { name, payload }: Message, pattern: Buffer | null): Buffer {
  const channel = bulk(keyOf(name));
  const last = bulk("");
  const head =
    pattern === null
      ? pushOf(protocol, [bulk("message"), channel, last])
      : pushOf(protocol, [bulk("pmessage"), bulk(keyOf(pattern)), channel, last]);
  const before = Buffer.from(`${head.slice(0, -last.length)}$${payload.length}\r\n`, "latin1");
  return Buffer.concat([before, payload, END_OF_LINE]);
}
