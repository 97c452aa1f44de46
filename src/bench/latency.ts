/** Buckets per doubling: resolution 1/64, about 1.6 %. */
const STEPS = 64;
const STEP_BITS = 6;

/** A histogram of durations in integer microseconds, up to 2^31, with logarithmic buckets. */
export class Latency {
  readonly #counts = new Uint32Array(STEPS * 27);
  #total = 0;

  get total(): number {
    return this.#total;
  }

  record(us: number): void {
    const value = us < 0 ? 0 : us | 0;
    const shift = Math.max(0, 31 - STEP_BITS - Math.clz32(value));
    const bucket = shift * STEPS + (value >>> shift);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#total++;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** What was recorded, to be added to another histogram: pairs of bucket and count. */
  entries(): [bucket: number, count: number][] {
    return [...this.#counts.entries()].filter(([, count]) => count > 0);
  }

  /** Adds the `entries` of another histogram. */
  add(entries: readonly (readonly [bucket: number, count: number])[]): void {
    for (const [bucket, count] of entries) {
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
      this.#total += count;
    }
  }

  /** The quantile (0 to 1) in ms; `null` if nothing was recorded. */
  quantileMs(share: number): number | null {
    if (this.#total === 0) return null;
    let left = Math.ceil(this.#total * share);
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      left -= this.#counts[bucket] ?? 0;
      if (left > 0) continue;
      if (bucket < STEPS * 2) return bucket / 1000;
      const shift = Math.floor(bucket / STEPS) - 1;
      return ((bucket - shift * STEPS + 0.5) * 2 ** shift) / 1000;
    }
    return null;
  }
}
