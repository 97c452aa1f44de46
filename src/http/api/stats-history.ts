import type { Snapshot } from "./snapshot-schema.ts";

/** Between two looks, in ms, and how many are kept: ten minutes. */
const INTERVAL = 2000;
const KEPT = 300;

/** What was counted over the last minutes, so that whoever opens the page at a bad hour sees how it began. */
export class StatsHistory {
  readonly interval = INTERVAL;
  readonly #look: (loopDelay: number) => Snapshot;
  readonly #ask: () => number;
  readonly #kept: Snapshot[] = [];
  readonly #timer: Timer;
  /** The most since the last look that was kept, and of the interval before it. */
  #delay = 0;
  #lastDelay = 0;

  /** @param loopDelay how late the event loop ran since this was last called, in ms */
  constructor(look: (loopDelay: number) => Snapshot, loopDelay: () => number) {
    this.#look = look;
    this.#ask = loopDelay;
    this.#timer = setInterval(() => {
      this.#lastDelay = Math.max(this.#delay, loopDelay());
      this.#delay = 0;
      this.#kept.push(look(this.#lastDelay));
      if (this.#kept.length > KEPT) this.#kept.shift();
    }, INTERVAL);
  }

  now(): Snapshot {
    this.#delay = Math.max(this.#delay, this.#ask());
    return this.#look(Math.max(this.#delay, this.#lastDelay));
  }

  /** The oldest first. */
  all(): Snapshot[] {
    return [...this.#kept];
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
