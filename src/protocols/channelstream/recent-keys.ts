/** Remembers recent keys, to drop duplicates. */
export class RecentKeys {
  readonly #most: number;
  #new = new Set<string>();
  #old: ReadonlySet<string> = new Set();

  /** Remembers at least the last `most` keys, and at most twice as many. */
  constructor(most: number) {
    this.#most = most;
  }

  has(key: string): boolean {
    return this.#new.has(key) || this.#old.has(key);
  }

  /** Adds a key; `false` if it was known. */
  add(key: string): boolean {
    const known = this.has(key);
    if (this.#new.size >= this.#most) {
      this.#old = this.#new;
      this.#new = new Set();
    }
    this.#new.add(key);
    return !known;
  }
}
