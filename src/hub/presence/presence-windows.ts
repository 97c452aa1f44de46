import type { Channel } from "../channel.ts";

/** Burst allowance, in ms of the sustained rate. */
const BURST_MS = 100;

/** Maximum time that a window stays open, in ms, unless its regular length is greater. */
const MAX_LENGTH = 1000;

/**
 * When the changes of a channel are sent to its members. A window opens with the first change and closes after its regular
 * length; then all changes are sent together. Windows stay open longer while more members would get a frame than
 * the rate allows, for example when thousands of channels change at once: then more changes share a frame.
 */
export class PresenceWindows {
  readonly #length: number;
  readonly #membersPerMs: number;
  readonly #burst: number;
  readonly #send: (channel: Channel) => void;
  /** Open windows with the time at which they close, in order of that time. */
  readonly #open = new Map<Channel, number>();
  #timer: Timer | null = null;
  /** Members that may get a frame, as of `#countedAt`. Below zero after a channel with more members than that. */
  #allowance: number;
  #countedAt = performance.now();

  /**
   * @param length regular length of a window, in ms
   * @param membersPerMs sustained rate of frames to members: each costs one write
   * @param send sends all changes of a channel
   */
  constructor(length: number, membersPerMs: number, send: (channel: Channel) => void) {
    this.#length = length;
    this.#membersPerMs = membersPerMs;
    this.#burst = membersPerMs * BURST_MS;
    this.#allowance = this.#burst;
    this.#send = send;
  }

  isOpen(channel: Channel): boolean {
    return this.#open.has(channel);
  }

  open(channel: Channel): void {
    if (this.#open.has(channel)) return;
    this.#open.set(channel, performance.now() + this.#length);
    this.#timer ??= setTimeout(() => this.#closeDue(), this.#length);
  }

  /** Sends a channel's changes now, whatever the rate. Does nothing if its window is not open. */
  close(channel: Channel): void {
    if (!this.#open.delete(channel)) return;
    this.#allowance -= channel.members.size;
    this.#send(channel);
  }

  /** Closes all windows; none is opened afterwards. */
  stop(): void {
    for (const channel of [...this.#open.keys()]) this.close(channel);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #closeDue(): void {
    this.#timer = null;
    const now = performance.now();
    const earned = (now - this.#countedAt) * this.#membersPerMs;
    this.#allowance = Math.min(this.#burst, this.#allowance + earned);
    this.#countedAt = now;
    for (const [channel, due] of this.#open) {
      const next = this.#allowance > 0 ? due : Math.min(this.#whenAllowed(now), this.#latest(due));
      if (next > now) {
        this.#timer = setTimeout(() => this.#closeDue(), Math.ceil(next - now));
        return;
      }
      this.close(channel);
    }
  }

  /** When the rate allows more. At least half a window from now, so that there is no timer for each ms. */
  #whenAllowed(now: number): number {
    return now + Math.max(this.#length / 2, -this.#allowance / this.#membersPerMs);
  }

  /** The latest time at which a window closes whose regular end is `due`. */
  #latest(due: number): number {
    return Math.max(due, due - this.#length + MAX_LENGTH);
  }
}
