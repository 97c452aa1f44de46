import type { Snapshot } from "./stats.ts";

/** Between two looks, in ms, and how many are kept: ten minutes. */
const INTERVAL = 2000;
const KEPT = 300;

/** What was counted over the last minutes, so that whoever opens the page at a bad hour sees how it began. */
export class History {
  readonly interval = INTERVAL;
  readonly #look: () => Snapshot;
  readonly #kept: Snapshot[] = [];
  readonly #timer: Timer;

  constructor(look: () => Snapshot) {
    this.#look = look;
    this.#timer = setInterval(() => {
      this.#kept.push(this.#look());
      if (this.#kept.length > KEPT) this.#kept.shift();
    }, INTERVAL);
  }

  now(): Snapshot {
    return this.#look();
  }

  /** The oldest first. */
  all(): Snapshot[] {
    return [...this.#kept];
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
