import type { Member } from "../channel.ts";
import { SERVER_CHANNELS } from "../client-events.ts";
import type { MembershipObserver } from "../hub.ts";
import {
  type ChangeKind,
  gapEvent,
  type MembershipChange,
  type MembershipWrite,
  STREAMS,
  streamOf,
  type WebhookStore,
} from "./webhook-store.ts";

/** How long changes are collected before they are written, and the pause after a failed write, in ms. */
const WINDOW = 50;
const RETRY_AFTER = 1000;

/** Changes that are written at once. */
const MAX_CHANGES = 1000;

/** Visits that wait to be written: a store that is away would collect them without end. */
const MAX_VISITS = 10_000;

export interface MembershipTrackerOptions {
  readonly store: WebhookStore;
  /** This server's incarnation. */
  readonly incarnation: () => string;
  /** Events were lost. */
  readonly lost: (events: number, reason: "backlog" | "unwritten") => void;
}

interface Change {
  readonly kind: ChangeKind;
  readonly at: number;
}

/**
 * Writes which users have members on this server, for the events about members. While the store is away it holds at most the
 * users at the last success, those of now, and `MAX_VISITS`.
 */
export class MembershipTracker implements MembershipObserver {
  readonly #options: MembershipTrackerOptions;
  /** By channel and user: the number of members. */
  readonly #members = new Map<string, Map<string | null, number>>();
  /** What is to be written, by channel and user. */
  readonly #changes = new Map<string, Map<string | null, Change>>();
  #visits = 0;
  /** When messages were lost, to be written; `null`: none were. */
  #gapAt: number | null = null;
  #timer: Timer | null = null;
  #writing: Promise<void> | null = null;
  #parting = false;
  #stopped = false;

  constructor(options: MembershipTrackerOptions) {
    this.#options = options;
  }

  /** Changes that are not written yet. */
  get waiting(): number {
    let waiting = this.#gapAt === null ? 0 : 1;
    for (const changes of this.#changes.values()) waiting += changes.size;
    return waiting;
  }

  joined({ user, channel }: Member): void {
    if (SERVER_CHANNELS.has(channel.name)) return;
    const key = channel.presence === null ? null : user;
    const users = this.#members.get(channel.name) ?? new Map<string | null, number>();
    const members = users.get(key) ?? 0;
    this.#members.set(channel.name, users.set(key, members + 1));
    if (members === 0) this.#changed(channel.name, key, "present");
  }

  left({ user, channel }: Member): void {
    const key = channel.presence === null ? null : user;
    const users = this.#members.get(channel.name);
    const members = users?.get(key);
    if (users === undefined || members === undefined) return;
    if (members > 1) {
      users.set(key, members - 1);
      return;
    }
    users.delete(key);
    if (users.size === 0) this.#members.delete(channel.name);
    // Its client comes back to another server; if it does not, that one removes what this server has written.
    if (!this.#parting) this.#changed(channel.name, key, "absent");
  }

  /** Messages of the bus were lost. */
  gap(): void {
    this.#gapAt ??= Date.now();
    this.#writeSoon(WINDOW);
  }

  /** The store is connected, for the first time or again: it may have lost something. */
  opened(): void {
    this.repeat();
    void this.#removeStale();
  }

  /** All members are written again: Redis lost them, or this server has a new incarnation. */
  repeat(): void {
    for (const [channel, users] of this.#members)
      for (const user of users.keys())
        if (this.#changes.get(channel)?.get(user) === undefined) this.#changed(channel, user, "present");
    this.#writeSoon(WINDOW);
  }

  /** From now on leaves are not written where another server finds who did not come back. */
  drain(): void {
    this.#parting = this.#options.store.shared !== null;
  }

  /** Writes what waits, once, then ends. */
  async stop(): Promise<void> {
    await this.#writing;
    await this.#write();
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #changed(channel: string, user: string | null, kind: "present" | "absent"): void {
    const changes = this.#changes.get(channel) ?? new Map<string | null, Change>();
    const before = changes.get(user)?.kind;
    if (before === "visited") this.#visits--;
    const next = before === "present" && kind === "absent" ? "visited" : kind;
    this.#set(channel, changes, user, { kind: next, at: Date.now() });
    this.#writeSoon(WINDOW);
  }

  #set(channel: string, changes: Map<string | null, Change>, user: string | null, change: Change): void {
    if (change.kind === "visited") {
      if (this.#visits >= MAX_VISITS) return this.#dropVisit(channel, changes, user, change.at);
      this.#visits++;
    }
    this.#changes.set(channel, changes.set(user, change));
  }

  /** That the user is absent is still written, at once or by `#removeStale`: its join may have been. */
  #dropVisit(channel: string, changes: Map<string | null, Change>, user: string | null, at: number): void {
    this.#options.lost(1, "unwritten");
    if (this.#options.store.ready) {
      this.#changes.set(channel, changes.set(user, { kind: "absent", at }));
      return;
    }
    changes.delete(user);
    if (changes.size === 0) this.#changes.delete(channel);
  }

  #writeSoon(ms: number): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#writing ??= this.#write().finally(() => {
        this.#writing = null;
      });
    }, ms);
  }

  async #write(): Promise<void> {
    const { store, lost, incarnation } = this.#options;
    const writes = store.ready ? this.#take() : [];
    const gapAt = this.#gapAt;
    const written = writes.length === 0 ? 0 : await store.write(incarnation(), writes);
    if (written === null) this.#restore(writes);
    else if (written > 0) lost(written, "backlog");
    if (store.ready && gapAt !== null && (await store.add(gapEvent(gapAt))) !== null) this.#gapAt = null;
    if (this.waiting > 0) this.#writeSoon(written === null || !store.ready ? RETRY_AFTER : WINDOW);
  }

  #take(): MembershipWrite[] {
    const writes: MembershipWrite[] = [];
    let taken = 0;
    for (const [channel, waiting] of this.#changes) {
      if (taken >= MAX_CHANGES) break;
      const changes: MembershipChange[] = [];
      for (const [user, { kind, at }] of waiting) {
        if (taken >= MAX_CHANGES) break;
        taken++;
        waiting.delete(user);
        if (kind === "visited") this.#visits--;
        changes.push({ user, kind, at });
      }
      if (waiting.size === 0) this.#changes.delete(channel);
      writes.push({ channel, changes });
    }
    return writes;
  }

  /** Takes back what was not written, or perhaps was. */
  #restore(writes: readonly MembershipWrite[]): void {
    for (const { channel, changes } of writes) {
      const newer = this.#changes.get(channel) ?? new Map<string | null, Change>();
      for (const { user, kind, at } of changes) {
        const later = newer.get(user);
        if (later === undefined) this.#set(channel, newer, user, { kind, at });
        else if (later.kind === "absent" && kind !== "absent")
          this.#set(channel, newer, user, { ...later, kind: "visited" });
      }
    }
  }

  /** Removes what the store has of this server, though it is gone: a store that lost its last writes. */
  async #removeStale(): Promise<void> {
    const { store, incarnation } = this.#options;
    if (store.shared === null) return;
    const server = incarnation();
    for (let stream = 0; stream < STREAMS; stream++) {
      for (const channel of (await store.shared.channelsOf(stream, server)) ?? []) {
        if (streamOf(channel) !== stream) continue;
        for (const user of (await store.shared.usersOf(channel, server)) ?? []) {
          const isHere = this.#members.get(channel)?.has(user) ?? false;
          const waits = this.#changes.get(channel)?.has(user) ?? false;
          if (!isHere && !waits && !this.#parting) this.#changed(channel, user, "absent");
        }
      }
    }
  }
}
