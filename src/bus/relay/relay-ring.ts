import { slotOfName } from "./interest.ts";
import { createSharedFile, openSharedFile } from "./shared-file.ts";

/*
 * Messages in shared memory, written by one worker and read by the others in place. The file begins with words of 32 bits: how
 * far it is written, the heartbeat of the writer, and four for each follower. Then come the messages, in units of 8 bytes: the
 * lengths of name and payload (32 bits each), the name, the payload. If no follower needs the payload, it is left out, and its
 * length is stored as `~length`. Places count units from the start, modulo 2^32. A reader that is too slow is evicted before
 * anything that it may still read is overwritten.
 */

const HEAD = 0;
const BEAT = 1;
const FOLLOWERS = 16;
const WORDS_OF_FOLLOWER = 4;
const STATE = 0;
const TAIL = 1;
const WAITING = 2;

/** States of a follower. One that reads is `EVICTING` until it has finished its message. */
const ABSENT = 0;
const IDLE = 1;
const READING = 2;
const EVICTING = 3;
const EVICTED = 4;

/** Time (ms) for a follower to finish a message before it is evicted. */
const FINISH = 3;

/** Bytes before the messages. */
const HEADER = 4096;
const UNIT = 8;

/** In the place of a length: the next message is at the start of the ring. */
const WRAP = -1;

/** Bytes after which writing continues at the start of the ring if all is read, so that the memory in use stays in the CPU caches. */
const HOT = 1024 * 1024;

/** Size (bytes) from which a payload is left out where no follower needs it. */
const LEFT_OUT = 256;

/** Bytes after which a follower is woken for messages that it only counts. */
const LAZY = 64 * 1024;

/** Bytes that are read in one turn of the event loop, as many as from a socket: all that a client is sent in one turn is one write. */
const READ_AT_ONCE = 64 * 1024;

/** Most followers for which there are words. */
export const MAX_FOLLOWERS = (HEADER / 4 - FOLLOWERS) / WORDS_OF_FOLLOWER;

const wordOf = (worker: number): number => FOLLOWERS + (worker - 1) * WORDS_OF_FOLLOWER;

/**
 * Receives what a ring holds, as `BusListener.message`. Returns whether to go on.
 * @param payload `null`: it was left out @param bytes its length
 */
export type ReadMessage = (name: Buffer, payload: Buffer | null, bytes: number) => boolean;

/** Whether a follower has listeners for the channels of a slot (`slotOfName`). */
export interface FollowerInterest {
  has(slot: number): boolean;
}

/** The memory, as both sides use it. */
class Ring {
  readonly words: Int32Array;
  readonly bytes: Buffer;
  readonly units: number;

  constructor({ buffer, byteOffset, byteLength }: Uint8Array) {
    this.words = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.bytes = Buffer.from(buffer, byteOffset, byteLength);
    this.units = (byteLength - HEADER) / UNIT;
  }

  /** The offset in bytes of a place. */
  offsetOf(place: number): number {
    return HEADER + (place % this.units) * UNIT;
  }

  get head(): number {
    return Atomics.load(this.words, HEAD) >>> 0;
  }

  tailOf(worker: number): number {
    return Atomics.load(this.words, wordOf(worker) + TAIL) >>> 0;
  }
}

export interface RingOwner {
  /** A follower waits for what was just written. */
  wake(worker: number): void;
  /** A follower did not read for so long that the ring was full: it gets no more. */
  evicted(worker: number): void;
}

/** The side that writes. */
export class RingWriter {
  readonly #ring: Ring;
  readonly #owner: RingOwner;
  readonly #followers: { readonly worker: number; readonly interest: FollowerInterest }[] = [];
  #head = 0;
  /** Units that all followers have read, at least. */
  #free = 0;

  /**
   * Creates the file.
   * @param size bytes of messages; a power of two, of 2 MiB or more
   * @throws Error if there is no room for it
   */
  constructor(path: string, size: number, owner: RingOwner) {
    this.#ring = new Ring(createSharedFile(path, HEADER + size));
    this.#owner = owner;
  }

  get followers(): number {
    return this.#followers.length;
  }

  /** From the next message on. */
  attach(worker: number, interest: FollowerInterest): void {
    const { words } = this.#ring;
    const at = wordOf(worker);
    words[at + TAIL] = this.#head;
    words[at + WAITING] = 0;
    Atomics.store(words, at + STATE, IDLE);
    this.#followers.push({ worker, interest });
    this.#free = 0;
  }

  detach(worker: number): void {
    if (!this.#remove(worker)) return;
    Atomics.store(this.#ring.words, wordOf(worker) + STATE, ABSENT);
  }

  beat(): void {
    Atomics.add(this.#ring.words, BEAT, 1);
  }

  /** Writes a message. Returns false if it is too long, or if a follower has not finished reading what it would replace. */
  append(name: Buffer, payload: Buffer): boolean {
    if (this.#followers.length === 0) return true;
    const { words, bytes, units } = this.#ring;
    const slot = slotOfName(name);
    const isWhole = payload.length < LEFT_OUT || this.#isNeeded(slot);
    const size = Math.ceil((name.length + (isWhole ? payload.length : 0)) / UNIT) + 1;
    const rest = units - (this.#head % units);
    const wraps = size > rest || (units - rest >= HOT / UNIT && size + rest <= units && this.#isRead());
    const needed = wraps ? rest + size : size;
    if (needed > this.#free && !this.#makeRoom(needed)) return false;
    if (wraps) words[this.#ring.offsetOf(this.#head) / 4] = WRAP;
    const at = this.#ring.offsetOf(wraps ? this.#head + rest : this.#head);
    words[at / 4] = name.length;
    words[at / 4 + 1] = isWhole ? payload.length : ~payload.length;
    name.copy(bytes, at + UNIT);
    if (isWhole) payload.copy(bytes, at + UNIT + name.length);
    this.#free -= needed;
    this.#head = (this.#head + needed) >>> 0;
    Atomics.store(words, HEAD, this.#head);
    for (const { worker, interest } of this.#followers) {
      const waiting = wordOf(worker) + WAITING;
      if (Atomics.load(words, waiting) === 0) continue;
      if (!interest.has(slot) && this.#unreadBy(worker) < LAZY / UNIT) continue;
      Atomics.store(words, waiting, 0);
      this.#owner.wake(worker);
    }
    return true;
  }

  #isNeeded(slot: number): boolean {
    for (const { interest } of this.#followers) if (interest.has(slot)) return true;
    return false;
  }

  #isRead(): boolean {
    for (const { worker } of this.#followers) if (this.#unreadBy(worker) > 0) return false;
    return true;
  }

  #unreadBy(worker: number): number {
    return (this.#head - this.#ring.tailOf(worker)) >>> 0;
  }

  #remove(worker: number): boolean {
    const index = this.#followers.findIndex((each) => each.worker === worker);
    if (index >= 0) this.#followers.splice(index, 1);
    return index >= 0;
  }

  #makeRoom(needed: number): boolean {
    const { units } = this.#ring;
    if (needed > units) return false;
    let free = units;
    for (const { worker } of [...this.#followers]) {
      const room = units - this.#unreadBy(worker);
      if (room >= needed) {
        free = Math.min(free, room);
        continue;
      }
      if (!this.#evict(wordOf(worker) + STATE)) return false;
      this.#remove(worker);
      this.#owner.evicted(worker);
    }
    this.#free = free;
    return true;
  }

  /** Returns false if it has not finished its message in time. */
  #evict(state: number): boolean {
    const { words } = this.#ring;
    if (Atomics.compareExchange(words, state, IDLE, EVICTED) === IDLE) return true;
    Atomics.compareExchange(words, state, READING, EVICTING);
    const until = performance.now() + FINISH;
    while (Atomics.load(words, state) === EVICTING) if (performance.now() > until) return false;
    return Atomics.load(words, state) === EVICTED || this.#evict(state);
  }
}

/** How reading ended: nothing is left; enough for one turn; the receiver said so; this follower was evicted. */
export type ReadResult = "empty" | "more" | "stopped" | "evicted";

/** The side of one follower. */
export class RingReader {
  readonly #ring: Ring;
  readonly #at: number;
  /** By slot, the place before which payloads are left out. */
  readonly #leftOut = new Map<number, number>();

  /** @throws Error if the file is not there */
  constructor(path: string, worker: number) {
    this.#ring = new Ring(openSharedFile(path));
    this.#at = wordOf(worker);
  }

  /** Counts up while the writer runs. */
  get beat(): number {
    return Atomics.load(this.#ring.words, BEAT);
  }

  /** Leaves out the payloads of the channels of a slot that were written until now. */
  leaveOut(slot: number): void {
    const { head } = this.#ring;
    if (head !== (this.#ring.words[this.#at + TAIL] ?? 0) >>> 0) this.#leftOut.set(slot, head);
  }

  /** Reads messages. After `empty` the writer wakes this follower at the next one. @param all whether without a limit */
  read(message: ReadMessage, all = false): ReadResult {
    const { words } = this.#ring;
    const state = this.#at + STATE;
    if (Atomics.compareExchange(words, state, IDLE, READING) !== IDLE) return "evicted";
    try {
      return this.#readOn(message, all ? Number.POSITIVE_INFINITY : READ_AT_ONCE / UNIT);
    } finally {
      if (Atomics.compareExchange(words, state, READING, IDLE) !== READING)
        Atomics.store(words, state, EVICTED);
    }
  }

  #readOn(message: ReadMessage, most: number): ReadResult {
    const { words, bytes, units } = this.#ring;
    let tail = words[this.#at + TAIL] ?? 0;
    const start = tail >>> 0;
    for (let head = this.#ring.head; ; ) {
      tail >>>= 0;
      if (tail === head) {
        Atomics.store(words, this.#at + WAITING, 1);
        head = this.#ring.head;
        if (tail === head) {
          this.#leftOut.clear();
          return "empty";
        }
        Atomics.store(words, this.#at + WAITING, 0);
      }
      let at = this.#ring.offsetOf(tail);
      if (words[at / 4] === WRAP) {
        tail = (tail + units - (tail % units)) >>> 0;
        at = HEADER;
      }
      const nameSize = words[at / 4] ?? 0;
      const length = words[at / 4 + 1] ?? 0;
      const payloadAt = at + UNIT + nameSize;
      const name = bytes.subarray(at + UNIT, payloadAt);
      const end = payloadAt + Math.max(0, length);
      const payload = length < 0 || this.#isLeftOut(name, tail) ? null : bytes.subarray(payloadAt, end);
      const goOn = message(name, payload, length < 0 ? ~length : length);
      tail = (tail + Math.ceil((end - at) / UNIT)) >>> 0;
      Atomics.store(words, this.#at + TAIL, tail);
      if (Atomics.load(words, this.#at + STATE) !== READING) return "evicted";
      if (!goOn) return "stopped";
      if ((tail - start) >>> 0 >= most) return "more";
    }
  }

  #isLeftOut(name: Buffer, place: number): boolean {
    if (this.#leftOut.size === 0) return false;
    const until = this.#leftOut.get(slotOfName(name));
    return until !== undefined && (until - place) >>> 0 !== 0 && (until - place) >>> 0 <= this.#ring.units;
  }
}
