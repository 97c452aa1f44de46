import type { PublishAck } from "../../bus/bus.ts";
import { MAX_NAMES } from "../admin-events.ts";
import type { OtherServer, Servers } from "../servers.ts";
import { type BackendChanges, PendingChanges } from "./pending-changes.ts";
import { EXPIRY, type PresenceDatabase, type PresenceWrite } from "./presence-database.ts";
import { Packing, packChange } from "./presence-packing.ts";
import type { ChannelPresence, Meta, PresenceOwner, PresenceStore } from "./presence-store.ts";
import { decodeEntry, decodeMessage, type PresenceMessage } from "./presence-wire.ts";
import { type CountWrite, SharedCounts } from "./shared-counts.ts";
import { fieldOf, type Peer, type SharedContext, SharedPresence } from "./shared-presence.ts";

/** Messages between servers on `hub:presence`, signed. */
export interface PresenceMessages {
  on(kind: string, handler: (body: Buffer) => void): void;
  sign(kind: string, body: string): string;
}

export interface SharedPresenceOptions {
  /** Called first by `start`. */
  readonly servers: () => Servers;
  readonly database: PresenceDatabase;
  readonly messages: PresenceMessages;
  /** ms for which changes are collected before they are written. */
  readonly window: number;
  /** Maximum size of a message that the bus delivers, in bytes. */
  readonly maxMessage: number;
}

const KIND = "presence";

/** Bounds of the time for which changes are collected, in ms. */
const MIN_WINDOW = 20;
const MAX_WINDOW = 1000;

/** Maximum size of a message between servers, in bytes: each of them is read by all. */
const MAX_MESSAGE = 64 * 1024;

/** Pause after a failed write, in ms. */
const RETRY_AFTER = 1000;

/** Channels that are read, written or renewed in one go. */
const BATCH = 100;

/** Before the entries of all channels are read again: at least, and at most, in ms. Servers miss the same messages. */
const READ_AFTER = 50;
const READ_WITHIN = 500;

/** A server that lives is known after this time, in ms: each reports every 2 s. Until then entries are read again. */
const KNOWN_WITHIN = 2500;
const READ_AGAIN_AFTER = 200;

/** Between two rounds of what is done regularly, in ms: the own number is published, strangers are looked at. */
const ROUND = 5000;

/**
 * ms without a sign of this process itself, or without Redis, after which the others may have declared it dead. Nothing is
 * written before that is clear: they have told backends of its leaves.
 */
const SUSPECT_AFTER = 5000;
const PULSE = 1000;

/** How long a server is unknown, or dead, before its entries are removed by this one, in ms. */
const STRANGE_FOR = 20_000;
const DEAD_FOR = 60_000;
const MAX_STRANGERS = 1000;

/** Stored entries are renewed after this time, in ms. */
const RENEW_AFTER = (EXPIRY / 3) * 1000;

/**
 * Presence of all servers on one Redis. The entries of a channel are stored by the servers that hold the connections; each
 * publishes its changes with a number. A server reads the entries when its first member of a channel joins, and again
 * when it missed a number. That an entry is gone is known only from its server, or when that one is dead: an entry that is
 * missing in Redis, which may have lost it, is asked about.
 */
export class SharedPresenceStore implements PresenceStore, SharedContext {
  readonly #options: SharedPresenceOptions;
  #owner: PresenceOwner | null = null;
  readonly #maxMessage: number;
  readonly #counts = new SharedCounts();
  readonly #channels = new Map<string, SharedPresence>();
  /** By channel; also of channels that are closed. */
  readonly #pending = new Map<string, PendingChanges>();
  readonly peers = new Map<string, Peer>();
  anyParting = false;
  parting = false;
  renewing = false;
  /** Whether messages flow over the bus. */
  live = false;
  #seq = 0;
  /** Channels whose entries are to be read at the end of this turn. */
  #requests: SharedPresence[] = [];
  #flushTimer: Timer | null = null;
  #flushing: Promise<void> | null = null;
  #readTimer: Timer | null = null;
  /** Whether the entries of all channels are being read, and are to be read again after that. */
  #reading = false;
  #readAgain = false;
  #numberTimer: Timer | null = null;
  #sayHello = false;
  #round: Timer | null = null;
  #pulse: Timer | null = null;
  #pulseAt = performance.now();
  /** When Redis was connected last. */
  #readyAt = performance.now();
  /** Whether it is to be checked if this server was declared dead. */
  #suspect = false;
  /** Servers that are not known, and since when their entries were seen (`performance.now()`). */
  readonly #strangers = new Map<string, number>();
  /** Servers that are dead, and since when. */
  readonly #dead = new Map<string, number>();
  /** Dead servers for which this one acts. */
  readonly #unfinished = new Set<string>();
  #stopped = false;

  constructor(options: SharedPresenceOptions) {
    this.#options = options;
    this.#maxMessage = Math.min(MAX_MESSAGE, options.maxMessage);
    options.messages.on(KIND, (body) => this.#received(body));
  }

  get shared(): boolean {
    return this.peers.size > 0;
  }

  get incarnation(): string {
    return this.#options.servers().incarnation;
  }

  start(owner: PresenceOwner): void {
    this.#owner = owner;
    this.#options.servers().observe({
      joined: (server) => this.#joined(server),
      died: (server, won) => this.#died(server.incarnation, won),
      renewed: () => this.#renewed(),
    });
    this.#round = setInterval(() => void this.#doRound(), ROUND);
    this.#pulse = setInterval(() => this.#checkPulse(), PULSE);
    this.#options.database.start(() => void this.#opened());
  }

  load(channel: string): ChannelPresence {
    const presence = new SharedPresence(channel, this);
    this.#channels.set(channel, presence);
    return presence;
  }

  unload(channel: string): void {
    this.#channels.delete(channel);
  }

  membersChanged(channel: string, members: number, counted: boolean): void {
    if (this.parting) return;
    this.#counts.set(channel, members, counted, this.shared);
    this.#flushSoon(this.#options.window);
  }

  elsewhere(channel: string): number {
    return this.#counts.elsewhere(channel);
  }

  connectionChanged(live: boolean): void {
    this.live = live;
    if (!live) return;
    this.#publishNumber(true);
    this.#flushSoon(0);
  }

  drain(): void {
    this.parting = this.#options.database.ready && [...this.peers.values()].some((peer) => !peer.parting);
    if (!this.parting) return;
    void this.#flush();
    void this.#options.database.write([], [this.#message('"parting":true')]);
  }

  async stop(): Promise<void> {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    await this.#flushing;
    await this.#flush();
    this.#stopped = true;
    for (const timer of [this.#flushTimer, this.#readTimer, this.#numberTimer]) {
      if (timer !== null) clearTimeout(timer);
    }
    for (const timer of [this.#round, this.#pulse]) if (timer !== null) clearInterval(timer);
    await this.#options.database.stop();
  }

  request(presence: SharedPresence): void {
    if (this.#stopped || this.#channels.get(presence.name) !== presence) return;
    this.#requests.push(presence);
    if (this.#requests.length === 1) setImmediate(() => this.#readRequested());
  }

  pending(channel: string): PendingChanges {
    let pending = this.#pending.get(channel);
    if (pending === undefined) {
      pending = new PendingChanges();
      this.#pending.set(channel, pending);
    }
    this.#flushSoon(this.#options.window);
    return pending;
  }

  stranger(channel: string, incarnation: string, ref: string): void {
    const now = performance.now();
    const died = this.#dead.get(incarnation);
    if (died !== undefined) {
      // The one that acts for it reads its entries first.
      if (now - died > DEAD_FOR) this.pending(channel).leaves.set(ref, incarnation);
    } else if (!this.#strangers.has(incarnation) && this.#strangers.size < MAX_STRANGERS) {
      this.#strangers.set(incarnation, now);
    }
  }

  // Other servers.

  #joined({ incarnation }: OtherServer): void {
    this.peers.set(incarnation, { incarnation, seq: 0, parting: false });
    this.#strangers.delete(incarnation);
    this.#publishNumber(true);
  }

  #died(incarnation: string, won: boolean): void {
    const peer = this.peers.get(incarnation);
    this.peers.delete(incarnation);
    this.#strangers.delete(incarnation);
    this.anyParting = [...this.peers.values()].some(({ parting }) => parting);
    this.#dead.set(incarnation, performance.now());
    const [oldest] = this.#dead.keys();
    if (this.#dead.size > MAX_STRANGERS && oldest !== undefined) this.#dead.delete(oldest);
    if (peer !== undefined) {
      for (const presence of this.#channels.values()) {
        if (presence.drop(peer)) this.#owner?.changed(presence.name);
      }
    }
    for (const channel of this.#counts.died(incarnation)) this.#owner?.countChanged(channel);
    if (!won) return;
    this.#unfinished.add(incarnation);
    void this.#finish(incarnation);
  }

  /** This server continues under a new incarnation: the others have removed its entries, and told backends. */
  #renewed(): void {
    this.#seq = 0;
    this.#suspect = false;
    this.#pending.clear();
    this.renewing = true;
    this.#owner?.renewRefs();
    this.renewing = false;
    for (const presence of this.#channels.values()) presence.renewedAt = Number.NEGATIVE_INFINITY;
    this.#counts.repeat();
    this.#readSoon();
  }

  #received(body: Buffer): void {
    const message = decodeMessage(body);
    if (message === null || message.from === this.incarnation || this.#stopped) return;
    if (message.hello) this.#publishNumber(false);
    const peer = this.peers.get(message.from);
    // A server that is not known yet: its entries are read when it is.
    if (peer === undefined) return;
    const { changes, counts, notices, seq } = message;
    const numbered = changes.length + counts.length + notices.length > 0;
    if (numbered ? seq <= peer.seq : seq < peer.seq) return;
    if (seq !== (numbered ? peer.seq + 1 : peer.seq)) {
      this.#counts.repeat();
      this.#readSoon();
    }
    peer.seq = seq;
    if (message.parting && !peer.parting) {
      peer.parting = true;
      this.anyParting = true;
    }
    for (const change of changes) {
      if (this.#channels.get(change.channel)?.receive(peer, change) === true)
        this.#owner?.changed(change.channel);
    }
    for (const count of counts) {
      if (this.#counts.received(peer.incarnation, count)) this.#owner?.countChanged(count.channel);
    }
    for (const { event, payload } of notices) this.#owner?.announced(event, payload);
    this.#answer(message);
  }

  /** What another server lacks among the stored entries of this one is published again: as a leave, or as it is. */
  #answer({ question }: PresenceMessage): void {
    if (question === null || question.to !== this.incarnation) return;
    for (const { channel, leaves } of question.channels) {
      const own = this.#channels.get(channel)?.own;
      const pending = this.pending(channel);
      for (const ref of leaves) {
        const meta = own?.get(ref);
        if (meta !== undefined) pending.joined(meta);
        else if (!this.parting) pending.leaves.set(ref, this.incarnation);
      }
    }
  }

  // Writing.

  #flushSoon(ms: number): void {
    if (this.#stopped || this.#flushing !== null) return;
    this.#flushTimer ??= setTimeout(() => void this.#flush(), Math.max(MIN_WINDOW, Math.min(ms, MAX_WINDOW)));
  }

  /** Writes and publishes what is pending. One at a time, so that the order is kept. */
  #flush(): Promise<void> {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    this.#flushing ??= this.#flushOnce().then((done) => {
      this.#flushing = null;
      if (!done) this.#flushSoon(RETRY_AFTER);
      else if (this.#counts.waiting || this.#hasPending()) this.#flushSoon(this.#options.window);
    });
    return this.#flushing;
  }

  #checkPulse(): void {
    const now = performance.now();
    if (now - this.#pulseAt > SUSPECT_AFTER) this.#suspect = true;
    this.#pulseAt = now;
    if (!this.#options.database.ready) return;
    if (now - this.#readyAt > SUSPECT_AFTER) this.#suspect = true;
    this.#readyAt = now;
  }

  /** Whether the other servers do not take this one for dead. If they do, `Servers` finds that and renews the incarnation. */
  async #isAccepted(): Promise<boolean> {
    this.#checkPulse();
    if (!this.#suspect) return true;
    const { incarnation } = this;
    const dead = await this.#options.database.isDead(incarnation);
    if (dead !== false || incarnation !== this.incarnation) return false;
    this.#suspect = false;
    return true;
  }

  /** Whether there is something to write. What backends did not accept waits for the next round. */
  #hasPending(): boolean {
    for (const pending of this.#pending.values()) if (!pending.empty) return true;
    return false;
  }

  async #flushOnce(): Promise<boolean> {
    const { database } = this.#options;
    if (!(await this.#isAccepted())) return false;
    this.#exportAll();
    if (!database.ready || !(await this.#writeCounts())) return false;
    const taken = new Map<string, { joins: Map<string, Meta>; leaves: Map<string, string> }>();
    const writes: PresenceWrite[] = [];
    const packing = new Packing(this.#maxMessage);
    for (const [channel, pending] of this.#pending) {
      if (!pending.empty) {
        const { joins, leaves } = pending;
        taken.set(channel, { joins, leaves });
        writes.push(this.#prepare(channel, joins, leaves, packing));
        pending.joins = new Map();
        pending.leaves = new Map();
        pending.uncertain = null;
      }
      if (pending.backends.empty) this.#pending.delete(channel);
    }
    if (writes.length === 0) return true;
    const messages = packing.end().map((changes) => this.#message(`"c":${changes}`, ++this.#seq));
    const incarnation = this.incarnation;
    const accepted = await database.write(writes, messages);
    // Under a new incarnation all entries are new ones.
    if (accepted || incarnation !== this.incarnation) return true;
    for (const [channel, { joins, leaves }] of taken) {
      this.#restored(channel).restore(joins, leaves);
      const presence = this.#channels.get(channel);
      if (presence !== undefined) presence.renewedAt = Number.NEGATIVE_INFINITY;
    }
    return false;
  }

  async #writeCounts(): Promise<boolean> {
    const writes = this.#counts.take();
    if (writes.length === 0) return true;
    const { incarnation } = this;
    if (await this.#occupy(incarnation, writes)) return true;
    if (incarnation === this.incarnation) this.#counts.restore(writes);
    return false;
  }

  /** Writes the numbers of members of a server, and announces which channels have their first member, or none any more. */
  async #occupy(incarnation: string, writes: readonly CountWrite[]): Promise<boolean> {
    const { database } = this.#options;
    const stored = await database.occupy(incarnation, writes);
    if (stored === null) return false;
    const [added, removed]: [CountWrite[], CountWrite[]] = [[], []];
    const isOther = (one: string): boolean => this.peers.has(one);
    for (const [i, write] of writes.entries()) {
      const { channel, members, opens } = write;
      const counts = stored[i] ?? new Map<string, number>();
      if (this.#counts.stored(channel, counts, isOther)) this.#owner?.countChanged(channel);
      const others = [...counts.keys()].some(
        (one) => one !== incarnation && (isOther(one) || one === this.incarnation),
      );
      if (!others && opens) added.push(write);
      if (!others && members === 0) removed.push(write);
    }
    const notices = await this.#announce(added, removed);
    if (notices === null) return false;
    const packing = new Packing(this.#maxMessage);
    if (incarnation === this.incarnation) {
      for (const { channel, members } of this.#counts.published(writes)) {
        packing.add(JSON.stringify([channel, members]));
      }
    }
    const messages = packing.end().map((counts) => this.#message(`"m":${counts}`, ++this.#seq));
    return messages.length + notices.length === 0 || database.write([], [...messages, ...notices]);
  }

  /** Returns the messages for other servers; `null` if the names of all channels could not be read. */
  async #announce(added: readonly CountWrite[], removed: readonly CountWrite[]): Promise<string[] | null> {
    if (added.length + removed.length === 0) return [];
    const [opened, closed] = [added.map(({ channel }) => channel), removed.map(({ channel }) => channel)];
    const open = await this.#options.database.listOpen(opened, closed, MAX_NAMES);
    if (open === null || this.#owner === null) return null;
    const packing = new Packing(this.#maxMessage);
    for (const [event, writes] of [
      ["channel.add", added],
      ["channel.remove", removed],
    ] as const) {
      for (const { channel, announced } of writes) {
        if (!announced) continue;
        const payload = this.#owner.announce(event, channel, open);
        if (payload !== null) packing.add(JSON.stringify([event, payload]));
      }
    }
    return packing.end().map((notices) => this.#message(`"a":${notices}`, ++this.#seq));
  }

  #prepare(
    channel: string,
    joins: ReadonlyMap<string, Meta>,
    leaves: ReadonlyMap<string, string>,
    packing: Packing,
  ): PresenceWrite {
    const stored = packChange(packing, this.#maxMessage, channel, joins.values(), leaves.keys());
    const set: string[] = [];
    let at = 0;
    for (const ref of joins.keys()) set.push(fieldOf(this.incarnation, ref), stored[at++] ?? "");
    const remove = [...leaves].map(([ref, incarnation]) => fieldOf(incarnation, ref));
    const presence = this.#channels.get(channel);
    const now = performance.now();
    const renew = set.length > 0 && (presence === undefined || now - presence.renewedAt > RENEW_AFTER);
    if (renew && presence !== undefined) presence.renewedAt = now;
    return { channel, set, remove, renew };
  }

  /** The changes of a channel, without a new attempt. */
  #restored(channel: string): PendingChanges {
    const pending = this.#pending.get(channel) ?? new PendingChanges();
    this.#pending.set(channel, pending);
    return pending;
  }

  /** Sends backends what they lack: one diff for each channel. */
  #exportAll(): void {
    const send = this.#owner?.export ?? null;
    for (const [channel, pending] of this.#pending) {
      if (pending.backends.empty) continue;
      if (send === null) pending.backends.clear();
      else if (this.live) {
        const taken = pending.backends.take();
        send(channel, taken.encode(), new ExportAck(() => this.#restored(channel).backends, taken));
      }
    }
  }

  #message(fields: string, seq = this.#seq): string {
    const body = `{"i":"${this.incarnation}","n":${seq}${fields === "" ? "" : `,${fields}`}}`;
    return this.#options.messages.sign(KIND, body);
  }

  /** Publishes the number of the last message, so that others notice what they missed. */
  #publishNumber(hello: boolean): void {
    this.#sayHello ||= hello;
    this.#numberTimer ??= setTimeout(() => {
      this.#numberTimer = null;
      const { database } = this.#options;
      if (!database.ready || this.#stopped) return;
      const fields = this.#sayHello ? '"hello":true' : "";
      this.#sayHello = false;
      void this.#afterFlush(() => database.write([], [this.#message(fields)]));
    }, READ_AFTER);
  }

  /** A number must not overtake the messages that it counts. */
  async #afterFlush(run: () => Promise<unknown>): Promise<void> {
    await this.#flushing;
    await run();
  }

  // Reading.

  #readRequested(): void {
    const requests = this.#requests;
    this.#requests = [];
    for (let at = 0; at < requests.length; at += BATCH) void this.#read(requests.slice(at, at + BATCH));
  }

  #readSoon(): void {
    if (this.#stopped) return;
    const jitter = Math.random() * (READ_WITHIN - READ_AFTER);
    this.#readTimer ??= setTimeout(() => void this.#readAll(), READ_AFTER + jitter);
  }

  async #readAll(): Promise<void> {
    this.#readTimer = null;
    if (this.#reading) {
      this.#readAgain = true;
      return;
    }
    this.#reading = true;
    const all = [...this.#channels.values()].filter(({ loaded }) => loaded);
    for (let at = 0; at < all.length && !this.#stopped; at += BATCH) {
      await this.#read(all.slice(at, at + BATCH).filter((each) => this.#channels.get(each.name) === each));
    }
    this.#reading = false;
    if (!this.#readAgain) return;
    this.#readAgain = false;
    this.#readSoon();
  }

  async #read(channels: readonly SharedPresence[]): Promise<void> {
    const { database } = this.#options;
    const calm = channels.map(({ name, version }) => (this.#isCalm(name) ? version : null));
    for (const presence of channels) presence.beginRead();
    const names = channels.map(({ name }) => name);
    const entries = channels.length > 0 && database.ready ? await database.read(names) : null;
    const questions = new Map<Peer, Packing>();
    for (const [i, presence] of channels.entries()) {
      const stored = entries?.[i];
      if (stored === undefined) presence.failRead();
      else if (!presence.loaded && this.#mayBeIncomplete(stored)) {
        setTimeout(() => this.request(presence), READ_AGAIN_AFTER);
        continue;
      } else {
        const repair = calm[i] === presence.version && this.#isCalm(presence.name);
        this.#ask(questions, presence.name, presence.endRead(stored, repair));
      }
      if (this.#channels.get(presence.name) === presence) this.#owner?.changed(presence.name);
    }
    const messages: string[] = [];
    for (const [peer, packing] of questions) {
      for (const each of packing.end())
        messages.push(this.#message(`"to":"${peer.incarnation}","q":${each}`));
    }
    if (messages.length > 0) await database.write([], messages);
  }

  /**
   * Whether there are entries of servers that may live, though this one does not know them yet: it has just started. A member
   * that returns to it must not see others leave.
   */
  #mayBeIncomplete(entries: ReadonlyMap<string, string>): boolean {
    const now = performance.now();
    for (const field of entries.keys()) {
      const incarnation = field.slice(0, field.indexOf("|"));
      if (incarnation === this.incarnation || this.peers.has(incarnation) || this.#dead.has(incarnation))
        continue;
      const since = this.#strangers.get(incarnation);
      if (since !== undefined && now - since > KNOWN_WITHIN) continue;
      if (since === undefined && this.#strangers.size >= MAX_STRANGERS) continue;
      if (since === undefined) this.#strangers.set(incarnation, now);
      return true;
    }
    return false;
  }

  #ask(questions: Map<Peer, Packing>, channel: string, missing: ReadonlyMap<Peer, readonly string[]>): void {
    for (const [peer, refs] of missing) {
      if (refs.length === 0) continue;
      const packing = questions.get(peer) ?? new Packing(this.#maxMessage);
      questions.set(peer, packing);
      packChange(packing, this.#maxMessage, channel, [], refs);
    }
  }

  /** Whether nothing of this server is on its way to the stored entries of a channel. */
  #isCalm(channel: string): boolean {
    return this.#flushing === null && !this.#pending.has(channel) && !this.parting;
  }

  /** Connected to Redis, for the first time or again: it may have lost entries, and messages. */
  async #opened(): Promise<void> {
    this.#checkPulse();
    this.#counts.repeat();
    await this.#flush();
    this.#publishNumber(true);
    this.#readSoon();
    for (const incarnation of this.#unfinished) void this.#finish(incarnation);
  }

  // Dead servers.

  /** Acts for a dead server: tells backends of its leaves, and removes its entries. */
  async #finish(incarnation: string): Promise<void> {
    const { database } = this.#options;
    const channels = await database.channelsOf(incarnation);
    if (channels === null) return;
    for (let at = 0; at < channels.length; at += BATCH) {
      if (!(await this.#finishChannels(incarnation, channels.slice(at, at + BATCH)))) return;
    }
    this.#unfinished.delete(incarnation);
  }

  async #finishChannels(incarnation: string, channels: readonly string[]): Promise<boolean> {
    const { database } = this.#options;
    const entries = await database.read(channels);
    if (entries === null) return false;
    const start = fieldOf(incarnation, "");
    const writes: PresenceWrite[] = [];
    for (const [i, channel] of channels.entries()) {
      const remove: string[] = [];
      const metas: Meta[] = [];
      for (const [field, value] of entries[i] ?? []) {
        if (!field.startsWith(start)) continue;
        remove.push(field);
        const meta = decodeEntry(value);
        if (meta !== null) metas.push(meta);
      }
      if (remove.length > 0) writes.push({ channel, set: [], remove, renew: false });
      if (metas.length > 0) this.#exportLeaves(channel, metas);
    }
    if (writes.length > 0 && !(await database.write(writes, []))) return false;
    return this.#occupy(
      incarnation,
      channels.map((channel) => ({ channel, members: 0, opens: false, announced: true })),
    );
  }

  #exportLeaves(channel: string, metas: readonly Meta[]): void {
    const { backends } = this.pending(channel);
    for (const meta of metas) backends.left(meta, true);
  }

  // Regularly.

  async #doRound(): Promise<void> {
    if (!this.#options.database.ready) return;
    this.#publishNumber(false);
    if (this.#pending.size > 0) this.#flushSoon(0);
    for (const incarnation of this.#unfinished) void this.#finish(incarnation);
    const now = performance.now();
    for (const [incarnation, since] of this.#strangers) {
      if (now - since < STRANGE_FOR) continue;
      this.#strangers.delete(incarnation);
      if (this.#options.servers().isLiving(incarnation)) continue;
      const won = await this.#options.database.claim(incarnation);
      if (won !== null) this.#died(incarnation, won);
    }
    await this.#renewEntries(now);
  }

  /** Entries that Redis lost are written again. */
  async #renewEntries(now: number): Promise<void> {
    const due = [...this.#channels.values()].filter(
      ({ own, renewedAt }) => own.size > 0 && now - renewedAt > RENEW_AFTER,
    );
    for (let at = 0; at < due.length; at += BATCH) {
      const batch = due.slice(at, at + BATCH);
      const names = batch.map(({ name }) => name);
      const lost = await this.#options.database.renew(this.incarnation, names);
      if (lost === null) return;
      for (const presence of batch) {
        presence.renewedAt = now;
        if (!lost.includes(presence.name)) continue;
        for (const meta of presence.own.values()) this.pending(presence.name).joined(meta);
      }
    }
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
