import type { HeldBytes } from "./lag-queue.ts";

/** Interval between two checks of the probes that are not answered, in ms. */
const PROBE_INTERVAL = 100;

/** How long all clients are checked for a backlog after one was noticed, in ms. */
const NOTICED_FOR = 1_000;

/** Most bytes that a client on a channel with `slow = "latest"` may have as a backlog before it counts as lagging. */
const MAX_BACKLOG = 256 * 1024;

export interface ConflationLimits {
  /** A client that reads nothing for this time is cut off, in ms. */
  readonly idleTimeout: number;
  /** Maximum backlog of one client, in bytes: frames that wait in the socket, and those that wait here. */
  readonly maxBufferedPerClient: number;
}

/** A client that may get less than every message. */
export interface Conflatable {
  /** Bytes of frames that wait for it here. */
  readonly held: number;
  check(now: number): void;
  /** Returns whether its probe still waits for an answer. */
  checkProbe(now: number): boolean;
  cutOff(): void;
}

/** The clients on channels whose messages may be left out for a client that does not keep up. */
export class ConflatedClients {
  readonly limits: ConflationLimits;
  /** Backlog in bytes above which a client lags at once. */
  readonly maxBacklog: number;
  readonly held: HeldBytes = { bytes: 0 };
  /** Messages left out since start. */
  leftOut = 0;
  readonly #onActive: () => void;
  readonly #clients = new Set<Conflatable>();
  /** Those that lag, or lagged a short time ago. */
  readonly #watched = new Set<Conflatable>();
  /** Those with a probe that is not answered. */
  readonly #probed = new Set<Conflatable>();
  #probeTimer: Timer | null = null;
  /** Bytes that one client may have got as a backlog since the last check. */
  #unchecked = 0;
  /** When one was last noticed (`performance.now()`). */
  #noticedAt = Number.NEGATIVE_INFINITY;

  /** @param onActive called when `active` may have become true */
  constructor(limits: ConflationLimits, onActive: () => void) {
    this.limits = limits;
    this.#onActive = onActive;
    // Two of them and the largest message are less than the backlog at which Bun closes a socket.
    this.maxBacklog = Math.min(MAX_BACKLOG, limits.maxBufferedPerClient / 8);
  }

  /** Whether `check` has to be called regularly. */
  get active(): boolean {
    return this.#watched.size > 0;
  }

  add(client: Conflatable): void {
    this.#clients.add(client);
  }

  remove(client: Conflatable): void {
    this.#clients.delete(client);
    this.#watched.delete(client);
    this.#probed.delete(client);
  }

  /** To be called when a client was sent a probe. It may be late by `PROBE_INTERVAL`. */
  probed(client: Conflatable): void {
    this.#probed.add(client);
    this.#probeTimer ??= setInterval(() => this.#checkProbes(performance.now()), PROBE_INTERVAL);
  }

  answered(client: Conflatable): void {
    this.#probed.delete(client);
  }

  watch(client: Conflatable): void {
    this.#watched.add(client);
    this.#onActive();
  }

  unwatch(client: Conflatable): void {
    this.#watched.delete(client);
  }

  /** To be called when a frame was sent to clients of which at least one has a backlog. */
  backlogged(bytes: number): void {
    const now = performance.now();
    this.#noticedAt = now;
    this.#unchecked += bytes;
    if (this.#unchecked >= this.maxBacklog) this.check(now);
  }

  /** To be called several times a second while a client has a backlog or `active`. */
  check(now: number): void {
    this.#unchecked = 0;
    const clients = now - this.#noticedAt < NOTICED_FOR ? this.#clients : this.#watched;
    for (const client of clients) client.check(now);
  }

  stop(): void {
    if (this.#probeTimer !== null) clearInterval(this.#probeTimer);
  }

  /** Cuts off the clients with the most waiting frames, until at least `bytes` less wait. */
  shed(bytes: number): void {
    const lagging = [...this.#watched].sort((a, b) => b.held - a.held);
    let left = bytes;
    for (const client of lagging) {
      if (left <= 0) return;
      left -= client.held;
      client.cutOff();
    }
  }

  #checkProbes(now: number): void {
    for (const client of this.#probed) if (!client.checkProbe(now)) this.#probed.delete(client);
    if (this.#probed.size > 0 || this.#probeTimer === null) return;
    clearInterval(this.#probeTimer);
    this.#probeTimer = null;
  }
}
