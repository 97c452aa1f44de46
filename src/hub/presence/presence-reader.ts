import type { PresenceDatabase } from "./presence-database.ts";
import { Packing, packChange } from "./presence-packing.ts";
import type { PresenceOwner } from "./presence-store.ts";
import type { PresenceWriter } from "./presence-writer.ts";
import type { Peer, SharedPresence } from "./shared-presence.ts";
import type { Strangers } from "./strangers.ts";

/** Channels that are read in one go. */
const BATCH = 100;

/** Before the entries of all channels are read again: at least, and at most, in ms. Servers miss the same messages. */
const READ_AFTER = 50;
const READ_WITHIN = 500;

/** Entries of servers that are not known yet, and those that could not be read, are read again after this time, in ms. */
const READ_AGAIN_AFTER = 200;

/**
 * Before the entries of all channels are read again after a read that the database refused, as while it loads its data, in ms: the
 * first time, doubled each time up to the longest.
 */
const REFUSED_AGAIN_AFTER = 1000;
const REFUSED_AT_MOST = 30_000;

/**
 * How long the first read of a channel is tried again after the database answered last, or since the start of this server, in ms.
 * A member that returns to a server that has just started must not see others leave.
 */
export const AWAY_AFTER = 2500;

export interface PresenceReaderOptions {
  /** The loaded channels. */
  readonly channels: ReadonlyMap<string, SharedPresence>;
  readonly owner: () => PresenceOwner | null;
  readonly database: PresenceDatabase;
  readonly writer: PresenceWriter;
  readonly strangers: Strangers;
  /** Maximum size of a message between servers, in bytes. */
  readonly maxMessage: number;
}

/** Reads the stored entries of channels: when they get their first member here, and when a message was missed. */
export class PresenceReader {
  readonly #options: PresenceReaderOptions;
  /** Channels that are to be read at the end of this turn. */
  #requests: SharedPresence[] = [];
  #timer: Timer | null = null;
  /** Whether all channels are being read, and are to be read again after that. */
  #reading = false;
  #again = false;
  #refusedTimer: Timer | null = null;
  #refusedAgainAfter = REFUSED_AGAIN_AFTER;
  /** When the database answered last (`performance.now()`). */
  #answeredAt = performance.now();
  #stopped = false;

  constructor(options: PresenceReaderOptions) {
    this.#options = options;
  }

  /** Reads a channel for the first time. */
  request(presence: SharedPresence): void {
    if (this.#stopped || !this.#isLoaded(presence)) return;
    this.#requests.push(presence);
    if (this.#requests.length === 1) setImmediate(() => this.#readRequested());
  }

  /** Reads all channels again. */
  readAllSoon(): void {
    if (this.#stopped) return;
    const jitter = Math.random() * (READ_WITHIN - READ_AFTER);
    this.#timer ??= setTimeout(() => void this.#readAll(), READ_AFTER + jitter);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of [this.#timer, this.#refusedTimer]) if (timer !== null) clearTimeout(timer);
  }

  #readAgainLater(): void {
    if (this.#stopped || this.#refusedTimer !== null) return;
    this.#refusedTimer = setTimeout(() => {
      this.#refusedTimer = null;
      this.readAllSoon();
    }, this.#refusedAgainAfter);
    this.#refusedAgainAfter = Math.min(2 * this.#refusedAgainAfter, REFUSED_AT_MOST);
  }

  #isLoaded(presence: SharedPresence): boolean {
    return this.#options.channels.get(presence.name) === presence;
  }

  #readRequested(): void {
    const requests = this.#requests;
    this.#requests = [];
    for (let at = 0; at < requests.length; at += BATCH) void this.#read(requests.slice(at, at + BATCH));
  }

  async #readAll(): Promise<void> {
    this.#timer = null;
    this.#again = this.#reading;
    if (this.#reading) return;
    this.#reading = true;
    const all = [...this.#options.channels.values()].filter(({ loaded }) => loaded);
    for (let at = 0; at < all.length && !this.#stopped; at += BATCH) {
      await this.#read(all.slice(at, at + BATCH).filter((each) => this.#isLoaded(each)));
    }
    this.#reading = false;
    if (this.#again) this.readAllSoon();
    this.#again = false;
  }

  async #read(channels: readonly SharedPresence[]): Promise<void> {
    const { database, writer, owner, strangers } = this.#options;
    const calm = channels.map(({ name, version }) => (writer.isCalm(name) ? version : null));
    for (const presence of channels) presence.beginRead();
    const names = channels.map(({ name }) => name);
    const entries = channels.length > 0 && database.ready ? await database.read(names) : null;
    const now = performance.now();
    if (entries !== null) {
      this.#answeredAt = now;
      this.#refusedAgainAfter = REFUSED_AGAIN_AFTER;
    }
    const isAway = entries === null && now - this.#answeredAt >= AWAY_AFTER;
    const questions = new Map<Peer, Packing>();
    for (const [i, presence] of channels.entries()) {
      const stored = entries?.[i];
      const isTooEarly = stored === undefined ? !isAway : strangers.mayLive(stored.keys());
      if (!presence.loaded && isTooEarly) {
        setTimeout(() => this.request(presence), READ_AGAIN_AFTER);
        continue;
      }
      if (stored === undefined) {
        presence.failRead();
        // Without a connection all are read at the next one.
        if (database.ready) this.#readAgainLater();
      } else {
        const repair = calm[i] === presence.version && writer.isCalm(presence.name);
        this.#ask(questions, presence.name, presence.endRead(stored, repair));
      }
      if (this.#isLoaded(presence)) owner()?.changed(presence.name);
    }
    const fields = [...questions].flatMap(([{ incarnation }, packing]) =>
      packing.end().map((refs) => `"to":"${incarnation}","q":${refs}`),
    );
    if (fields.length > 0) await writer.publish(...fields);
  }

  /** Entries that are known here and not stored: only their server knows whether they are gone. */
  #ask(questions: Map<Peer, Packing>, channel: string, missing: ReadonlyMap<Peer, readonly string[]>): void {
    const { maxMessage } = this.#options;
    for (const [peer, refs] of missing) {
      if (refs.length === 0) continue;
      const packing = questions.get(peer) ?? new Packing(maxMessage);
      questions.set(peer, packing);
      packChange(packing, maxMessage, channel, [], refs);
    }
  }
}
