import { addressBlock, type Peer } from "../auth/peer.ts";
import { Rejection } from "../auth/rejection.ts";
import type { Limits } from "../config/config.ts";
import { KeptConnections } from "./kept-connections.ts";

/** Addresses whose rate is remembered at once; beyond, the one that asked longest ago begins anew. */
const MAX_BUCKETS = 20_000;

/** Seconds' worth of connections that may come at once. */
const BURST_SECS = 10;

/** How long the runtime keeps a connection without a request, in seconds. */
export const KEEP_ALIVE_SECS = 10;

const TOO_FAST = new Rejection(
  429,
  "too_many_connects",
  "Too many new connections from this address: try again in a moment.",
);
const ADDRESS_FULL = new Rejection(
  503,
  "too_many_connections_of_address",
  "Connection limit of this address reached.",
);

interface Bucket {
  /** Connections that may come now. */
  left: number;
  /** When `left` was true, in ms. */
  at: number;
}

/**
 * How many connections there may be, and how fast they may come, decided before the upgrade. What is admitted holds a
 * place until it is released. Plain requests count in the limits of their address too. Clients on this machine have no limit
 * of their own.
 */
export class ConnectLimiter {
  readonly #limits: Limits;
  readonly #crowded: () => boolean;
  readonly #now: () => number;
  readonly #open = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();
  readonly #kept = new KeptConnections(KEEP_ALIVE_SECS * 1000);
  #total = 0;

  /**
   * @param crowded whether the process has no room for a connection more, whatever the limits say
   * @param now a clock in ms that never goes back
   */
  constructor(
    limits: Limits,
    crowded: () => boolean = () => false,
    now: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#crowded = crowded;
    this.#now = now;
  }

  /** How many places are held. */
  get open(): number {
    return this.#total;
  }

  /** How many addresses' rates are remembered. */
  get remembered(): number {
    return this.#buckets.size;
  }

  /** Takes a place, or says why there is none. Each `null` needs one `release` of the same client. */
  admit(peer: Peer): Rejection | null {
    return this.#tooFast(peer) ?? this.take(peer);
  }

  /** For who will take a place later: as `admit`, without taking it. */
  mayBegin(peer: Peer): Rejection | null {
    return this.#tooFast(peer) ?? this.#full(peer);
  }

  /** Takes the place of one who was mayBegin before. Each `null` needs one `release` of the same client. */
  take(peer: Peer): Rejection | null {
    const full = this.#full(peer);
    if (full !== null) return full;
    const block = addressBlock(peer.address);
    this.#total++;
    this.#open.set(block, (this.#open.get(block) ?? 0) + 1);
    return null;
  }

  /**
   * Counts a plain request: in the rate of its address, and its connection in those that the address holds. Says why it goes
   * no further, or `null`. There is nothing to release.
   *
   * @param port of the connection; `null` for one that ends with this request
   */
  request(peer: Peer, port: number | null): Rejection | null {
    if (peer.loopback) return null;
    const block = addressBlock(peer.address);
    const now = this.#now();
    const known = port !== null && this.#kept.has(block, port);
    if (!known && this.#held(block, now) >= this.#limits.maxConnectionsPerIp) return ADDRESS_FULL;
    if (port !== null) this.#kept.note(block, port, now);
    return this.#takeToken(block) ? null : TOO_FAST;
  }

  release(peer: Pick<Peer, "address">): void {
    const block = addressBlock(peer.address);
    const held = this.#open.get(block);
    if (held === undefined) return;
    this.#total--;
    if (held > 1) this.#open.set(block, held - 1);
    else this.#open.delete(block);
  }

  #tooFast(peer: Peer): Rejection | null {
    return peer.loopback || this.#takeToken(addressBlock(peer.address)) ? null : TOO_FAST;
  }

  #full(peer: Peer): Rejection | null {
    if (this.#total >= this.#limits.maxConnections || this.#crowded()) {
      return new Rejection(
        503,
        "too_many_connections",
        "Connection limit of the server reached: try again later.",
      );
    }
    if (peer.loopback) return null;
    const held = this.#held(addressBlock(peer.address), this.#now());
    return held < this.#limits.maxConnectionsPerIp ? null : ADDRESS_FULL;
  }

  #held(block: string, now: number): number {
    return (this.#open.get(block) ?? 0) + this.#kept.count(block, now);
  }

  #takeToken(block: string): boolean {
    const rate = this.#limits.connectsPerSecondPerIp;
    const burst = rate * BURST_SECS;
    const now = this.#now();
    const bucket = this.#buckets.get(block) ?? { left: burst, at: now };
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    const taken = bucket.left >= 1;
    if (taken) bucket.left--;
    // Put back at the end: the map is ordered by who asked last.
    this.#buckets.delete(block);
    this.#buckets.set(block, bucket);
    this.#forget(now);
    return taken;
  }

  /** A bucket that nobody asked for so long is full again: forgetting it changes nothing. */
  #forget(now: number): void {
    for (const [block, { at }] of this.#buckets) {
      if (this.#buckets.size <= MAX_BUCKETS && now - at < BURST_SECS * 1000) return;
      this.#buckets.delete(block);
    }
  }
}
