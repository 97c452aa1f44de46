import { error } from "../resp.ts";

/** Limits on the requests of a client. */
export interface ReaderLimits {
  /** Largest bulk string, in bytes. */
  readonly maxBulk: number;
}

/**
 * A protocol error, after which the connection ends. `reply` is sent first, as Redis does; `null` if the client does not
 * use the protocol: it may be a browser that a web page directs here.
 */
export interface Fault {
  readonly reply: string | null;
}

const ASTERISK = 42;
const DOLLAR = 36;
const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;
const ZERO = 48;
const NINE = 57;

/** Most digits of a length. */
const MAX_DIGITS = 10;
/** Most strings of one command, as in Redis. */
const MAX_STRINGS = 1024 * 1024;
/** Bytes of a command beside its largest bulk string: its name, a channel, many channels to subscribe to. */
const COMMAND_MARGIN = 1024 * 1024;
/** Memory of a string beside its bytes, so that many tiny ones cannot hold many times what was sent. */
const STRING_COST = 128;
/** Most strings of one command, and bytes of each, before AUTH; as in Redis. */
const MAX_STRINGS_UNAUTHENTICATED = 10;
const MAX_BULK_UNAUTHENTICATED = 16 * 1024;

const EMPTY = Buffer.allocUnsafeSlow(0);

/**
 * Parses the requests of one connection: arrays of bulk strings, cut anywhere. A request that arrives byte by byte is not
 * parsed repeatedly, and memory is allocated for received bytes only, not for announced lengths.
 */
export class RespReader {
  readonly #maxBulk: number;
  /** Whether the client has authenticated or need not; until then its requests must be small. */
  authenticated: boolean;
  /** Bytes of an incomplete line or bulk string, and how many are needed before parsing continues. */
  #block = EMPTY;
  #waitingBytes = 0;
  #needed = 0;
  /** Missing strings of the current array; 0 between arrays. */
  #missing = 0;
  /** Length of the next bulk string; -1 before its header. */
  #bulk = -1;
  #strings: Buffer[] = [];
  /** How many of these are copies, not part of the received buffer. */
  #owned = 0;
  /** Memory of the current request's strings, announced ones included. */
  #size = 0;
  /** Memory of its received strings. */
  #held = 0;
  /** Whole requests, and the start of one, that come after the one at which `command` said to stop. */
  #rest: Buffer = EMPTY;
  /** What was received after that and not read yet. */
  #later: Buffer[] = [];
  #laterBytes = 0;

  constructor(limits: ReaderLimits, authenticated = true) {
    this.#maxBulk = limits.maxBulk;
    this.authenticated = authenticated;
  }

  /** Memory of an incomplete request, in bytes. */
  get held(): number {
    return this.#waitingBytes + this.#held + this.#rest.length + this.#laterBytes;
  }

  /** Whether there is more to read of what has arrived: `read` continues, with an empty chunk too. */
  get paused(): boolean {
    return this.#rest.length > 0 || this.#later.length > 0;
  }

  /** Keeps a chunk for the next `read`. To be called only where `command` said to stop. */
  hold(chunk: Buffer): void {
    this.#later.push(Buffer.from(chunk));
    this.#laterBytes += chunk.length + STRING_COST;
  }

  /**
   * Parses a chunk. `command` is called with each complete request (never an empty one) and returns whether to continue.
   * The strings are valid until it returns.
   */
  read(chunk: Buffer, command: (strings: readonly Buffer[]) => boolean): Fault | null {
    let data = chunk;
    if (this.paused) {
      const isAlone = chunk.length === 0 && this.#later.length === 0;
      data = isAlone ? this.#rest : Buffer.concat([this.#rest, ...this.#later, chunk]);
      this.#rest = EMPTY;
      this.#later = [];
      this.#laterBytes = 0;
    } else if (this.#waitingBytes > 0) {
      this.#append(chunk);
      if (this.#waitingBytes < this.#needed) return null;
      data = this.#block.subarray(0, this.#waitingBytes);
      this.#block = EMPTY;
      this.#waitingBytes = 0;
    }
    let at = 0;
    while (at < data.length) {
      if (this.#bulk >= 0) {
        const end = at + this.#bulk;
        if (end + 2 > data.length) return this.#keep(data, at, this.#bulk + 2);
        if (data[end] !== CARRIAGE_RETURN || data[end + 1] !== LINE_FEED) return fault("invalid bulk length");
        this.#strings.push(data.subarray(at, end));
        this.#held += this.#bulk + STRING_COST;
        this.#bulk = -1;
        at = end + 2;
        if (--this.#missing === 0) {
          const strings = this.#strings;
          this.#strings = [];
          this.#owned = 0;
          this.#size = 0;
          this.#held = 0;
          if (!command(strings)) {
            const rest = data.subarray(at);
            this.#rest = data === chunk ? Buffer.from(rest) : rest;
            return null;
          }
        }
        continue;
      }
      const isHeader = data[at] === (this.#missing > 0 ? DOLLAR : ASTERISK);
      if (!isHeader) return this.#missing > 0 ? fault("expected '$'") : { reply: null };
      const length = readLength(data, at + 1);
      if (length === "incomplete") return this.#keep(data, at, 0);
      const name = this.#missing > 0 ? "bulk" : "multibulk";
      if (length === "malformed") return fault(`invalid ${name} length`);
      at = length.end;
      if (this.#missing > 0) {
        this.#size += length.value + STRING_COST;
        if (length.value > this.#maxBulk) return fault("invalid bulk length");
        if (!this.authenticated && length.value > MAX_BULK_UNAUTHENTICATED) {
          return fault("unauthenticated bulk length");
        }
        if (this.#size > this.#maxBulk + COMMAND_MARGIN) return fault("too big a request");
        this.#bulk = length.value;
      } else {
        if (length.value > MAX_STRINGS) return fault("invalid multibulk length");
        if (!this.authenticated && length.value > MAX_STRINGS_UNAUTHENTICATED) {
          return fault("unauthenticated multibulk length");
        }
        this.#missing = length.value;
      }
    }
    this.#own();
    return null;
  }

  /** Releases all memory; nothing is read afterwards. */
  clear(): void {
    free(this.#block);
    this.#block = EMPTY;
    this.#waitingBytes = 0;
    this.#strings = [];
    this.#held = 0;
    this.#rest = EMPTY;
    this.#later = [];
    this.#laterBytes = 0;
  }

  #keep(data: Buffer, at: number, needed: number): null {
    this.#append(data.subarray(at));
    this.#needed = needed;
    this.#own();
    return null;
  }

  /** Grows by doubling with the received bytes, not with announced lengths. */
  #append(bytes: Buffer): void {
    const total = this.#waitingBytes + bytes.length;
    if (total > this.#block.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(total, Math.min(2 * total, this.#needed), 64));
      this.#block.copy(larger, 0, 0, this.#waitingBytes);
      free(this.#block);
      this.#block = larger;
    }
    bytes.copy(this.#block, this.#waitingBytes);
    this.#waitingBytes = total;
  }

  /** Copies the strings of an incomplete request: they must not keep the received buffer. */
  #own(): void {
    for (; this.#owned < this.#strings.length; this.#owned++) {
      const string = this.#strings[this.#owned];
      if (string !== undefined) this.#strings[this.#owned] = Buffer.from(string);
    }
  }
}

/** Frees memory immediately: the garbage collector counts objects, and would let megabytes wait. */
function free({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > 0) buffer.transfer(0);
}

/** Reads digits and a line end. Signs and spaces are malformed. */
function readLength(
  data: Buffer,
  start: number,
): { value: number; end: number } | "incomplete" | "malformed" {
  let value = 0;
  let at = start;
  for (; at < data.length; at++) {
    const byte = data[at] ?? 0;
    if (byte < ZERO || byte > NINE) break;
    if (at - start === MAX_DIGITS) return "malformed";
    value = value * 10 + (byte - ZERO);
  }
  if (at === data.length) return "incomplete";
  if (at === start || data[at] !== CARRIAGE_RETURN) return "malformed";
  if (at + 1 === data.length) return "incomplete";
  return data[at + 1] === LINE_FEED ? { value, end: at + 2 } : "malformed";
}

function fault(what: string): Fault {
  return { reply: error(`ERR Protocol error: ${what}`) };
}
