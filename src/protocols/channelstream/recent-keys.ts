/** Remembers the last few thousand keys, so that what comes twice is told once. */
export class Recent {
  readonly #most: number;
  #new = new Set<string>();
  #old: ReadonlySet<string> = new Set();

  /** At least `most` keys are remembered, and at most twice as many. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Remembers a key; `false` if it was known. */
  add(key: string): boolean {
    const known = this.#new.has(key) || this.#old.has(key);
    if (this.#new.size >= this.#most) {
      this.#old = this.#new;
      this.#new = new Set();
    }
    this.#new.add(key);
    return !known;
  }
}
