import type { PresenceDatabase, PresenceWrite } from "./presence-database.ts";
import type { Meta } from "./presence-store.ts";
import { decodeEntry } from "./presence-wire.ts";
import type { PresenceWriter } from "./presence-writer.ts";
import { fieldOf } from "./shared-presence.ts";

/** Channels that are read and written in one go. */
const BATCH = 100;

/** Acts for a server that is dead: sends its leaves to backends, and removes its entries. */
export class DeadServer {
  readonly #incarnation: string;
  readonly #database: PresenceDatabase;
  readonly #writer: PresenceWriter;
  /** Refs whose leave was sent to backends. */
  readonly #reported = new Set<string>();
  #running = false;

  constructor(incarnation: string, database: PresenceDatabase, writer: PresenceWriter) {
    this.#incarnation = incarnation;
    this.#database = database;
    this.#writer = writer;
  }

  /** Sends backends the leaves of these members. */
  report(channel: string, metas: readonly Meta[]): void {
    const { backends } = this.#writer.pending(channel);
    for (const meta of metas) {
      if (this.#reported.has(meta.ref)) continue;
      this.#reported.add(meta.ref);
      backends.left(meta, true);
    }
  }

  /** Resolves to whether all is done; otherwise it is to be called again. */
  async finish(): Promise<boolean> {
    if (this.#running) return false;
    this.#running = true;
    const done = await this.#finish();
    this.#running = false;
    return done;
  }

  async #finish(): Promise<boolean> {
    // Entries of members who came back to this server are gone by then: their leaves were sent.
    await this.#writer.flush();
    const channels = await this.#database.channelsOf(this.#incarnation);
    if (channels === null) return false;
    for (let at = 0; at < channels.length; at += BATCH) {
      if (!(await this.#finishChannels(channels.slice(at, at + BATCH)))) return false;
    }
    return true;
  }

  async #finishChannels(channels: readonly string[]): Promise<boolean> {
    const entries = await this.#database.read(channels);
    if (entries === null) return false;
    const start = fieldOf(this.#incarnation, "");
    const writes: PresenceWrite[] = [];
    for (const [i, channel] of channels.entries()) {
      const own = [...(entries[i] ?? [])].filter(([field]) => field.startsWith(start));
      this.report(
        channel,
        own.flatMap(([, value]) => decodeEntry(value) ?? []),
      );
      const remove = own.map(([field]) => field);
      if (remove.length > 0) writes.push({ channel, set: [], remove, renew: false });
    }
    if (writes.length > 0 && !(await this.#database.write(writes, []))) return false;
    return this.#writer.removeCounts(this.#incarnation, channels);
  }
}
