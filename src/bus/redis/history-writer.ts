import type {
  ExtendableHistory,
  HistoryRules,
  KeptMessage,
  PlacedMessage,
} from "../../hub/history/history.ts";
import type { Positions } from "../../hub/history/positions.ts";
import type { Log } from "../../log.ts";
import { type IdHead, idHead, parseId, printId } from "./history-ids.ts";
import type { Appended, HistoryStore } from "./history-store.ts";

/** Messages and payload bytes of one script. */
const BATCH_MESSAGES = 256;
const BATCH_BYTES = 512 * 1024;

/** Messages and bytes that may wait. Beyond them, what is in memory is written later. */
const MAX_WAITING = 50_000;
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Time in which messages are collected by a server that writes, in ms. */
const COLLECT_MS = 10;

/** Time after which a server that does not write checks whether another one has, in ms, and takes over otherwise. */
const CHECK_MS = 100;

/** How long another server may take to write what this one does not have, in ms. */
export const COVER_TIMEOUT_MS = 2000;
const POLL_MS = 50;

/** Between two attempts while Redis refuses to write, in ms. */
const REFUSED_MS = 5000;

/** Between two extensions of the range without messages, in ms: its keys expire. */
const REFRESH_MS = 10_000;

/** Batches in which nothing was new, one after the other, after which another server is left to write. */
const MAX_USELESS = 8;

/** Time for the last writes when the server stops, in ms. */
const STOP_MS = 1000;

/** Markers that are remembered, fewer than `Positions` has. */
const MAX_MARKS = 1000;

/** Between two attempts to extend a range that is of a later time than this server, in ms. */
const AHEAD_MS = 1000;

/** Bytes of a message besides its payload, in `MAX_WAITING_BYTES`. */
const OVERHEAD = 200;

interface Mark {
  readonly id: string;
  readonly head: IdHead;
  /** The number of the last message before it. */
  readonly at: number;
}

export interface WriterOptions {
  readonly store: HistoryStore;
  readonly memory: ExtendableHistory;
  readonly positions: Positions;
  /** How long a range is kept, in ms. */
  readonly keep: number;
  readonly log: Log;
  /** A message was not written when it came. */
  unstored(): void;
}

/**
 * Writes kept messages to Redis. One server writes everything within `COLLECT_MS`; the others look at the end of the covered
 * range ten times a second, and write what is missing there. What is written continues the range, or starts it anew.
 */
export class HistoryWriter {
  readonly #options: WriterOptions;
  /** The number of the last message before the first marker of this subscription; `null` without one. */
  #base: number | null = null;
  /** The markers since `#base`. */
  #marks: Mark[] = [];
  /** Messages after `#covered`, unless `#incomplete`. */
  #waiting: PlacedMessage[] = [];
  #waitingBytes = 0;
  #incomplete = false;
  /** The end of the range from which messages were collected last. */
  #collectedFrom = "";
  /** The end of a range that this server cannot extend, and since when. */
  #stuckAt: string | null = null;
  #stuckSince = 0;
  /** The range is known to reach this number. */
  #covered = 0;
  /** The newest marker that the range is known to contain. */
  #coveredMarker = "";
  /** Whether there may be a marker to write. */
  #due = false;
  /** Whether the expiry of the range is to be extended. */
  #refreshes = false;
  #writes = false;
  #useless = 0;
  /** When the oldest message that is not covered was received, in ms of `performance.now`. */
  #waitingSince = 0;
  #wasConnected = false;
  #refusedUntil = 0;
  #loggedRefusal = false;
  #busy = false;
  #timer: Timer | null = null;
  #refresh: Timer | null = null;
  #stopped = false;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** The number at which this server's knowledge begins; `null` without a subscription. */
  get base(): number | null {
    return this.#base;
  }

  start(): void {
    this.#refresh = setInterval(() => {
      this.#refreshes = true;
      this.#schedule();
    }, REFRESH_MS);
  }

  /** The connection is open. Not for the first time: what was written last may be lost. */
  connected(): void {
    if (this.#wasConnected) this.#incomplete = true;
    this.#wasConnected = true;
    this.#due = true;
    this.#refusedUntil = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#schedule();
  }

  /** The positions have a new marker. */
  marked(): void {
    const { positions } = this.#options;
    const { newest } = positions;
    const head = newest === null ? null : idHead(newest.id);
    // Without ids nothing can be written until the next marker.
    if (newest === null || head === null) return this.lost();
    if (this.#base === null) {
      this.#base = positions.seq;
      this.#covered = positions.seq;
      this.#incomplete = false;
      this.#stuckAt = null;
    }
    this.#waits();
    this.#marks.push({ ...newest, head });
    if (this.#marks.length > MAX_MARKS) {
      this.#marks.shift();
      this.#base = this.#marks[0]?.at ?? this.#base;
    }
    this.#due = true;
    this.#schedule();
  }

  /** The subscription was lost. */
  lost(): void {
    // The gap has a number of its own, which is no message.
    if (this.#base !== null && this.#writes && !this.#busy && !this.#incomplete && this.#waiting.length > 0) {
      const { header, payloads } = this.#batch(null, this.#waiting.at(-1)?.seq);
      this.#options.store.append(header, payloads).catch(() => {});
    }
    this.#base = null;
    this.#marks = [];
    this.#clear();
  }

  append(channel: string, rules: HistoryRules, message: KeptMessage): void {
    if (this.#base === null || this.#incomplete) {
      if (!this.#canWrite) this.#options.unstored();
      return this.#schedule();
    }
    this.#waits();
    this.#waiting.push({ channel, rules, message, seq: message.seq });
    this.#waitingBytes += message.payload.length + OVERHEAD;
    if (this.#waiting.length > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) {
      this.#clear();
      this.#incomplete = true;
    }
    this.#schedule();
  }

  /** Applies what Redis says is the end of the range. Returns whether it is a position known here. */
  reached(end: string): boolean {
    const seq = this.#seqOf(end);
    if (seq === null || seq < this.#covered) return false;
    this.#coveredMarker = parseId(end)?.marker ?? "";
    // Another server may be ahead of this one.
    this.#covered = Math.min(seq, this.#options.positions.seq);
    const kept = this.#waiting.findIndex((each) => each.seq > this.#covered);
    if (kept < 0) this.#clear();
    else this.#drop(kept);
    return true;
  }

  async stop(): Promise<void> {
    if (this.#refresh !== null) clearInterval(this.#refresh);
    const deadline = performance.now() + STOP_MS;
    this.#writes = true;
    while (this.#canWrite && (this.#waiting.length > 0 || this.#due) && performance.now() < deadline) {
      await this.#run();
      await Bun.sleep(1);
    }
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  get #canWrite(): boolean {
    const { store } = this.#options;
    return (
      !this.#stopped && this.#base !== null && store.connected && performance.now() >= this.#refusedUntil
    );
  }

  #waits(): void {
    if (this.#waiting.length === 0 && !this.#due) this.#waitingSince = performance.now();
  }

  #clear(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #drop(count: number): void {
    for (const { message } of this.#waiting.splice(0, count)) {
      this.#waitingBytes -= (message?.payload.length ?? 0) + OVERHEAD;
    }
  }

  #schedule(): void {
    if (this.#timer !== null || this.#busy || this.#stopped) return;
    const pause = this.#writes ? COLLECT_MS : CHECK_MS * (0.8 + 0.4 * Math.random());
    this.#plan(pause);
  }

  #plan(pause: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#run();
    }, pause);
    this.#timer.unref();
  }

  /** Writes what waits, or leaves it to another server. */
  async #run(): Promise<void> {
    if (this.#busy) return;
    if (!this.#canWrite) {
      if (!this.#stopped && this.#refusedUntil > 0) this.#plan(REFUSED_MS);
      return;
    }
    this.#busy = true;
    let pause: number | null = null;
    try {
      if (await this.#mayWrite()) pause = await this.#write();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#busy = false;
    }
    if (this.#stopped || this.#timer !== null) return;
    if (pause !== null) this.#plan(pause);
    else if (this.#waiting.length > 0 || this.#due || this.#refreshes) this.#schedule();
    else if (this.#incomplete) this.#plan(REFUSED_MS);
  }

  /** Looks whether another server writes. */
  async #mayWrite(): Promise<boolean> {
    if (this.#writes && this.#stuckAt === null) return true;
    const end = await this.#options.store.end();
    this.reached(end);
    if (end !== this.#stuckAt) this.#stuckAt = null;
    if (this.#isDone()) this.#due = false;
    else if (this.#stuckAt === null && performance.now() - this.#waitingSince >= CHECK_MS * 0.75) {
      this.#writes = true;
      this.#useless = 0;
    }
    return this.#writes || this.#refreshes;
  }

  /** Returns the pause before the next attempt; `null`: as usual. */
  async #write(): Promise<number | null> {
    const { store } = this.#options;
    if (this.#stuckAt !== null && performance.now() - this.#stuckSince < COVER_TIMEOUT_MS) return POLL_MS;
    let restart = this.#stuckAt;
    if (this.#incomplete) this.#collect(await store.end());
    for (;;) {
      const { base } = this;
      if (base === null) return null;
      if (this.#incomplete) this.#collect(this.#collectedFrom);
      const batch = this.#batch(restart);
      if (batch.isLast) {
        this.#due = false;
        this.#refreshes = false;
      }
      const reply = await store.append(batch.header, batch.payloads);
      this.#accepted();
      if (this.#base !== base) return null;
      if (reply.applied) {
        this.#stuckAt = null;
        restart = null;
        this.#applied(reply, batch.messages);
        if (this.#waiting.length < BATCH_MESSAGES) return null;
        continue;
      }
      this.#due = true;
      // It cannot be replaced either: the markers of another time are above this server's.
      if (restart === reply.end) return AHEAD_MS;
      const isKnown = this.#seqOf(reply.end) !== null;
      if (reply.end === "" || (isKnown && this.#collectedFrom !== reply.end)) {
        // The range is gone, or went back to a time that this server has in memory.
        this.#collect(reply.end);
        restart = reply.end === "" ? "" : null;
        continue;
      }
      // Another server may have what is missing. If none writes it, the range starts anew.
      this.#stuckAt = reply.end;
      this.#stuckSince = performance.now();
      return POLL_MS;
    }
  }

  /** Whether another server has written all there is, markers included. */
  #isDone(): boolean {
    if (this.#incomplete || this.#waiting.length > 0) return false;
    return this.#marks.at(-1)?.id === this.#coveredMarker;
  }

  #applied({ end, added }: Appended, messages: number): void {
    this.reached(end);
    if (messages === 0) return;
    this.#useless = added === 0 ? this.#useless + 1 : 0;
    if (this.#useless >= MAX_USELESS) this.#writes = false;
  }

  /** Collects what is in memory after `end`, an end of the range. */
  #collect(end: string): void {
    const { memory, positions } = this.#options;
    const base = this.#base ?? positions.seq;
    const seq = this.#seqOf(end) ?? base;
    const { from, messages } = memory.storedSince(Math.min(seq, positions.seq));
    this.#collectedFrom = end;
    // What waits may reach further back than what is in memory.
    if (!this.#incomplete && from >= this.#covered) return;
    this.#incomplete = false;
    this.#covered = Math.max(from, base);
    this.#waiting = [...messages];
    this.#waitingBytes = messages.reduce(
      (sum, { message }) => sum + (message?.payload.length ?? 0) + OVERHEAD,
      0,
    );
    this.#due = true;
  }

  /** The first messages that wait, as a script of `HistoryStore.append`. @param restart the end that may be replaced */
  #batch(restart: string | null, newest = this.#options.positions.seq): Batch {
    let bytes = 0;
    let size = 0;
    const byChannel = new Map<string, PlacedMessage[]>();
    for (const each of this.#waiting) {
      if (size >= BATCH_MESSAGES || (size > 0 && bytes > BATCH_BYTES)) break;
      size++;
      bytes += each.message?.payload.length ?? 0;
      const others = byChannel.get(each.channel);
      if (others === undefined) byChannel.set(each.channel, [each]);
      else others.push(each);
    }
    const isLast = size === this.#waiting.length;
    const to = isLast ? newest : (this.#waiting[size - 1]?.seq ?? this.#covered);
    // A marker after the last message of the batch is in a later one.
    const first = Math.max(
      0,
      this.#marks.findLastIndex(({ at }) => at < this.#covered),
    );
    const marks = this.#marks.slice(first).filter(({ at }, i) => i === 0 || (isLast ? at <= to : at < to));
    const header = {
      from: this.#idIn(marks.slice(0, 1), this.#covered),
      to: this.#idIn(marks, to),
      keep: this.#options.keep,
      refresh: this.#refreshes,
      ...(restart === null ? {} : { restart }),
      marks: marks.map(({ id, at }, i) => [id, at - (marks[i - 1]?.at ?? at)]),
      channels: Array.from(byChannel, ([channel, all]) => this.#channelHeader(channel, all)),
    };
    const payloads = [...byChannel.values()].flat().flatMap(({ message }) => message?.payload ?? []);
    return {
      header: JSON.stringify(header),
      payloads: Buffer.concat(payloads),
      messages: size,
      isLast,
    };
  }

  #channelHeader(channel: string, all: readonly PlacedMessage[]): object {
    const [first] = all;
    const entries = all.map(({ seq, message }) => {
      const id = this.#idIn(this.#marks, seq - 1, seq);
      return message === null ? [id] : [id, message.event, message.at, message.payload.length];
    });
    const { count = 0, bytes = 0, ttl = 0 } = first?.rules ?? {};
    return { key: this.#options.store.keyOf(channel), count, bytes, ttl, entries };
  }

  /** The number of an id; `null` unless it is of a marker since `#base`. */
  #seqOf(id: string): number | null {
    const position = parseId(id);
    const mark = this.#marks.findLast((each) => each.id === position?.marker);
    return position === null || mark === undefined ? null : mark.at + position.n;
  }

  /** The id of a number, counted from the last of `marks` at or before `markedBy`. */
  #idIn(marks: readonly Mark[], markedBy: number, seq = markedBy): string {
    const mark = marks.findLast(({ at }) => at <= markedBy) ?? marks[0];
    if (mark === undefined) throw new Error("no message is kept before the first marker");
    return printId(mark.head, seq - mark.at);
  }

  #accepted(): void {
    if (!this.#loggedRefusal) return;
    this.#loggedRefusal = false;
    this.#options.log.info("Redis keeps messages again", { where: this.#options.store.where });
  }

  #failed(error: unknown): void {
    this.#clear();
    this.#incomplete = true;
    const { store, log } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    if (reason === "Command timed out") return store.drop();
    if (!(error instanceof Error) || error.name !== "ReplyError") return;
    this.#refusedUntil = performance.now() + REFUSED_MS;
    if (this.#loggedRefusal) return;
    this.#loggedRefusal = true;
    log.warn("Redis does not keep messages, they are in memory only", { where: store.where, reason });
  }
}

interface Batch {
  readonly header: string;
  readonly payloads: Buffer;
  readonly messages: number;
  /** Whether nothing waits after it. */
  readonly isLast: boolean;
}
