/** Width of a slot in ms. An item is never early, and late by at most this plus the time between two calls of `due`. */
const SLOT = 250;

/** Items with a deadline each, without a timer each: they wait in slots of 250 ms. */
export class TimerWheel<T> {
  readonly #slots = new Map<number, Set<T>>();
  #done: number;

  constructor(now: number) {
    this.#done = Math.floor(now / SLOT);
  }

  /** Adds an item that is due at `at`, in ms of the clock that `due` uses. Returns the slot to pass to `delete`. */
  add(item: T, at: number): number {
    const slot = Math.max(Math.ceil(at / SLOT), this.#done + 1);
    const items = this.#slots.get(slot);
    if (items === undefined) this.#slots.set(slot, new Set([item]));
    else items.add(item);
    return slot;
  }

  /** Removes an item; does nothing if it is not there. */
  delete(item: T, slot: number): void {
    const items = this.#slots.get(slot);
    if (items?.delete(item) && items.size === 0) this.#slots.delete(slot);
  }

  /** Removes the items that are due, at most `limit`, and calls `each` with them; the rest stays due. */
  due(now: number, limit: number, each: (item: T) => void): void {
    const last = Math.floor(now / SLOT);
    let left = limit;
    for (const slot of this.#slotsUpTo(last)) {
      this.#done = slot - 1;
      for (let items = this.#slots.get(slot); items !== undefined; items = this.#slots.get(slot)) {
        for (const item of items) {
          if (left-- <= 0) return;
          this.delete(item, slot);
          each(item);
        }
      }
      this.#done = slot;
    }
    this.#done = Math.max(this.#done, last);
  }

  /** The slots that are not empty, oldest first. After a long suspension these are fewer than the slots that have passed. */
  #slotsUpTo(last: number): number[] {
    if (last - this.#done > this.#slots.size) {
      return [...this.#slots.keys()].filter((slot) => slot <= last).sort((a, b) => a - b);
    }
    const slots: number[] = [];
    for (let slot = this.#done + 1; slot <= last; slot++) if (this.#slots.has(slot)) slots.push(slot);
    return slots;
  }
}
