import { keyOf } from "./subscriptions.ts";

/** A client that waits for an item of one of some lists. */
export interface ListWaiter {
  /** An item for it. Called at most once, and never within `wait`. */
  received(key: Buffer, item: Buffer): void;
}

/** Different lists, items of all lists, and the longest name of a list, in bytes. */
const MAX_LISTS = 1000;
const MAX_ITEMS = 100_000;
export const MAX_LIST_NAME = 1024;
/** Lists that one client waits for. */
const MAX_AWAITED = 16;
/** Memory of an item or a list beside its bytes. */
const COST = 128;
const NO_BYTES = Buffer.alloc(0);

interface List {
  readonly items: Buffer[];
  /** Offset of its first item in `items`: removing the first of many would move the others. */
  first: number;
  /** `performance.now()`. */
  expiresAt: number;
}

type Key = string;

/** The lists of the embedded bus, with the rules of Redis: a list without items does not exist. */
export class Lists {
  readonly #lists = new Map<Key, List>();
  /** Those that wait for a list, in order. */
  readonly #waiters = new Map<Key, Set<ListWaiter>>();
  readonly #awaited = new Map<ListWaiter, readonly Buffer[]>();
  readonly #maxBytes: number;
  #bytes = 0;
  #items = 0;
  /** The earliest time at which a list may expire. */
  #nextExpiry = Number.POSITIVE_INFINITY;

  /** @param maxBytes memory of all items */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Appends copies of items, and passes them to clients that wait. Returns the length before that; `null`, and nothing is appended,
   * where there is no room.
   */
  push(key: Buffer, items: readonly Buffer[]): number | null {
    this.#expire();
    const name = keyOf(key);
    let list = this.#lists.get(name);
    const bytes = items.reduce((sum, item) => sum + item.length + COST, list === undefined ? COST : 0);
    if (this.#items + items.length > MAX_ITEMS || this.#bytes + bytes > this.#maxBytes) return null;
    if (list === undefined) {
      if (this.#lists.size >= MAX_LISTS) return null;
      list = { items: [], first: 0, expiresAt: Number.POSITIVE_INFINITY };
      this.#lists.set(name, list);
    }
    for (const item of items) list.items.push(Buffer.from(item));
    this.#items += items.length;
    this.#bytes += bytes;
    const length = lengthOf(list);
    this.#serve(name);
    return length;
  }

  /** Removes the first item; `null` without one. */
  pop(key: Buffer): Buffer | null {
    this.#expire();
    return this.#shift(keyOf(key));
  }

  length(key: Buffer): number {
    this.#expire();
    const list = this.#lists.get(keyOf(key));
    return list === undefined ? 0 : lengthOf(list);
  }

  /** Whether there was such a list. */
  delete(key: Buffer): boolean {
    this.#expire();
    return this.#remove(keyOf(key));
  }

  /** When a list expires (`performance.now()`); infinity: never, `null`: there is no such list. */
  expiryOf(key: Buffer): number | null {
    this.#expire();
    return this.#lists.get(keyOf(key))?.expiresAt ?? null;
  }

  /** Sets when an existing list expires. */
  expireAt(key: Buffer, at: number): void {
    const list = this.#lists.get(keyOf(key));
    if (list === undefined) return;
    list.expiresAt = at;
    this.#nextExpiry = Math.min(this.#nextExpiry, at);
    this.#expire();
  }

  /** Lets a client wait for the next item of any of these lists, after those that wait already. Returns false for too many lists. */
  wait(waiter: ListWaiter, keys: readonly Buffer[]): boolean {
    if (keys.length > MAX_AWAITED) return false;
    // Copied: the keys are part of a larger buffer.
    const own = keys.map((key) => Buffer.from(key));
    this.#awaited.set(waiter, own);
    for (const key of own) {
      const name = keyOf(key);
      const waiting = this.#waiters.get(name);
      if (waiting === undefined) this.#waiters.set(name, new Set([waiter]));
      else waiting.add(waiter);
    }
    return true;
  }

  /** Clients that wait. */
  get waiters(): number {
    return this.#awaited.size;
  }

  /** The client waits no longer. */
  stopWaiting(waiter: ListWaiter): void {
    for (const key of this.#awaited.get(waiter) ?? []) {
      const name = keyOf(key);
      const waiting = this.#waiters.get(name);
      if (waiting?.delete(waiter) && waiting.size === 0) this.#waiters.delete(name);
    }
    this.#awaited.delete(waiter);
  }

  #serve(name: Key): void {
    for (const waiter of this.#waiters.get(name) ?? []) {
      const item = this.#shift(name);
      if (item === null) return;
      this.stopWaiting(waiter);
      waiter.received(Buffer.from(name, "latin1"), item);
    }
  }

  #shift(name: Key): Buffer | null {
    const list = this.#lists.get(name);
    const item = list?.items[list.first];
    if (list === undefined || item === undefined) return null;
    // Not kept until the list is shortened.
    list.items[list.first] = NO_BYTES;
    list.first++;
    this.#items--;
    this.#bytes -= item.length + COST;
    if (lengthOf(list) === 0) this.#remove(name);
    else if (list.first >= 1024 && list.first * 2 > list.items.length) {
      list.items.splice(0, list.first);
      list.first = 0;
    }
    return item;
  }

  #remove(name: Key): boolean {
    const list = this.#lists.get(name);
    if (list === undefined) return false;
    this.#lists.delete(name);
    this.#items -= lengthOf(list);
    this.#bytes -= COST;
    for (let i = list.first; i < list.items.length; i++) this.#bytes -= (list.items[i]?.length ?? 0) + COST;
    return true;
  }

  #expire(): void {
    const now = performance.now();
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    for (const [name, { expiresAt }] of this.#lists) {
      if (expiresAt <= now) this.#remove(name);
      else this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt);
    }
  }
}

function lengthOf({ items, first }: List): number {
  return items.length - first;
}
