import { readdirSync, statSync } from "node:fs";
import { atMostOncePer, type Log } from "../log.ts";
import { openFileLimit } from "./open-files.ts";
import { openSilentConnections, type SilentConnections } from "./silent-connections.ts";

/** Descriptors reserved for Redis, files and health checks. */
const RESERVED = 64;

/** Free descriptors below which connections that sent nothing (`FEW`) or no complete request (`VERY_FEW`) are closed. */
const FEW = 32;
const VERY_FEW = 8;

/** Delay of the next check after connections were closed (`SOON`) and after none was found (`LATER`), ms. */
const SOON = 20;
const LATER = 1000;

const WARN_PAUSE = 60_000;

/** The listening sockets, as far as descriptors need them. */
export interface ListeningSockets {
  readonly port: number;
  /** Closes kept-alive connections without a request. Returns their number. */
  closeIdleConnections(): number;
}

/**
 * Keeps descriptors of this process free: with none left, the runtime retries `accept` in an endless loop. Clients get at most the
 * limit minus `RESERVED`, connections without a request included.
 */
export class Descriptors {
  /** Open file limit; infinite if unknown (not Linux). */
  readonly limit: number;
  readonly #log: Log;
  readonly #warn: () => void;
  /** Requests until open descriptors are counted again. */
  #unchecked = 0;
  #closed = 0;
  #silent: SilentConnections | null = null;
  #opened = false;
  #nextScan = 0;
  #again: Timer | null = null;

  constructor(log: Log) {
    this.limit = openFileLimit();
    this.#log = log;
    this.#warn = atMostOncePer(WARN_PAUSE, () => {
      this.#log.warn("file descriptors almost exhausted, closed connections without a request", {
        closed: this.#closed,
        limit: this.limit,
      });
      this.#closed = 0;
    });
  }

  /** Number of open descriptors; infinite if unknown. */
  get open(): number {
    return inUse();
  }

  /** Number of descriptors available for connections. */
  get available(): number {
    return Math.max(1, this.limit - RESERVED - inUse());
  }

  /** Whether a new connection would use a reserved descriptor. Cheap: counts only every few requests. */
  isExhausted(): boolean {
    if (this.limit === Number.POSITIVE_INFINITY || --this.#unchecked > 0) return false;
    const left = this.limit - RESERVED - inUse();
    this.#unchecked = left / 2;
    return left < 0;
  }

  /** Call this a few times per second. Closes connections if clients use reserved descriptors. */
  check(listeners: ListeningSockets): void {
    this.#unchecked = 0;
    if (this.limit === Number.POSITIVE_INFINITY) return;
    const used = inUse();
    if (used > this.limit / 2) this.#open();
    const excess = used - (this.limit - RESERVED);
    if (excess <= 0) return;
    const idle = listeners.closeIdleConnections();
    const left = this.limit - used + idle;
    if (left < FEW) this.#closeSilent(listeners, excess - idle, left < VERY_FEW);
  }

  stop(): void {
    if (this.#again !== null) clearTimeout(this.#again);
  }

  /** Loads the code that closes connections on first need: it uses 4 MB. */
  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    void openSilentConnections().then((silent) => {
      this.#silent = silent;
    });
  }

  #closeSilent(listeners: ListeningSockets, excess: number, unanswered: boolean): void {
    const now = performance.now();
    if (this.#silent === null || now < this.#nextScan) return;
    const closed = this.#silent.close(listeners.port, this.limit, excess, unanswered);
    this.#closed += closed;
    if (closed > 0) this.#warn();
    else this.#nextScan = now + LATER;
    if (closed === 0 || this.#again !== null) return;
    this.#again = setTimeout(() => {
      this.#again = null;
      this.check(listeners);
    }, SOON);
  }
}

function inUse(): number {
  try {
    // The size is the number of descriptors since Linux 6.2.
    return statSync("/proc/self/fd").size || readdirSync("/proc/self/fd").length;
  } catch {
    // No descriptor was left to read it.
    return Number.POSITIVE_INFINITY;
  }
}
