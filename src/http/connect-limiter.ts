import { addressBlock, type Peer } from "../auth/peer.ts";
import { Rejection } from "../auth/rejection.ts";
import type { Limits } from "../config/config.ts";
import { KeptConnections } from "./kept-connections.ts";

/** Maximum number of addresses with a tracked rate. The least recently used is dropped first. */
const MAX_BUCKETS = 20_000;

/** Burst allowance, in seconds of the sustained rate. */
const BURST_SECS = 10;

/** Idle timeout of a kept-alive HTTP connection, in seconds. */
export const KEEP_ALIVE_SECS = 10;

const TOO_FAST = new Rejection(
  429,
  "too_many_connects",
  "Too many new connections from this address (limits.connects_per_second_per_ip): try again in a moment.",
);
const ADDRESS_FULL = new Rejection(
  503,
  "too_many_connections_of_address",
  "Connection limit of this address reached (limits.max_connections_per_ip).",
);

interface Bucket {
  /** Tokens left. */
  left: number;
  /** When `left` was computed, in ms. */
  at: number;
}

/**
 * Limits the number of connections and their rate, in total and per address, before the upgrade. An admitted connection
 * occupies a slot until `release`. Plain requests count towards the limits of their address too. Loopback clients have no
 * per-address limits.
 */
export class ConnectLimiter {
  readonly #limits: Limits;
  readonly #exhausted: () => boolean;
  readonly #now: () => number;
  readonly #open = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();
  readonly #kept = new KeptConnections(KEEP_ALIVE_SECS * 1000);
  #total = 0;

  /**
   * @param exhausted whether the process cannot open another connection, regardless of the limits
   * @param now monotonic clock, in ms
   */
  constructor(
    limits: Limits,
    exhausted: () => boolean = () => false,
    now: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#exhausted = exhausted;
    this.#now = now;
  }

  /** Number of occupied slots. */
  get open(): number {
    return this.#total;
  }

  /** Number of addresses with a tracked rate. */
  get tracked(): number {
    return this.#buckets.size;
  }

  /** Checks the rate and occupies a slot. After `null` the caller must call `release` once. */
  admit(peer: Peer): Rejection | null {
    return this.#tooFast(peer) ?? this.take(peer);
  }

  /** As `admit`, without occupying a slot. */
  mayBegin(peer: Peer): Rejection | null {
    return this.#tooFast(peer) ?? this.#full(peer);
  }

  /** Occupies a slot after `mayBegin`. After `null` the caller must call `release` once. */
  take(peer: Peer): Rejection | null {
    const full = this.#full(peer);
    if (full !== null) return full;
    const block = addressBlock(peer.address);
    this.#total++;
    this.#open.set(block, (this.#open.get(block) ?? 0) + 1);
    return null;
  }

  /**
   * Counts a plain request in the rate of its address, and its connection in the connections of the address. Needs no
   * `release`.
   *
   * @param port the client's port; `null` if the connection closes after this request
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
    if (this.#total >= this.#limits.maxConnections || this.#exhausted()) {
      return new Rejection(
        503,
        "too_many_connections",
        "Connection limit of the server reached (limits.max_connections): try again later.",
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
    // Reinserted at the end: the map is in order of last use.
    this.#buckets.delete(block);
    this.#buckets.set(block, bucket);
    this.#dropUnused(now);
    return taken;
  }

  /** Drops buckets unused for `BURST_SECS`: they are full again. */
  #dropUnused(now: number): void {
    for (const [block, { at }] of this.#buckets) {
      if (this.#buckets.size <= MAX_BUCKETS && now - at < BURST_SECS * 1000) return;
      this.#buckets.delete(block);
    }
  }
}
