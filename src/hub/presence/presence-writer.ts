import type { PublishAck } from "../../bus/bus.ts";
import { MAX_NAMES } from "../admin-events.ts";
import { type BackendChanges, PendingChanges, type WrittenChanges } from "./pending-changes.ts";
import { EXPIRY, type PresenceDatabase, type PresenceWrite } from "./presence-database.ts";
import { Packing, packChange } from "./presence-packing.ts";
import type { PresenceOwner } from "./presence-store.ts";
import { encodeMessage } from "./presence-wire.ts";
import { type CountWrite, SharedCounts } from "./shared-counts.ts";
import { fieldOf, type SharedContext, type SharedPresence } from "./shared-presence.ts";

/** The `hub:` name that messages about presence travel on. */
export const KIND = "presence";

/** Bounds of the time for which changes are collected, in ms. */
const MIN_WINDOW = 20;
const MAX_WINDOW = 1000;

/** Pause after a failed write, in ms. */
const RETRY_AFTER = 1000;

/** Entries, and numbers of members, that are written in one go: Redis must answer within 2 s. */
const MAX_ENTRIES = 2000;
const MAX_COUNTS = 500;

/** Stored entries are renewed after this time, in ms, and so many channels in one go. */
const RENEW_AFTER = (EXPIRY / 3) * 1000;
const BATCH = 100;

/**
 * ms without a sign of this process itself, or without Redis, after which the others may have declared it dead. Nothing is
 * written before that is clear: they have sent its leaves to backends.
 */
const SUSPECT_AFTER = 5000;

export interface PresenceWriterOptions {
  readonly context: SharedContext;
  /** The loaded channels. */
  readonly channels: ReadonlyMap<string, SharedPresence>;
  readonly owner: () => PresenceOwner | null;
  readonly database: PresenceDatabase;
  readonly sign: (kind: string, body: string) => string;
  /** ms for which changes are collected before they are written. */
  readonly window: number;
  /** Maximum size of a message between servers, in bytes. */
  readonly maxMessage: number;
}

/** Writes and publishes what changes on this server: its members, how many they are, and what backends are sent of it. */
export class PresenceWriter {
  readonly counts = new SharedCounts();
  readonly #options: PresenceWriterOptions;
  /** By channel; also of channels that are closed. */
  readonly #pending = new Map<string, PendingChanges>();
  /** The number of the last message with changes. */
  #seq = 0;
  #timer: Timer | null = null;
  /** What is being written; each waits for the one before, so that messages are published in order of their numbers. */
  #last: Promise<unknown> = Promise.resolve();
  #running = 0;
  #pulseAt = performance.now();
  /** When Redis was connected last. */
  #readyAt = performance.now();
  /** Whether it is to be checked if this server was declared dead. */
  #suspect = false;
  #stopped = false;

  constructor(options: PresenceWriterOptions) {
    this.#options = options;
  }

  /** The changes of a channel that are not shared yet; to be called for each change. */
  pending(channel: string): PendingChanges {
    const pending = this.#pendingOf(channel);
    this.flushSoon();
    return pending;
  }

  /** Whether nothing of this server is on its way to the stored entries of a channel. */
  isCalm(channel: string): boolean {
    return this.#running === 0 && !this.#pending.has(channel) && !this.#options.context.parting;
  }

  /** Drops what is pending: under a new incarnation all entries are new ones. */
  renew(): void {
    this.#seq = 0;
    this.#suspect = false;
    this.#pending.clear();
    this.counts.repeat();
  }

  flushSoon(ms = this.#options.window): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => void this.flush(), Math.max(MIN_WINDOW, Math.min(ms, MAX_WINDOW)));
  }

  /** Writes and publishes what is pending. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const done = await this.#inOrder(() => this.#flush());
    if (!done) this.flushSoon(RETRY_AFTER);
    else if (this.counts.waiting || this.#hasPending()) this.flushSoon();
  }

  /** In each round: what backends did not accept is sent again. */
  retry(): void {
    if (this.#pending.size > 0) this.flushSoon(0);
  }

  /** Publishes a message without changes. */
  publish(...fields: readonly string[]): Promise<boolean> {
    const { database } = this.#options;
    return this.#inOrder(
      async () =>
        database.ready &&
        (await database.write(
          [],
          fields.map((each) => this.#message(each)),
        )),
    );
  }

  /** To be called each second. */
  checkPulse(): void {
    const now = performance.now();
    if (now - this.#pulseAt > SUSPECT_AFTER) this.#suspect = true;
    this.#pulseAt = now;
    if (!this.#options.database.ready) return;
    if (now - this.#readyAt > SUSPECT_AFTER) this.#suspect = true;
    this.#readyAt = now;
  }

  /** Removes the numbers of members of a dead server, and announces which channels have none any more. */
  removeCounts(incarnation: string, channels: readonly string[]): Promise<boolean> {
    const writes = channels.map((channel) => ({
      channel,
      members: 0,
      opens: false,
      announced: true,
      counted: false,
    }));
    return this.#inOrder(() => this.#occupy(incarnation, writes));
  }

  /** Renews the entries of this server, and writes those again that Redis lost. */
  async renewEntries(): Promise<void> {
    const { channels, database, context } = this.#options;
    const now = performance.now();
    const due = [...channels.values()].filter(
      ({ own, renewedAt }) => own.size > 0 && now - renewedAt > RENEW_AFTER,
    );
    for (let at = 0; at < due.length; at += BATCH) {
      const batch = due.slice(at, at + BATCH);
      const lost = await database.renew(
        context.incarnation,
        batch.map(({ name }) => name),
      );
      if (lost === null) return;
      for (const presence of batch) {
        presence.renewedAt = now;
        if (!lost.includes(presence.name)) continue;
        for (const meta of presence.own.values()) this.pending(presence.name).joined(meta);
      }
    }
  }

  async stop(): Promise<void> {
    await this.flush();
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #inOrder<T>(run: () => Promise<T>): Promise<T> {
    this.#running++;
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    try {
      return await result;
    } finally {
      this.#running--;
    }
  }

  #pendingOf(channel: string): PendingChanges {
    const pending = this.#pending.get(channel) ?? new PendingChanges();
    this.#pending.set(channel, pending);
    return pending;
  }

  /** Whether there is something to write. What backends did not accept waits for the next round. */
  #hasPending(): boolean {
    for (const pending of this.#pending.values()) if (!pending.empty) return true;
    return false;
  }

  /** Whether the other servers do not take this one for dead. If they do, `Servers` finds that and renews the incarnation. */
  async #isAccepted(): Promise<boolean> {
    this.checkPulse();
    if (!this.#suspect) return true;
    const { context, database } = this.#options;
    const { incarnation } = context;
    const dead = await database.isDead(incarnation);
    if (dead !== false || incarnation !== context.incarnation) return false;
    this.#suspect = false;
    return true;
  }

  async #flush(): Promise<boolean> {
    const { database, context, maxMessage } = this.#options;
    if (!(await this.#isAccepted())) return false;
    const counted = database.ready && (await this.#writeCounts());
    // In one turn with the entries: if this server is killed, another one sends the leaves of what was sent here.
    this.#exportAll();
    if (!counted) return false;
    const taken = new Map<string, WrittenChanges>();
    const writes: PresenceWrite[] = [];
    const packing = new Packing(maxMessage);
    let entries = 0;
    for (const [channel, pending] of this.#pending) {
      if (entries > MAX_ENTRIES) break;
      if (!pending.empty) {
        const changes = pending.take();
        entries += changes.joins.size + changes.leaves.size;
        taken.set(channel, changes);
        writes.push(this.#prepare(channel, changes, packing));
      }
      if (pending.backends.empty) this.#pending.delete(channel);
    }
    if (writes.length === 0) return true;
    const { incarnation } = context;
    const accepted = await database.write(writes, this.#numbered("c", packing));
    // Under a new incarnation all entries are new ones.
    if (accepted || incarnation !== context.incarnation) return true;
    for (const [channel, changes] of taken) this.#restore(channel, changes);
    return false;
  }

  #restore(channel: string, changes: WrittenChanges): void {
    this.#pendingOf(channel).restore(changes);
    const presence = this.#options.channels.get(channel);
    if (presence !== undefined) presence.renewedAt = Number.NEGATIVE_INFINITY;
  }

  #prepare(channel: string, { joins, leaves }: WrittenChanges, packing: Packing): PresenceWrite {
    const { context, channels, maxMessage } = this.#options;
    const stored = packChange(packing, maxMessage, channel, joins.values(), leaves.keys());
    const set: string[] = [];
    let at = 0;
    for (const ref of joins.keys()) set.push(fieldOf(context.incarnation, ref), stored[at++] ?? "");
    const remove = [...leaves].map(([ref, incarnation]) => fieldOf(incarnation, ref));
    const presence = channels.get(channel);
    const now = performance.now();
    const renew = set.length > 0 && (presence === undefined || now - presence.renewedAt > RENEW_AFTER);
    if (renew && presence !== undefined) presence.renewedAt = now;
    return { channel, set, remove, renew };
  }

  async #writeCounts(): Promise<boolean> {
    const writes = this.counts.take(MAX_COUNTS);
    if (writes.length === 0) return true;
    const { context } = this.#options;
    const { incarnation } = context;
    if (await this.#occupy(incarnation, writes)) return true;
    if (incarnation === context.incarnation) this.counts.restore(writes);
    return false;
  }

  /** Writes the numbers of members of a server, and announces which channels have their first member, or none any more. */
  async #occupy(incarnation: string, writes: readonly CountWrite[]): Promise<boolean> {
    const { context, database, owner, maxMessage } = this.#options;
    const stored = await database.occupy(incarnation, writes);
    if (stored === null) return false;
    const [added, removed]: [CountWrite[], CountWrite[]] = [[], []];
    const isOther = (one: string): boolean => context.peers.has(one);
    for (const [i, write] of writes.entries()) {
      const { channel, members, opens } = write;
      const counts = stored[i] ?? new Map<string, number>();
      if (this.counts.stored(channel, counts, isOther)) owner()?.countChanged(channel);
      const others = [...counts.keys()].some(
        (one) => one !== incarnation && (isOther(one) || one === context.incarnation),
      );
      if (!others && opens) added.push(write);
      if (!others && members === 0) removed.push(write);
    }
    const notices = await this.#announce(added, removed);
    if (notices === null) return false;
    const packing = new Packing(maxMessage);
    for (const { channel, members, counted } of writes) {
      if (counted) packing.add(JSON.stringify([channel, members]));
    }
    const messages = [...this.#numbered("a", notices), ...this.#numbered("m", packing)];
    // Who misses one of these numbers reads the stored counts.
    if (messages.length > 0) await database.write([], messages);
    return true;
  }

  /** Returns what other servers are sent; `null` if the names of all channels could not be read. */
  async #announce(added: readonly CountWrite[], removed: readonly CountWrite[]): Promise<Packing | null> {
    const { database, owner, maxMessage } = this.#options;
    const packing = new Packing(maxMessage);
    if (added.length + removed.length === 0) return packing;
    const closed = removed.map(({ channel }) => channel);
    const open = await database.listOpen(closed, MAX_NAMES);
    if (open === null) return null;
    for (const [event, writes] of [
      ["channel.add", added],
      ["channel.remove", removed],
    ] as const) {
      for (const { channel, announced } of writes) {
        const payload = announced ? (owner()?.announce(event, channel, open) ?? null) : null;
        if (payload !== null) packing.add(JSON.stringify([event, payload]));
      }
    }
    return packing;
  }

  /** Sends backends what they lack: one diff for each channel. */
  #exportAll(): void {
    const { owner, context } = this.#options;
    const send = owner()?.export ?? null;
    for (const [channel, pending] of this.#pending) {
      if (pending.backends.empty) continue;
      if (send === null) pending.backends.clear();
      else if (context.live) {
        const taken = pending.backends.take();
        send(channel, taken.encode(), new ExportAck(() => this.#pendingOf(channel).backends, taken));
      }
    }
  }

  /** Messages with changes, each with the next number. */
  #numbered(name: string, packing: Packing): string[] {
    return packing.end().map((values) => {
      this.#seq++;
      return this.#message(`"${name}":${values}`);
    });
  }

  #message(fields: string): string {
    const { sign, context } = this.#options;
    return sign(KIND, encodeMessage(context.incarnation, this.#seq, fields));
  }
}

/** Gives back what backends did not get. */
class ExportAck implements PublishAck {
  readonly #changes: () => BackendChanges;
  readonly #taken: BackendChanges;

  constructor(changes: () => BackendChanges, taken: BackendChanges) {
    this.#changes = changes;
    this.#taken = taken;
  }

  settled(accepted: boolean): void {
    if (!accepted) this.#changes().restore(this.#taken);
  }
}
