/** Connections remembered at once; beyond, the older half is forgotten. */
const MAX_KEPT = 100_000;

/**
 * Connections that are kept alive between requests, by address. The runtime does not tell of their end: one counts from its
 * last request for as long as the runtime keeps it, and at most for twice that.
 */
export class KeptConnections {
  readonly #keptFor: number;
  /** Ports by address: of the requests of this period, and of those of the one before that have not asked since. */
  #recent = new Map<string, Set<number>>();
  #before = new Map<string, Set<number>>();
  #recentSize = 0;
  #turnedAt = Number.NEGATIVE_INFINITY;

  /** @param keptFor ms after which the runtime closes an idle connection */
  constructor(keptFor: number) {
    this.#keptFor = keptFor;
  }

  has(address: string, port: number): boolean {
    return this.#recent.get(address)?.has(port) === true || this.#before.get(address)?.has(port) === true;
  }

  /** How many an address has. */
  count(address: string, now: number): number {
    this.#turn(now);
    return (this.#recent.get(address)?.size ?? 0) + (this.#before.get(address)?.size ?? 0);
  }

  /** To be called with each request. */
  note(address: string, port: number, now: number): void {
    this.#turn(now);
    const ports = this.#recent.get(address);
    if (ports?.has(port)) return;
    this.#recentSize++;
    if (ports === undefined) this.#recent.set(address, new Set([port]));
    else ports.add(port);
    this.#before.get(address)?.delete(port);
  }

  #turn(now: number): void {
    const age = now - this.#turnedAt;
    if (age < this.#keptFor && this.#recentSize < MAX_KEPT / 2) return;
    this.#before = age < 2 * this.#keptFor ? this.#recent : new Map();
    this.#recent = new Map();
    this.#recentSize = 0;
    this.#turnedAt = now;
  }
}
