import { type HistoryRules, type KeptMessage, type Lost, MESSAGE_OVERHEAD } from "./history.ts";

/** Dropped entries after which the list is shortened, if they are half of it. */
const SHORTEN_AFTER = 64;

/** The kept messages of one channel, bounded by count, bytes and age. */
export class Ring {
  /** Bytes of its messages, overhead included. */
  bytes = 0;
  /** The number of the newest message that was dropped, and why. */
  #floor: number;
  #why: Lost;
  #messages: (KeptMessage | undefined)[] = [];
  /** Index of the oldest message; those before it were dropped. */
  #head = 0;

  /** @param floor messages up to this number were dropped, for the reason `why` */
  constructor(floor: number, why: Lost) {
    this.#floor = floor;
    this.#why = why;
  }

  get size(): number {
    return this.#messages.length - this.#head;
  }

  /** The number of the newest message that was dropped. */
  get floor(): number {
    return this.#floor;
  }

  /** The number of the newest message, kept or dropped. */
  get newestSeq(): number {
    return this.#messages.at(-1)?.seq ?? this.#floor;
  }

  get oldest(): KeptMessage | undefined {
    return this.#messages[this.#head];
  }

  /** Adds the newest message; drops what no longer fits, this one too if it is larger than all may be. */
  append(message: KeptMessage, { count, bytes }: HistoryRules): void {
    this.#messages.push(message);
    this.bytes += costOf(message);
    while (this.size > count || this.bytes > bytes) this.#drop("too many");
  }

  /**
   * Adds older messages, the oldest first, complete after `floor`; those that are not older than this ring's are ignored.
   * `why`: the reason why messages up to `floor` were dropped.
   */
  extend(kept: readonly KeptMessage[], floor: number, why: Lost, { count, bytes }: HistoryRules): void {
    const end = Math.min(this.#floor, (this.oldest?.seq ?? Number.POSITIVE_INFINITY) - 1);
    const older = kept.filter(({ seq }) => seq <= end);
    this.#messages = [...older, ...this.#messages.slice(this.#head)];
    this.#head = 0;
    for (const message of older) this.bytes += costOf(message);
    if (floor <= this.#floor) {
      this.#floor = floor;
      this.#why = why;
    }
    while (this.size > count || this.bytes > bytes) this.#drop("too many");
  }

  /** Drops messages received before `time` (Unix ms). */
  expire(time: number): void {
    for (let oldest = this.oldest; oldest !== undefined && oldest.at < time; oldest = this.oldest) {
      this.#drop("too old");
    }
  }

  /** Up to `limit` messages after `seq`, or why some of them were dropped. */
  since(seq: number, limit: number): readonly KeptMessage[] | Lost {
    if (seq < this.#floor) return this.#why;
    const from = this.#indexAfter(seq);
    return this.#slice(from, from + limit);
  }

  /** The newest `count` messages. */
  last(count: number): readonly KeptMessage[] {
    const end = this.#messages.length;
    return this.#slice(Math.max(this.#head, end - count), end);
  }

  #slice(from: number, to: number): readonly KeptMessage[] {
    // Only dropped entries are undefined.
    return this.#messages.slice(from, to).filter((message) => message !== undefined);
  }

  /** The index of the first message with a number above `seq`. */
  #indexAfter(seq: number): number {
    let low = this.#head;
    let high = this.#messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#messages[middle]?.seq ?? 0) <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(why: Lost): void {
    const oldest = this.#messages[this.#head];
    if (oldest === undefined) return;
    this.bytes -= costOf(oldest);
    // What a store added may be from before the floor.
    if (oldest.seq > this.#floor) {
      this.#floor = oldest.seq;
      this.#why = why;
    }
    this.#messages[this.#head++] = undefined;
    if (this.#head < SHORTEN_AFTER || this.#head * 2 < this.#messages.length) return;
    this.#messages = this.#messages.slice(this.#head);
    this.#head = 0;
  }
}

/** The bytes of a message in the budgets. */
export function costOf({ event, payload }: KeptMessage): number {
  return payload.length + event.length + MESSAGE_OVERHEAD;
}
