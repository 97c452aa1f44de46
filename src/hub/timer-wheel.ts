/** Width of a slot in ms: nothing is due earlier than asked, nor later than this plus the time between two calls of `due`. */
const SLOT = 250;

/** Things to be done at a time of their own, without a timer for each: items wait in slots of 250 ms. */
export class TimerWheel<T> {
  readonly #slots = new Map<number, Set<T>>();
  #done: number;

  constructor(now: number) {
    this.#done = Math.floor(now / SLOT);
  }

  /** Remembers an item until `at`, in ms of the clock that `due` is asked by. Returns the slot that `delete` wants. */
  add(item: T, at: number): number {
    const slot = Math.max(Math.ceil(at / SLOT), this.#done + 1);
    const items = this.#slots.get(slot);
    if (items === undefined) this.#slots.set(slot, new Set([item]));
    else items.add(item);
    return slot;
  }

  /** Forgets an item; an item that is not there is no error. */
  delete(item: T, slot: number): void {
    const items = this.#slots.get(slot);
    if (items?.delete(item) && items.size === 0) this.#slots.delete(slot);
  }

  /** Hands over what is due by now, at most `most` items; the rest stays due. */
  due(now: number, most: number, each: (item: T) => void): void {
    const last = Math.floor(now / SLOT);
    let left = most;
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

  /** The slots that hold something, oldest first; after a long pause far fewer than have gone by. */
  #slotsUpTo(last: number): number[] {
    if (last - this.#done > this.#slots.size) {
      return [...this.#slots.keys()].filter((slot) => slot <= last).sort((a, b) => a - b);
    }
    const slots: number[] = [];
    for (let slot = this.#done + 1; slot <= last; slot++) if (this.#slots.has(slot)) slots.push(slot);
    return slots;
  }
}
