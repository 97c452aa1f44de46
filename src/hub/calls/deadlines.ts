/** Something that waits until a time. */
export interface Waiting {
  /** `performance.now()`. */
  readonly due: number;
  /** How long it waits in all, in ms. */
  readonly timeout: number;
}

/**
 * Items that are due some time after they were added, with one timer for all of them. Those with the same time-out stand in the
 * order in which they are due.
 */
export class Deadlines<T extends Waiting> {
  readonly #expired: (item: T) => void;
  /** By time-out, of which there are as many as the configuration has. */
  readonly #items = new Map<number, Set<T>>();
  #timer: Timer | null = null;
  #timerAt = Number.POSITIVE_INFINITY;

  /** @param expired called with each item that is due; it is removed by then */
  constructor(expired: (item: T) => void) {
    this.#expired = expired;
  }

  add(item: T): void {
    let items = this.#items.get(item.timeout);
    if (items === undefined) {
      items = new Set();
      this.#items.set(item.timeout, items);
    }
    items.add(item);
    if (item.due < this.#timerAt) this.#arm(item.due);
  }

  /** Removes an item. The timer stays: it costs less to find nothing due than to set it each time. */
  delete(item: T): void {
    this.#items.get(item.timeout)?.delete(item);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#items.clear();
  }

  #arm(due: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAt = due;
    this.#timer = setTimeout(() => this.#expire(), Math.max(1, Math.ceil(due - performance.now())));
  }

  #expire(): void {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const items of this.#items.values()) {
      for (const item of items) {
        if (item.due > now) {
          next = Math.min(next, item.due);
          break;
        }
        items.delete(item);
        this.#expired(item);
      }
    }
    // An expired item may have led to a new one.
    if (next < this.#timerAt) this.#arm(next);
  }
}
