import type { Channel } from "../channel.ts";
import { jsonMessage, type Message } from "../message.ts";

/** Minimum time between two counts that a channel's members get, in ms. */
export const COUNT_INTERVAL = 1000;

export interface PresenceCountsOptions {
  deliver(channel: Channel, message: Message): void;
  /** The number of members of a channel on other servers. */
  elsewhere(channel: string): number;
}

/**
 * Sends `presence_count` to the members of channels with `presence = "count"`: after a change at once, but at most once
 * a second.
 */
export class PresenceCounts {
  readonly #options: PresenceCountsOptions;
  /** Channels whose count changed within a second after the last one, with the time at which it is sent; oldest first. */
  readonly #waiting = new Map<Channel, number>();
  #timer: Timer | null = null;

  constructor(options: PresenceCountsOptions) {
    this.#options = options;
  }

  /** A member joined or left a counted channel, on any server. */
  changed(channel: Channel): void {
    if (this.#waiting.has(channel)) return;
    const now = performance.now();
    if (now - channel.countedAt >= COUNT_INTERVAL) return this.#send(channel, now);
    this.#waiting.set(channel, now + COUNT_INTERVAL);
    this.#timer ??= setTimeout(() => this.#sendDue(), COUNT_INTERVAL);
  }

  /** The channel is closed. */
  forget(channel: Channel): void {
    this.#waiting.delete(channel);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting.clear();
  }

  #send(channel: Channel, now: number): void {
    channel.countedAt = now;
    const count = channel.members.size + this.#options.elsewhere(channel.name);
    this.#options.deliver(channel, jsonMessage("presence_count", `{"count":${count}}`, true));
  }

  #sendDue(): void {
    this.#timer = null;
    const now = performance.now();
    for (const [channel, due] of this.#waiting) {
      if (due > now) {
        this.#timer = setTimeout(() => this.#sendDue(), Math.ceil(due - now));
        return;
      }
      this.#waiting.delete(channel);
      this.#send(channel, now);
    }
  }
}
