import { readdirSync, statSync } from "node:fs";
import type { Listeners } from "../http/listeners.ts";
import { atMostOncePer, type Log } from "../log.ts";
import { openFileLimit } from "./open-files.ts";
import { openSilent, type Silent } from "./silent-connections.ts";

/** Descriptors that stay free for what is no client: Redis, files, health checks. */
const SPARE = 64;

/** Free descriptors below which connections are closed that have sent nothing, or no whole request. */
const FEW = 32;
const HARDLY_ANY = 8;

/** How soon to look again after connections had to be closed, in ms, and after none could be found. */
const SOON = 20;
const LATER = 1000;

const WARN_PAUSE = 60_000;

/**
 * The descriptors of this process. Where the last one is used up, the runtime tries to accept the next connection in an endless
 * loop; so clients get no more than the limit less `SPARE`, counted with those that have sent no request yet.
 */
export class Descriptors {
  /** Files that may be open; infinite where that is not known, as on other systems than Linux. */
  readonly limit: number;
  readonly #log: Log;
  readonly #warn: () => void;
  /** Requests until the descriptors in use are counted again. */
  #unchecked = 0;
  #closed = 0;
  #silent: Silent | null = null;
  #opened = false;
  #nextScan = 0;
  #again: Timer | null = null;

  constructor(log: Log) {
    this.limit = openFileLimit();
    this.#log = log;
    this.#warn = atMostOncePer(WARN_PAUSE, () => {
      this.#log.warn("few file descriptors are left: closed connections without a request", {
        closed: this.#closed,
        limit: this.limit,
      });
      this.#closed = 0;
    });
  }

  /** How many connections there may be beside what is open now. */
  get room(): number {
    return Math.max(1, this.limit - SPARE - inUse());
  }

  /** Whether a new connection would take one of those that stay free. Cheap enough for each request. */
  isCrowded(): boolean {
    if (this.limit === Number.POSITIVE_INFINITY || --this.#unchecked > 0) return false;
    const left = this.limit - SPARE - inUse();
    this.#unchecked = left / 2;
    return left < 0;
  }

  /** To be called a few times a second. Makes room where clients took more than they may before they could be refused. */
  check(listeners: Listeners): void {
    this.#unchecked = 0;
    if (this.limit === Number.POSITIVE_INFINITY) return;
    const used = inUse();
    if (used > this.limit / 2) this.#open();
    const wanted = used - (this.limit - SPARE);
    if (wanted <= 0) return;
    const idle = listeners.closeIdleConnections();
    const left = this.limit - used + idle;
    if (left < FEW) this.#closeSilent(listeners, wanted - idle, left < HARDLY_ANY);
  }

  stop(): void {
    if (this.#again !== null) clearTimeout(this.#again);
  }

  /** What closes connections takes memory, which most servers never need. */
  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    void openSilent().then((silent) => {
      this.#silent = silent;
    });
  }

  #closeSilent(listeners: Listeners, wanted: number, unanswered: boolean): void {
    const now = performance.now();
    if (this.#silent === null || now < this.#nextScan) return;
    const closed = this.#silent.close(listeners.port, this.limit, wanted, unanswered);
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
    // The kernel says it here since Linux 6.2.
    return statSync("/proc/self/fd").size || readdirSync("/proc/self/fd").length;
  } catch {
    // There was none left to read it with.
    return Number.POSITIVE_INFINITY;
  }
}
