import type { Channel } from "../channel.ts";

/** After a pause as many may be told at once as otherwise in so many ms. */
const BURST_MS = 100;

/** A window never stays open longer than this, in ms, or than its regular length if that is more. */
const PATIENCE = 1000;

/**
 * When something is told to the members of channels that many changes may share. A channel's window opens with the first
 * change and closes after its regular length. When thousands of channels change at once, or the largest do again and
 * again, windows stay open for longer, so that more changes travel together: a storm must not be spent on telling of
 * the storm.
 */
export class PresenceWindows {
  readonly #length: number;
  readonly #toldPerMs: number;
  readonly #burst: number;
  readonly #tell: (channel: Channel) => void;
  /** Channels whose window is open, the one that closes first in front, with the time when it does. */
  readonly #open = new Map<Channel, number>();
  #timer: Timer | null = null;
  /** How many may still be told, as of `#countedAt`. Below zero: the last channel was larger. */
  #allowed: number;
  #countedAt = performance.now();

  /**
   * @param length regular length of a window, in ms
   * @param toldPerMs members who may be told in each ms: each costs one write
   * @param tell tells of all changes of a channel
   */
  constructor(length: number, toldPerMs: number, tell: (channel: Channel) => void) {
    this.#length = length;
    this.#toldPerMs = toldPerMs;
    this.#burst = toldPerMs * BURST_MS;
    this.#allowed = this.#burst;
    this.#tell = tell;
  }

  isOpen(channel: Channel): boolean {
    return this.#open.has(channel);
  }

  open(channel: Channel): void {
    if (this.#open.has(channel)) return;
    this.#open.set(channel, performance.now() + this.#length);
    this.#timer ??= setTimeout(() => this.#closeDue(), this.#length);
  }

  /** Tells of a channel's changes now, whatever is due. */
  close(channel: Channel): void {
    if (!this.#open.delete(channel)) return;
    this.#allowed -= channel.members.size;
    this.#tell(channel);
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
    this.#allowed = Math.min(this.#burst, this.#allowed + (now - this.#countedAt) * this.#toldPerMs);
    this.#countedAt = now;
    for (const [channel, due] of this.#open) {
      const next = this.#allowed > 0 ? due : Math.min(this.#pauseUntil(now), this.#latest(due));
      if (next > now) {
        this.#timer = setTimeout(() => this.#closeDue(), Math.ceil(next - now));
        return;
      }
      this.close(channel);
    }
  }

  /** When more may be told: some of it at once, so that not each ms has a timer of its own. */
  #pauseUntil(now: number): number {
    return now + Math.max(this.#length / 2, -this.#allowed / this.#toldPerMs);
  }

  /** When a window closes at the latest that should at `due`. */
  #latest(due: number): number {
    return Math.max(due, due - this.#length + PATIENCE);
  }
}
