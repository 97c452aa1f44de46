import type { OtherServer, Servers } from "../servers.ts";
import { DeadServer } from "./dead-server.ts";
import type { PendingChanges } from "./pending-changes.ts";
import type { PresenceDatabase } from "./presence-database.ts";
import { PresenceReader } from "./presence-reader.ts";
import type { ChannelPresence, PresenceFigures, PresenceOwner, PresenceStore } from "./presence-store.ts";
import { decodeMessage, isFrom, type PresenceMessage } from "./presence-wire.ts";
import { KIND, PresenceWriter } from "./presence-writer.ts";
import { type Peer, type SharedContext, SharedPresence } from "./shared-presence.ts";
import { Strangers } from "./strangers.ts";

/** Messages between servers on `hub:<kind>`, signed. */
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

/** Maximum size of a message between servers, in bytes: each of them is read by all. */
const MAX_MESSAGE = 64 * 1024;

/** Between two rounds of what is done regularly, in ms. */
const ROUND = 5000;
const PULSE = 1000;

/** For which the own number waits before it is published, in ms: several servers may ask for it. */
const NUMBER_AFTER = 50;

/**
 * Presence of all servers on one Redis. The entries of a channel are stored by the servers that hold the connections; each
 * publishes its changes with a number. A server reads the entries when its first member of a channel joins, and again
 * when it missed a number. That an entry is gone is known only from its server, or when that one is dead: an entry that is
 * missing in Redis, which may have lost it, is asked about.
 */
export class SharedPresenceStore implements PresenceStore, SharedContext {
  readonly #options: SharedPresenceOptions;
  #owner: PresenceOwner | null = null;
  readonly #channels = new Map<string, SharedPresence>();
  readonly #writer: PresenceWriter;
  readonly #reader: PresenceReader;
  readonly #strangers: Strangers;
  readonly peers = new Map<string, Peer>();
  anyParting = false;
  parting = false;
  renewing = false;
  /** Whether messages flow over the bus. */
  live = false;
  /** Dead servers that this one acts for. */
  readonly #unfinished = new Map<string, DeadServer>();
  #missed = 0;
  /** When messages of any server were missing last (`performance.now()`). */
  #missedAt = Number.NEGATIVE_INFINITY;
  #numberTimer: Timer | null = null;
  #sayHello = false;
  #round: Timer | null = null;
  #pulse: Timer | null = null;
  #stopped = false;

  constructor(options: SharedPresenceOptions) {
    this.#options = options;
    const { database, messages, window } = options;
    const maxMessage = Math.min(MAX_MESSAGE, options.maxMessage);
    const shared = { channels: this.#channels, owner: () => this.#owner, database, maxMessage };
    this.#strangers = new Strangers((one) => one === this.incarnation || this.peers.has(one));
    this.#writer = new PresenceWriter({
      ...shared,
      context: this,
      sign: (kind, body) => messages.sign(kind, body),
      window,
    });
    this.#reader = new PresenceReader({ ...shared, writer: this.#writer, strangers: this.#strangers });
    messages.on(KIND, (body) => this.#received(body));
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
    this.#pulse = setInterval(() => this.#writer.checkPulse(), PULSE);
    this.#options.database.start(() => void this.#opened());
  }

  figures(): PresenceFigures {
    let remote = 0;
    for (const presence of this.#channels.values()) remote += presence.remote;
    return { remote, missed: this.#missed };
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
    this.#writer.counts.set(channel, members, counted, this.shared);
    this.#writer.flushSoon();
  }

  elsewhere(channel: string): number {
    return this.#writer.counts.elsewhere(channel);
  }

  connectionChanged(live: boolean): void {
    this.live = live;
    if (!live) return;
    this.#publishNumber(true);
    this.#writer.flushSoon(0);
  }

  drain(): void {
    this.parting = this.#options.database.ready && [...this.peers.values()].some((peer) => !peer.parting);
    if (!this.parting) return;
    void this.#writer.flush();
    void this.#writer.publish('"parting":true');
  }

  async stop(): Promise<void> {
    await this.#writer.stop();
    this.#stopped = true;
    this.#reader.stop();
    if (this.#numberTimer !== null) clearTimeout(this.#numberTimer);
    for (const timer of [this.#round, this.#pulse]) if (timer !== null) clearInterval(timer);
    await this.#options.database.stop();
  }

  request(presence: SharedPresence): void {
    this.#reader.request(presence);
  }

  pending(channel: string): PendingChanges {
    return this.#writer.pending(channel);
  }

  stranger(channel: string, incarnation: string, ref: string): void {
    if (this.#strangers.found(incarnation)) this.pending(channel).leaves.set(ref, incarnation);
  }

  #joined({ incarnation }: OtherServer): void {
    this.peers.set(incarnation, { incarnation, seq: 0, missedAt: Number.NEGATIVE_INFINITY, parting: false });
    this.#strangers.known(incarnation);
    this.#publishNumber(true);
  }

  #died(incarnation: string, won: boolean): void {
    const peer = this.peers.get(incarnation);
    this.peers.delete(incarnation);
    this.#strangers.died(incarnation);
    this.anyParting = [...this.peers.values()].some(({ parting }) => parting);
    const { database } = this.#options;
    const dead = won ? new DeadServer(incarnation, database, this.#writer) : null;
    if (peer !== undefined) {
      for (const presence of this.#channels.values()) {
        const metas = presence.drop(peer);
        if (metas.length === 0) continue;
        dead?.report(presence.name, metas);
        this.#owner?.changed(presence.name);
      }
    }
    for (const channel of this.#writer.counts.died(incarnation)) this.#owner?.countChanged(channel);
    if (dead === null) return;
    this.#unfinished.set(incarnation, dead);
    this.#finishDead();
  }

  #finishDead(): void {
    for (const [incarnation, dead] of this.#unfinished) {
      void dead.finish().then((done) => void (done && this.#unfinished.delete(incarnation)));
    }
  }

  /** This server continues under a new incarnation: the others have removed its entries, and sent its leaves. */
  #renewed(): void {
    this.#writer.renew();
    this.renewing = true;
    this.#owner?.renewRefs();
    this.renewing = false;
    for (const presence of this.#channels.values()) presence.renewedAt = Number.NEGATIVE_INFINITY;
    this.#reader.readAllSoon();
  }

  #received(body: Buffer): void {
    if (this.#stopped || isFrom(body, this.incarnation)) return;
    const message = decodeMessage(body);
    if (message === null) return;
    if (message.hello) this.#publishNumber(false);
    const peer = this.peers.get(message.from);
    // A server that is not known yet: its entries are read when it is.
    if (peer === undefined || !this.#countMessage(peer, message)) return;
    if (message.parting) {
      peer.parting = true;
      this.anyParting = true;
    }
    for (const change of message.changes) {
      const presence = this.#channels.get(change.channel);
      if (presence?.receive(peer, change) === true) this.#owner?.changed(change.channel);
    }
    for (const count of message.counts) {
      const concerns = this.#writer.counts.received(peer.incarnation, count);
      if (concerns) this.#owner?.countChanged(count.channel);
    }
    for (const { event, payload } of message.notices) this.#owner?.announced(event, payload);
    this.#answer(message);
  }

  /** Compares the number of a message. Returns whether it is not a repetition. */
  #countMessage(peer: Peer, { changes, counts, notices, seq }: PresenceMessage): boolean {
    const numbered = changes.length + counts.length + notices.length > 0;
    if (numbered ? seq <= peer.seq : seq < peer.seq) return false;
    const missed = seq !== (numbered ? peer.seq + 1 : peer.seq);
    peer.seq = seq;
    if (!missed) return true;
    this.#missed++;
    this.#missedAt = performance.now();
    peer.missedAt = this.#missedAt;
    this.#writer.counts.repeat();
    this.#writer.flushSoon();
    this.#reader.readAllSoon();
    return true;
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

  /** Publishes the number of the last message, so that others notice what they missed. @param hello asks for theirs */
  #publishNumber(hello: boolean): void {
    this.#sayHello ||= hello;
    this.#numberTimer ??= setTimeout(() => {
      this.#numberTimer = null;
      if (!this.#options.database.ready || this.#stopped) return;
      const fields = this.#sayHello ? '"hello":true' : "";
      this.#sayHello = false;
      void this.#writer.publish(fields);
    }, NUMBER_AFTER);
  }

  /** Connected to Redis, for the first time or again: it may have lost entries, and messages. */
  async #opened(): Promise<void> {
    this.#writer.checkPulse();
    this.#writer.counts.repeat();
    await this.#writer.flush();
    this.#publishNumber(true);
    this.#reader.readAllSoon();
    this.#finishDead();
  }

  /** Reads all channels again if a read failed, or began too early, since messages were missing. */
  #catchUp(): void {
    if (this.#missedAt === Number.NEGATIVE_INFINITY) return;
    for (const { loaded, readAt } of this.#channels.values()) {
      if (loaded && readAt < this.#missedAt) return this.#reader.readAllSoon();
    }
    this.#missedAt = Number.NEGATIVE_INFINITY;
  }

  async #doRound(): Promise<void> {
    const { database } = this.#options;
    if (!database.ready) return;
    this.#publishNumber(false);
    this.#writer.retry();
    this.#finishDead();
    this.#catchUp();
    for (const incarnation of this.#strangers.takeAbandoned()) {
      const won = await database.claim(incarnation);
      if (won !== null) this.#died(incarnation, won);
    }
    await this.#writer.renewEntries();
  }
}
