/** Maximum number of addresses with a tracked rate. The least recently used is dropped first. */
const MAX_BUCKETS = 20_000;

/** Burst allowance, in seconds of the sustained rate. */
export const BURST_SECS = 10;

/** What limits count: open connections, in total and by address, and the rates of addresses. */
export interface ConnectionCounts {
  /** Open connections. */
  readonly total: number;
  /** Open connections of an address. */
  open(address: string): number;
  add(address: string): void;
  remove(address: string): void;
  /** Takes one of the connects that an address has. Returns false if none is left. @param rate connects per second */
  takeToken(address: string, rate: number): boolean;
}

interface Bucket {
  /** Tokens left. */
  left: number;
  /** When `left` was computed, in ms. */
  at: number;
}

/** The counts of a server of one process. */
export class LocalCounts implements ConnectionCounts {
  total = 0;
  readonly #now: () => number;
  readonly #open = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();

  /** @param now monotonic clock, in ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Number of addresses with a tracked rate. */
  get tracked(): number {
    return this.#buckets.size;
  }

  open(address: string): number {
    return this.#open.get(address) ?? 0;
  }

  add(address: string): void {
    this.total++;
    this.#open.set(address, this.open(address) + 1);
  }

  remove(address: string): void {
    const held = this.#open.get(address);
    if (held === undefined) return;
    this.total--;
    if (held > 1) this.#open.set(address, held - 1);
    else this.#open.delete(address);
  }

  takeToken(address: string, rate: number): boolean {
    const burst = rate * BURST_SECS;
    const now = this.#now();
    const bucket = this.#buckets.get(address) ?? { left: burst, at: now };
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    const taken = bucket.left >= 1;
    if (taken) bucket.left--;
    // Reinserted at the end: the map is in order of last use.
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket);
    this.#dropUnused(now);
    return taken;
  }

  /** Drops buckets unused for `BURST_SECS`: they are full again. */
  #dropUnused(now: number): void {
    for (const [address, { at }] of this.#buckets) {
      if (this.#buckets.size <= MAX_BUCKETS && now - at < BURST_SECS * 1000) return;
      this.#buckets.delete(address);
    }
  }
}
