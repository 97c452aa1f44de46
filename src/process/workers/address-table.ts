/** Entries of the table, and those in which one address can be: the others have a different hash. */
const ENTRIES = 65_536;
const WAYS = 8;

/** Words (32 bits) of an entry before the connections of each worker: a hash of 64 bits, and a time of 64. */
const HASH = 0;
const TIME = 2;
const OPEN = 4;

/** Tries to get the lock: some 100 us. A worker that was killed or suspended with it must not stop the others. */
const SPINS = 5000;

export interface AddressTableOptions {
  readonly words: Int32Array;
  /** The same memory. */
  readonly floats: Float64Array;
  /** The word of the lock. */
  readonly lock: number;
  /** The first word of the table; even. */
  readonly at: number;
  readonly workers: number;
  /** From 1. */
  readonly worker: number;
  /** Of the hash, so that no client can choose addresses with equal ones. */
  readonly seed: number;
}

/** Words that a table needs. */
export function tableWords(workers: number): number {
  return ENTRIES * wordsOf(workers);
}

function wordsOf(workers: number): number {
  return OPEN + workers + (workers % 2);
}

/**
 * Open connections and a rate for each client address, in memory that several processes share. Where an address finds no entry,
 * because eight others with connections have them, it has no limits of its own.
 */
export class AddressTable {
  readonly #options: AddressTableOptions;
  readonly #size: number;

  constructor(options: AddressTableOptions) {
    this.#options = options;
    this.#size = wordsOf(options.workers);
  }

  /** Connections of an address, at all workers. */
  open(address: string): number {
    return this.#locked(() => {
      const at = this.#find(address);
      return at === null ? 0 : this.#openAt(at);
    });
  }

  /** Adds a connection of this worker. */
  add(address: string): void {
    this.#locked(() => {
      const at = this.#findOrCreate(address, Date.now());
      if (at !== null) this.#change(at, 1);
    });
  }

  remove(address: string): void {
    this.#locked(() => {
      const at = this.#find(address);
      if (at !== null) this.#change(at, -1);
    });
  }

  /**
   * Takes one of the tokens of an address. Returns false if none is left.
   * @param every ms in which one token is added @param burst ms in which all are
   */
  takeToken(address: string, every: number, burst: number): boolean {
    const now = Date.now();
    return this.#locked(() => {
      const at = this.#findOrCreate(address, now);
      if (at === null) return true;
      const { floats } = this.#options;
      const time = (at + TIME) / 2;
      // When all tokens are there again; the clock may have been set back.
      const full = Math.min(Math.max(floats[time] ?? 0, now), now + burst);
      if (full + every > now + burst) return false;
      floats[time] = full + every;
      return true;
    });
  }

  /** Forgets the connections of this worker, and releases a lock that it held. */
  clear(): void {
    const { words, at, worker, lock } = this.#options;
    Atomics.compareExchange(words, lock, worker, 0);
    for (let entry = 0; entry < ENTRIES; entry++) {
      const own = at + entry * this.#size + OPEN + worker - 1;
      if (words[own] !== 0) words[own] = 0;
    }
  }

  #locked<T>(change: () => T): T {
    const { words, lock, worker } = this.#options;
    let held = false;
    for (let spins = 0; spins < SPINS && !held; spins++) {
      held = Atomics.compareExchange(words, lock, 0, worker) === 0;
    }
    try {
      return change();
    } finally {
      if (held) Atomics.store(words, lock, 0);
    }
  }

  #change(entry: number, by: number): void {
    const { words, worker } = this.#options;
    const own = entry + OPEN + worker - 1;
    words[own] = Math.max(0, (words[own] ?? 0) + by);
  }

  #openAt(entry: number): number {
    const { words, workers } = this.#options;
    let sum = 0;
    for (let worker = 0; worker < workers; worker++) sum += words[entry + OPEN + worker] ?? 0;
    return sum;
  }

  #find(address: string): number | null {
    const { words } = this.#options;
    const { first, low, high } = this.#placeOf(address);
    for (let way = 0; way < WAYS; way++) {
      const entry = first + way * this.#size;
      if (words[entry + HASH] === low && words[entry + HASH + 1] === high) return entry;
    }
    return null;
  }

  /** The entry of an address, else one that no other address needs. */
  #findOrCreate(address: string, now: number): number | null {
    const found = this.#find(address);
    if (found !== null) return found;
    const { words, floats } = this.#options;
    const { first, low, high } = this.#placeOf(address);
    let oldest: number | null = null;
    for (let way = 0; way < WAYS; way++) {
      const entry = first + way * this.#size;
      if (this.#openAt(entry) > 0) continue;
      const isOlder = oldest === null || this.#timeAt(entry) < this.#timeAt(oldest);
      if (isOlder) oldest = entry;
      if (this.#timeAt(entry) <= now) break;
    }
    if (oldest === null) return null;
    words[oldest + HASH] = low;
    words[oldest + HASH + 1] = high;
    floats[(oldest + TIME) / 2] = 0;
    return oldest;
  }

  #timeAt(entry: number): number {
    return this.#options.floats[(entry + TIME) / 2] ?? 0;
  }

  #placeOf(address: string): { readonly first: number; readonly low: number; readonly high: number } {
    const { at, seed } = this.#options;
    const hash = BigInt(Bun.hash(address, seed));
    const high = Number(hash >> 32n) | 0;
    // Not 0 for an entry that is used.
    const low = Number(hash & 0xffffffffn) | 1;
    const set = (high >>> 0) % (ENTRIES / WAYS);
    return { first: at + set * WAYS * this.#size, low, high };
  }
}
