import type { KeptMessage, Lost } from "../../hub/history/history.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Client } from "../../transports/client.ts";
import type { SseChannel } from "./sse-channel.ts";
import { notice } from "./sse-format.ts";

/** Messages of one channel read from the history at once. */
const BATCH = 64;

/** Bytes that may wait for a client while it is sent more of the history; less where its backlog is limited to less. */
const MAX_WAITING = 1024 * 1024;
const BACKLOG_PART = 4;

/** Bytes of history a second for one client, and what it may be sent at once. */
const BYTES_PER_SECOND = 4 * 1024 * 1024;
const BURST = 1024 * 1024;

/** A channel, and the number after which its messages are sent: that of the client, or of a gap. */
export interface ReplayPart {
  readonly channel: SseChannel;
  from: number;
}

interface Placed {
  readonly part: ReplayPart;
  readonly message: KeptMessage;
}

/**
 * Sends a client what it missed in several channels, in the order in which it was published: the position of any message is then one
 * from which the client can resume all of them. Nothing is held in memory between two steps.
 */
export class SseReplay {
  readonly #client: Client;
  readonly #hub: Hub;
  #parts: readonly ReplayPart[];
  /** The number of the newest message sent. */
  #cursor: number;
  #left = BURST;
  #refilledAt = performance.now();

  constructor(client: Client, hub: Hub, parts: readonly ReplayPart[]) {
    this.#client = client;
    this.#hub = hub;
    this.#parts = parts;
    this.#cursor = Math.min(...parts.map(({ from }) => from));
  }

  /** Leaves out a channel from now on. */
  remove(channel: SseChannel): void {
    this.#parts = this.#parts.filter((part) => part.channel !== channel);
  }

  /** Sends what may be sent now. Returns whether the client has caught up: nothing is missing before the next live message. */
  advance(now: number): boolean {
    this.#left = Math.min(BURST, this.#left + ((now - this.#refilledAt) / 1000) * BYTES_PER_SECOND);
    this.#refilledAt = now;
    if (this.#hub.positions.isBeforeGap(this.#cursor) && !this.#crossGap()) return false;
    for (;;) {
      const { messages, more } = this.#read();
      for (const { part, message } of messages) {
        const block = part.channel.blockOf(message, true);
        if (!this.#allows(block.length)) return false;
        this.#send(block, message);
      }
      if (!more) return true;
    }
  }

  /** The subscription was lost. Waits until positions are known again: then messages after the gap can be resumed from. */
  #crossGap(): boolean {
    const { positions } = this.#hub;
    if (positions.current === null) return false;
    const id = positions.at(positions.gapAt);
    for (const part of this.#parts) {
      if (part.from < positions.gapAt) this.#gap(part, "gap", positions.gapAt, id);
    }
    this.#cursor = positions.gapAt;
    return true;
  }

  /** The next messages of all channels in order, and whether there may be more. */
  #read(): { readonly messages: readonly Placed[]; readonly more: boolean } {
    const messages: Placed[] = [];
    let until = Number.POSITIVE_INFINITY;
    for (const part of this.#parts) {
      const { name, history: rules } = part.channel.channel;
      if (rules === null) continue;
      const after = Math.max(part.from, this.#cursor);
      const batch = this.#hub.history?.since(name, rules, after, BATCH) ?? [];
      if (typeof batch === "string") {
        this.#overtaken(part, batch);
        continue;
      }
      for (const message of batch) messages.push({ part, message });
      const last = batch[BATCH - 1];
      if (last !== undefined) until = Math.min(until, last.seq);
    }
    messages.sort((a, b) => a.message.seq - b.message.seq);
    // Other channels may have messages after the last one that was read of a full batch, and before the others.
    const end = messages.findIndex(({ message }) => message.seq > until);
    const more = until !== Number.POSITIVE_INFINITY;
    return { messages: end < 0 ? messages : messages.slice(0, end), more };
  }

  #overtaken(part: ReplayPart, reason: Lost): void {
    const { stats, positions } = this.#hub;
    stats.recoveries.overtaken = (stats.recoveries.overtaken ?? 0) + 1;
    this.#gap(part, reason, positions.seq, null);
  }

  #gap(part: ReplayPart, reason: Lost, from: number, id: string | null): void {
    part.from = from;
    this.#client.send(notice("gap", { channel: part.channel.name, reason }, id));
  }

  #send(block: Buffer, { seq, payload }: KeptMessage): void {
    const { stats } = this.#hub;
    stats.deliveries++;
    stats.deliveredBytes += payload.length;
    this.#left -= block.length;
    this.#cursor = seq;
    this.#client.send(block);
  }

  #allows(bytes: number): boolean {
    const { context } = this.#client;
    if (this.#left <= 0 || !this.#client.open) return false;
    const waiting = this.#client.buffered();
    if (waiting === 0) return true;
    const limit = Math.min(MAX_WAITING, context.maxBuffered / BACKLOG_PART);
    return waiting + bytes <= limit && context.connections.hasRoom(bytes);
  }
}
