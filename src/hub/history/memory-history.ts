import {
  CHANNEL_OVERHEAD,
  type ExtendableHistory,
  type HistoryRules,
  type KeptMessage,
  type Lost,
  type PlacedMessage,
} from "./history.ts";
import { LastValues } from "./last-values.ts";
import { Ring } from "./ring.ts";

/** Channels whose old messages are freed in one tick. */
const EXPIRED_PER_TICK = 500;

/** What is kept of one channel, in the list of all by last use. */
class Entry {
  readonly channel: string;
  readonly ring: Ring;
  rules: HistoryRules;
  values: LastValues | null = null;
  /** Whether what a store has was added. */
  extended = false;
  /** The entries used before and after it. */
  older: Entry | null = null;
  newer: Entry | null = null;

  constructor(channel: string, ring: Ring, rules: HistoryRules) {
    this.channel = channel;
    this.ring = ring;
    this.rules = rules;
  }

  get bytes(): number {
    return this.ring.bytes + (this.values?.bytes ?? 0) + this.channel.length + CHANNEL_OVERHEAD;
  }
}

/**
 * Keeps messages in the memory of this server. Where all channels together exceed the budget, the one that was not used for
 * longest is removed. Removed channels share one floor, so that removing costs no memory: a channel without an entry had
 * no message after it.
 */
export class MemoryHistory implements ExtendableHistory {
  readonly #budget: number;
  readonly #entries = new Map<string, Entry>();
  #oldest: Entry | null = null;
  #newest: Entry | null = null;
  #bytes = 0;
  /** The number of the newest message of all removed channels. */
  #removed: number;
  /** The next entry to look for messages that are too old. */
  #expiring: Entry | null = null;
  #now = Date.now();

  /** @param budget bytes of all channels together, overhead included */
  constructor(budget: number, firstSeq = 0) {
    this.#budget = budget;
    this.#removed = firstSeq;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get channels(): number {
    return this.#entries.size;
  }

  append(channel: string, rules: HistoryRules, message: KeptMessage): void {
    const entry = this.#entries.get(channel) ?? this.#create(channel, rules);
    const before = entry.bytes;
    if (rules.count > 0) entry.ring.append(message, rules);
    if (rules.lastValue) {
      entry.values ??= new LastValues();
      entry.values.set(message, rules);
    }
    this.#use(entry, before);
    if (this.#bytes > this.#budget) this.#removeOldest();
  }

  since(channel: string, rules: HistoryRules, seq: number, limit: number): readonly KeptMessage[] | Lost {
    if (rules.count === 0) return "history off";
    const entry = this.#fresh(channel);
    if (entry === null) return seq < this.#removed ? "too old" : [];
    return entry.ring.since(seq, limit);
  }

  last(channel: string, _rules: HistoryRules, count: number): readonly KeptMessage[] {
    return this.#fresh(channel)?.ring.last(count) ?? [];
  }

  lastValues(channel: string): readonly KeptMessage[] {
    return this.#fresh(channel)?.values?.all() ?? [];
  }

  removeLastValue(channel: string, event: string): void {
    const entry = this.#entries.get(channel);
    if (entry?.values == null) return;
    this.#bytes -= entry.bytes;
    entry.values.remove(event);
    this.#bytes += entry.bytes;
  }

  sizeOf(channel: string): { readonly messages: number; readonly bytes: number } {
    const entry = this.#entries.get(channel);
    return { messages: entry?.ring.size ?? 0, bytes: entry?.bytes ?? 0 };
  }

  floorOf(channel: string): number {
    return this.#entries.get(channel)?.ring.floor ?? this.#removed;
  }

  lacks(channel: string, rules: HistoryRules): boolean {
    const entry = this.#entries.get(channel);
    return entry === undefined || (!entry.extended && entry.ring.size < rules.count);
  }

  extend(channel: string, rules: HistoryRules, kept: readonly KeptMessage[], floor: number, why: Lost): void {
    const entry = this.#entries.get(channel) ?? this.#create(channel, rules);
    const before = entry.bytes;
    entry.extended = true;
    entry.ring.extend(kept, floor, why, rules);
    this.#use(entry, before);
    this.#removeOldest();
  }

  storedSince(seq: number): { from: number; messages: PlacedMessage[] } {
    const from = Math.max(seq, this.#removed);
    const messages: PlacedMessage[] = [];
    for (const { channel, rules, ring } of this.#entries.values()) {
      if (rules.stored !== true || rules.count === 0) continue;
      const dropped = ring.floor > from;
      if (dropped) messages.push({ channel, rules, message: null, seq: ring.floor });
      const found = ring.since(dropped ? ring.floor : from, Number.POSITIVE_INFINITY);
      if (typeof found === "string") continue;
      for (const message of found) messages.push({ channel, rules, message, seq: message.seq });
    }
    return { from, messages: messages.sort((a, b) => a.seq - b.seq) };
  }

  tick(now: number): void {
    this.#now = now;
    for (let i = 0; i < EXPIRED_PER_TICK; i++) {
      const entry: Entry | null = this.#expiring ?? this.#oldest;
      if (entry === null) return;
      this.#expire(entry);
      this.#expiring = entry.newer;
      if (this.#expiring === null) return;
    }
  }

  /** An entry without what is too old; it counts as used. */
  #fresh(channel: string): Entry | null {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return null;
    this.#expire(entry);
    this.#use(entry, entry.bytes);
    return entry;
  }

  #expire(entry: Entry): void {
    const before = entry.bytes;
    entry.ring.expire(this.#now - entry.rules.ttl);
    this.#bytes += entry.bytes - before;
  }

  #create(channel: string, rules: HistoryRules): Entry {
    const entry = new Entry(channel, new Ring(this.#removed, "too old"), rules);
    this.#entries.set(channel, entry);
    this.#bytes += entry.bytes;
    return entry;
  }

  /** Makes an entry, whose bytes were `before`, the newest one. */
  #use(entry: Entry, before: number): void {
    this.#bytes += entry.bytes - before;
    if (entry === this.#newest) return;
    this.#unlink(entry);
    entry.older = this.#newest;
    if (this.#newest === null) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  #unlink(entry: Entry): void {
    if (entry === this.#expiring) this.#expiring = entry.newer;
    if (entry.older !== null) entry.older.newer = entry.newer;
    else if (this.#oldest === entry) this.#oldest = entry.newer;
    if (entry.newer !== null) entry.newer.older = entry.older;
    else if (this.#newest === entry) this.#newest = entry.older;
    entry.older = null;
    entry.newer = null;
  }

  #removeOldest(): void {
    while (this.#bytes > this.#budget && this.#oldest !== null) {
      const entry: Entry = this.#oldest;
      this.#bytes -= entry.bytes;
      this.#removed = Math.max(this.#removed, entry.ring.newestSeq);
      this.#unlink(entry);
      this.#entries.delete(entry.channel);
    }
  }
}
