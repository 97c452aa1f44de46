import type { Socket } from "node:net";

/** Told what a subscribing connection hears. */
export interface SubscriberOwner {
  /** The subscription is confirmed. */
  subscribed(): void;
  /** Whether clients' messages may be published: `null`, or Redis' own words why not. Told after `subscribed`. */
  permitted(refusal: string | null): void;
  /** A message; what may be done with its memory stands with `BusListener.message`. */
  message(name: Buffer, payload: Buffer, room: number): void;
  /** The connection is of no use: refused, or answered with what is no answer. */
  failed(reason: string): void;
}

/** Everything that backends say: one subscription, whatever channels there are (bridge.md, "Topic grammar"). */
const SUBSCRIBE = "*2\r\n$10\r\nPSUBSCRIBE\r\n$4\r\nto:*\r\n";
const PING = "*1\r\n$4\r\nPING\r\n";
/**
 * Asks whether we may publish, and publishes nothing: in RESP2 one who subscribes may not, which is said (`ERR Can't
 * execute`) after the ACL was asked (`NOPERM`).
 */
const MAY_PUBLISH = "*3\r\n$7\r\nPUBLISH\r\n$22\r\nfrom:phoenix:heartbeat\r\n$2\r\n{}\r\n";

/** How every message begins, as a push (RESP3) and as an array (RESP2); lengths and texts of name and payload follow. */
const PUSH = Buffer.from(">4\r\n$8\r\npmessage\r\n$4\r\nto:*\r\n$");
const ARRAY = Buffer.from("*4\r\n$8\r\npmessage\r\n$4\r\nto:*\r\n$");

/** Bytes by which something grows whose length is not known yet. */
const STEP = 1024;

/** Bytes of a channel's name that may be kept at the least: beyond them and `maxPayload` a connection is given up. */
const MAX_NAME = 1024 * 1024;

/** Bytes of an answer that are looked at, or shown. */
const MAX_SHOWN = 200;

const CR = 13;
const ZERO = 48;

/** Bytes of a chunk from which on its memory is given back at once. */
const LARGE = 16 * 1024;

/**
 * The reading end of a subscribing connection that ioredis opened. It reads what Redis sends itself, since nothing should
 * be done twice to 200 KB: a message that came in one piece is handed on where it lies, one in several is joined once, in
 * memory that is used again.
 */
export class RedisSubscriber {
  readonly #owner: SubscriberOwner;
  readonly #maxPayload: number;
  #stream: Socket | null = null;
  /** The beginning of something whose end is still to come: `#joined` bytes of it, of `#length`, or 0 if unknown. */
  #joint = Buffer.allocUnsafe(64 * 1024);
  #joined = 0;
  #length = 0;
  /** Bytes to pass over: the end of a payload that is longer than may be. */
  #skip = 0;
  #subscribed = false;
  // Where the parts of the message lie that `#find` looked at last.
  #nameAt = 0;
  #nameEnd = 0;
  #payloadAt = 0;
  #payloadEnd = 0;
  /** Bytes behind it that are not to be kept. */
  #over = 0;
  /** Where the number ends that `#number` read last, its line end included. */
  #after = 0;

  /** `maxPayload`: of a longer one this many bytes and one more are handed on, which tells that it is too long. */
  constructor(owner: SubscriberOwner, maxPayload: number) {
    this.#owner = owner;
    this.#maxPayload = maxPayload;
  }

  /** Takes a connection over, with no command of ioredis under way on it, and subscribes. */
  take(stream: Socket): void {
    this.close();
    // ioredis' own reader would parse the same bytes.
    stream.removeAllListeners("data");
    stream.on("data", (chunk: Buffer) => {
      if (stream === this.#stream) this.read(chunk);
      release(chunk);
    });
    this.#stream = stream;
    stream.write(SUBSCRIBE);
  }

  /** Asks for a sign of life: any byte is one. */
  ask(): void {
    this.#stream?.write(PING);
  }

  /** Asks whether clients' messages may be published. Once subscribed only: else they would be. */
  askPermission(): void {
    if (this.#subscribed) this.#stream?.write(MAY_PUBLISH);
  }

  close(): void {
    this.#stream = null;
    this.#subscribed = false;
    this.#joined = 0;
    this.#length = 0;
    this.#skip = 0;
  }

  /** Takes what arrived, cut wherever it may be. The chunk belongs to the intake. */
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

  /** Takes what begins at `at`, or keeps it when its end is still to come. Returns where it ends. */
  #walk(chunk: Buffer, at: number): number {
    const length = this.#find(chunk, at, chunk.length);
    if (length < 0) {
      const end = this.#other(chunk, at, chunk.length);
      if (end > 0) return end;
    } else if (length > 0 && at + length <= chunk.length) {
      this.#hand(chunk, at);
      return at + length;
    }
    this.#length = Math.max(length, 0);
    this.#append(chunk, at, chunk.length);
    return chunk.length;
  }

  /** Goes on with what began in an earlier chunk. Returns how far this chunk was used. */
  #join(chunk: Buffer, at: number): number {
    const wanted = this.#length > 0 ? this.#length - this.#joined : STEP;
    const end = Math.min(at + wanted, chunk.length);
    this.#append(chunk, at, end);
    if (this.#length === 0) this.#length = Math.max(0, this.#find(this.#joint, 0, this.#joined));
    if (this.#length === 0) {
      const other = this.#other(this.#joint, 0, this.#joined);
      if (other > 0) return this.#joinedUpTo(other, end);
      if (this.#joined > Math.max(this.#maxPayload, MAX_NAME))
        this.#owner.failed("a name of a channel that is too long");
      return end;
    }
    if (this.#joined < this.#length) return end;
    const length = this.#length;
    this.#find(this.#joint, 0, this.#joined);
    this.#hand(this.#joint, 0);
    return this.#joinedUpTo(length, end);
  }

  /** What was joined is used up to `used`; the rest of it is read again from the chunk, which was taken up to `end`. */
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

  #hand(data: Buffer, at: number): void {
    const name = data.subarray(this.#nameAt, this.#nameEnd);
    const payload = data.subarray(this.#payloadAt, this.#payloadEnd);
    this.#skip = this.#over;
    this.#owner.message(name, payload, this.#payloadAt - at);
  }

  /**
   * The length of the message that begins at `at`: 0 while it can't be told yet, negative where no message begins. Of one
   * over the limit the length of what is kept; the rest is to be passed over then.
   */
  #find(data: Buffer, at: number, end: number): number {
    const start = data[at] === PUSH[0] ? PUSH : ARRAY;
    const there = Math.min(end - at, start.length);
    if (data.compare(start, 0, there, at, at + there) !== 0) return -1;
    const nameSize = this.#number(data, at + start.length, end);
    if (nameSize < 0) return 0;
    this.#nameAt = this.#after;
    this.#nameEnd = this.#nameAt + nameSize;
    // Behind the name: a line end, and the sign before the payload's length.
    const payloadSize = this.#number(data, this.#nameEnd + 3, end);
    if (payloadSize < 0) return 0;
    this.#payloadAt = this.#after;
    const kept = Math.min(payloadSize, this.#maxPayload + 1);
    this.#payloadEnd = this.#payloadAt + kept;
    const whole = kept === payloadSize;
    this.#over = whole ? 0 : payloadSize - kept + 2;
    return this.#payloadEnd + (whole ? 2 : 0) - at;
  }

  /** The whole number at `at`; -1 while its line end is not there. */
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
      this.#owner.failed("an answer that is not Redis'");
      return -1;
    }
    return -1;
  }

  /** Takes an answer that is no message. Returns where it ends, 0 while its end is not there. */
  #other(data: Buffer, at: number, end: number): number {
    const after = this.#valueEnd(data, at, end);
    if (after < 0) return 0;
    const text = data.toString("latin1", at, Math.min(after, at + MAX_SHOWN));
    if (text.startsWith("-")) this.#error(text.slice(1).trimEnd());
    else if (text.startsWith(":")) this.#owner.permitted(null);
    else if (text.includes("psubscribe")) {
      this.#subscribed = true;
      this.#owner.subscribed();
      this.askPermission();
    }
    return after;
  }

  #error(text: string): void {
    if (!this.#subscribed) this.#owner.failed(text);
    else if (text.startsWith("ERR Can't execute")) this.#owner.permitted(null);
    else if (text.startsWith("NOPERM") && !text.includes("'ping'")) this.#owner.permitted(text);
    else this.#owner.failed(text);
  }

  /** The index behind the value that begins at `at`, of any kind (RESP2 and RESP3); -1 while it is not whole. */
  #valueEnd(data: Buffer, at: number, end: number): number {
    const lineEnd = data.indexOf("\r\n", at);
    if (lineEnd < 0 || lineEnd + 2 > end) return -1;
    const kind = String.fromCharCode(data[at] ?? 0);
    let after = lineEnd + 2;
    if ("+-:_#,(".includes(kind)) return after;
    const size = Number(data.toString("latin1", at + 1, lineEnd));
    if (!Number.isInteger(size) || !"$=!*>~%|".includes(kind)) {
      this.#owner.failed("an answer that is not Redis'");
      return -1;
    }
    if ("$=!".includes(kind)) {
      after += size < 0 ? 0 : size + 2;
      return after > end ? -1 : after;
    }
    const values = "%|".includes(kind) ? 2 * size : size;
    for (let i = 0; i < values && after >= 0; i++) after = this.#valueEnd(data, after, end);
    return after;
  }
}

/**
 * Gives back the memory of a large chunk that is read. The collector would wait for megabytes of them, and the next one
 * would come to lie in memory that no cache holds.
 */
function release(chunk: Buffer): void {
  const { buffer } = chunk;
  if (chunk.length >= LARGE && chunk.length === buffer.byteLength && buffer instanceof ArrayBuffer) {
    buffer.transfer(0);
  }
}
