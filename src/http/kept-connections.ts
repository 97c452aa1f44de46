/** Maximum number of connections tracked. Beyond, the older half is dropped. */
const MAX_KEPT = 100_000;

/**
 * Counts kept-alive HTTP connections by address. The runtime does not report their end, so a connection counts for one to
 * two idle timeouts after its last request.
 */
export class KeptConnections {
  readonly #keptFor: number;
  /** Ports by address: with a request in the current period, and with their last request in the previous one. */
  #current = new Map<string, Set<number>>();
  #previous = new Map<string, Set<number>>();
  #currentSize = 0;
  #rotatedAt = Number.NEGATIVE_INFINITY;

  /** @param keptFor idle timeout of the runtime, in ms */
  constructor(keptFor: number) {
    this.#keptFor = keptFor;
  }

  has(address: string, port: number): boolean {
    return this.#current.get(address)?.has(port) === true || this.#previous.get(address)?.has(port) === true;
  }

  /** Number of connections of an address. */
  count(address: string, now: number): number {
    this.#rotate(now);
    return (this.#current.get(address)?.size ?? 0) + (this.#previous.get(address)?.size ?? 0);
  }

  /** Call for each request. */
  note(address: string, port: number, now: number): void {
    this.#rotate(now);
    const ports = this.#current.get(address);
    if (ports?.has(port)) return;
    this.#currentSize++;
    if (ports === undefined) this.#current.set(address, new Set([port]));
    else ports.add(port);
    this.#previous.get(address)?.delete(port);
  }

  #rotate(now: number): void {
    const age = now - this.#rotatedAt;
    if (age < this.#keptFor && this.#currentSize < MAX_KEPT / 2) return;
    this.#previous = age < 2 * this.#keptFor ? this.#current : new Map();
    this.#current = new Map();
    this.#currentSize = 0;
    this.#rotatedAt = now;
  }
}
