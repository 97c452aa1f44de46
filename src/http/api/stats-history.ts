import type { Snapshot } from "./snapshot-schema.ts";

/** Interval between snapshots in ms, and the number kept: ten minutes. */
const INTERVAL = 2000;
const KEPT = 300;

/** Snapshots of the last ten minutes, so that the admin page can show what led to the current state. */
export class StatsHistory {
  readonly interval = INTERVAL;
  /** Called with each snapshot that is kept. */
  kept: (snapshot: Snapshot) => void = () => {};
  readonly #take: (loopDelay: number) => Snapshot;
  readonly #loopDelay: () => number;
  readonly #kept: Snapshot[] = [];
  readonly #timer: Timer;
  /** Maximum delay since the last kept snapshot, and in the interval before it, in ms. */
  #delay = 0;
  #lastDelay = 0;

  /** @param loopDelay maximum event loop delay since its last call, in ms */
  constructor(take: (loopDelay: number) => Snapshot, loopDelay: () => number) {
    this.#take = take;
    this.#loopDelay = loopDelay;
    this.#timer = setInterval(() => {
      this.#lastDelay = Math.max(this.#delay, loopDelay());
      this.#delay = 0;
      const snapshot = take(this.#lastDelay);
      this.#kept.push(snapshot);
      this.kept(snapshot);
      if (this.#kept.length > KEPT) this.#kept.shift();
    }, INTERVAL);
  }

  /** A new snapshot; it is not kept. */
  now(): Snapshot {
    this.#delay = Math.max(this.#delay, this.#loopDelay());
    return this.#take(Math.max(this.#delay, this.#lastDelay));
  }

  /** The newest kept snapshot; `null` in the first seconds. */
  get latest(): Snapshot | null {
    return this.#kept.at(-1) ?? null;
  }

  /** The kept snapshots, oldest first. */
  all(): Snapshot[] {
    return [...this.#kept];
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
