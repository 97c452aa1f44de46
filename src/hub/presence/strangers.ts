/** A server that lives is known after this time, in ms: each reports every 2 s. */
const KNOWN_WITHIN = 2500;

/** How long a server is unknown, or dead, before this one removes its entries, in ms. */
const STRANGE_FOR = 20_000;
const DEAD_FOR = 60_000;

/** The most servers of either kind. */
const MAX = 1000;

/** The incarnations in stored entries that are neither this server's nor those of servers that it knows. */
export class Strangers {
  readonly #isKnown: (incarnation: string) => boolean;
  /** Since when their entries were seen (`performance.now()`). */
  readonly #seen = new Map<string, number>();
  /** Declared dead, and since when. */
  readonly #dead = new Map<string, number>();

  /** @param isKnown whether an incarnation is this server's own, or that of another living server */
  constructor(isKnown: (incarnation: string) => boolean) {
    this.#isKnown = isKnown;
  }

  /** An entry of a server that is not known was read. Returns whether it is to be removed. */
  found(incarnation: string): boolean {
    const now = performance.now();
    const died = this.#dead.get(incarnation);
    // The one that acts for a dead server reads its entries first.
    if (died !== undefined) return now - died > DEAD_FOR;
    if (!this.#seen.has(incarnation) && this.#seen.size < MAX) this.#seen.set(incarnation, now);
    return false;
  }

  /**
   * Whether there are entries of servers that may live, though this one does not know them yet: it has just started. A member
   * that returns to it must not see others leave.
   */
  mayLive(fields: Iterable<string>): boolean {
    const now = performance.now();
    for (const field of fields) {
      const incarnation = field.slice(0, field.indexOf("|"));
      if (this.#isKnown(incarnation) || this.#dead.has(incarnation)) continue;
      this.found(incarnation);
      const since = this.#seen.get(incarnation);
      if (since !== undefined && now - since <= KNOWN_WITHIN) return true;
    }
    return false;
  }

  known(incarnation: string): void {
    this.#seen.delete(incarnation);
  }

  died(incarnation: string): void {
    this.#seen.delete(incarnation);
    this.#dead.set(incarnation, performance.now());
    const [oldest] = this.#dead.keys();
    if (this.#dead.size > MAX && oldest !== undefined) this.#dead.delete(oldest);
  }

  /** Takes those that no server declared dead for long enough: they ended while no other server lived. */
  takeAbandoned(): string[] {
    const now = performance.now();
    const abandoned: string[] = [];
    for (const [incarnation, since] of this.#seen) {
      if (now - since < STRANGE_FOR) continue;
      this.#seen.delete(incarnation);
      if (!this.#isKnown(incarnation)) abandoned.push(incarnation);
    }
    return abandoned;
  }
}
