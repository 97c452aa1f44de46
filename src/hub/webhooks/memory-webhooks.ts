import type { WebhookEventName } from "../../config/webhook-events.ts";
import {
  type BatchOutcome,
  COLLECT,
  GAP_EVERY,
  gapEvent,
  MAX_BATCH,
  MAX_EVENTS,
  type MembershipChange,
  type MembershipWrite,
  type Polled,
  STREAMS,
  streamOf,
  VACANT_AFTER,
  type WebhookBatch,
  type WebhookError,
  type WebhookEvent,
  type WebhookStatus,
  type WebhookStore,
  type WebhookStoreOptions,
} from "./webhook-store.ts";

/** An event and when it was written (`Date.now()`). */
interface Waiting {
  readonly event: WebhookEvent;
  readonly since: number;
}

interface Stream {
  readonly waiting: Waiting[];
  /** By channel, only channels with members. */
  readonly members: Map<string, Set<string | null>>;
  /** Channels without members that are not vacated yet, with the time at which they will be, in that order. */
  readonly vacant: Map<string, number>;
  batch: WebhookBatch | null;
  /** How many of `waiting` the batch holds. */
  batched: number;
  /** Batches since the start. */
  formed: number;
  owner: string | null;
  error: WebhookError | null;
  nextGap: number;
}

/**
 * Keeps members and events in this process: for a server that shares no Redis with others. All streams together hold as many events
 * as one does in Redis.
 */
export class MemoryWebhookStore implements WebhookStore {
  readonly shared = null;
  readonly ready = true;
  readonly #wanted: ReadonlySet<WebhookEventName>;
  readonly #max: number;
  readonly #vacantAfter: number;
  readonly #streams: readonly Stream[] = Array.from({ length: STREAMS }, createStream);
  /** Events that wait in all streams. */
  #total = 0;
  /** Part of the ids of batches: a receiver may know those of an earlier process. */
  readonly #id = crypto.randomUUID();

  constructor({ events, maxEvents = MAX_EVENTS, vacantAfter = VACANT_AFTER }: WebhookStoreOptions) {
    this.#wanted = events;
    this.#max = maxEvents;
    this.#vacantAfter = vacantAfter;
  }

  start(opened: () => void): void {
    opened();
  }

  async write(_server: string, writes: readonly MembershipWrite[]): Promise<number> {
    let dropped = 0;
    for (const { channel, changes } of writes) {
      const stream = this.#stream(streamOf(channel));
      for (const change of changes) dropped += this.#apply(stream, channel, change);
    }
    return dropped;
  }

  async add(event: WebhookEvent): Promise<number> {
    return this.#append(this.#stream(streamOf(event.channel)), event);
  }

  async poll(number: number, owner: string, leaseOnly: boolean): Promise<Polled> {
    const stream = this.#stream(number);
    if (stream.owner !== null && stream.owner !== owner) return { kind: "other" };
    stream.owner = owner;
    const now = Date.now();
    const dropped = this.#vacate(stream, now);
    const backlog = stream.waiting.length;
    const batch = leaseOnly ? null : (stream.batch ?? this.#form(stream, number, now));
    return batch === null ? { kind: "idle", backlog, dropped } : { kind: "batch", backlog, dropped, batch };
  }

  async finish(number: number, owner: string, batch: WebhookBatch, outcome: BatchOutcome): Promise<boolean> {
    const stream = this.#stream(number);
    if (stream.owner !== owner || stream.batch?.id !== batch.id) return false;
    this.#remove(stream, stream.batched);
    stream.batch = null;
    if (outcome === "delivered") stream.error = null;
    else this.#append(stream, gapEvent(Date.now()));
    return true;
  }

  async failed(number: number, error: WebhookError): Promise<void> {
    this.#stream(number).error = error;
  }

  async release(number: number, owner: string): Promise<void> {
    const stream = this.#stream(number);
    if (stream.owner === owner) stream.owner = null;
  }

  async status(): Promise<WebhookStatus> {
    let backlog = 0;
    let lastError: WebhookError | null = null;
    for (const { waiting, error } of this.#streams) {
      backlog += waiting.length;
      if (error !== null && error.at >= (lastError?.at ?? 0)) lastError = error;
    }
    return { backlog, lastError };
  }

  stop(): void {}

  #stream(number: number): Stream {
    const stream = this.#streams[number];
    if (stream === undefined) throw new RangeError(`no stream ${number}`);
    return stream;
  }

  #apply(stream: Stream, channel: string, { user, kind, at }: MembershipChange): number {
    const entered = kind === "absent" ? 0 : this.#enter(stream, channel, user, at);
    return kind === "present" ? entered : entered + this.#leave(stream, channel, user, at);
  }

  #enter(stream: Stream, channel: string, user: string | null, at: number): number {
    const users = stream.members.get(channel) ?? new Set<string | null>();
    if (users.has(user)) return 0;
    const opens = users.size === 0 && !stream.vacant.delete(channel);
    stream.members.set(channel, users.add(user));
    const occupied = opens ? this.#append(stream, { event: "channel_occupied", channel, user: null, at }) : 0;
    return user === null
      ? occupied
      : occupied + this.#append(stream, { event: "member_added", channel, user, at });
  }

  #leave(stream: Stream, channel: string, user: string | null, at: number): number {
    const users = stream.members.get(channel);
    if (users?.delete(user) !== true) return 0;
    if (users.size === 0) {
      stream.members.delete(channel);
      stream.vacant.set(channel, Date.now() + this.#vacantAfter);
    }
    return user === null ? 0 : this.#append(stream, { event: "member_removed", channel, user, at });
  }

  /** Returns the number of events that were dropped for it. */
  #vacate(stream: Stream, now: number): number {
    let dropped = 0;
    for (const [channel, due] of stream.vacant) {
      if (due > now) break;
      stream.vacant.delete(channel);
      dropped += this.#append(stream, { event: "channel_vacated", channel, user: null, at: due });
    }
    return dropped;
  }

  /** Returns the number of events that were dropped for it. */
  #append(stream: Stream, event: WebhookEvent): number {
    if (!this.#wanted.has(event.event)) return 0;
    const since = Date.now();
    stream.waiting.push({ event, since });
    this.#total++;
    if (this.#total <= this.#max) return 0;
    const longest = this.#streams.reduce((a, b) => (b.waiting.length > a.waiting.length ? b : a));
    this.#remove(longest, 1);
    if (since < longest.nextGap) return 1;
    longest.nextGap = since + GAP_EVERY;
    return 1 + this.#append(longest, gapEvent(since));
  }

  /** Removes the oldest events. */
  #remove(stream: Stream, count: number): void {
    stream.waiting.splice(0, count);
    stream.batched = Math.max(0, stream.batched - count);
    this.#total -= count;
  }

  #form(stream: Stream, number: number, now: number): WebhookBatch | null {
    const { waiting } = stream;
    const [oldest] = waiting;
    if (oldest === undefined) return null;
    if (waiting.length < MAX_BATCH && now - oldest.since < COLLECT) return null;
    const events = waiting.slice(0, MAX_BATCH).map(({ event }) => event);
    stream.batched = events.length;
    stream.formed++;
    stream.batch = { id: `${this.#id}-${number}-${stream.formed}`, at: now, events };
    return stream.batch;
  }
}

function createStream(): Stream {
  return {
    ...{ waiting: [], members: new Map(), vacant: new Map(), batch: null, batched: 0, formed: 0 },
    ...{ owner: null, error: null, nextGap: 0 },
  };
}
