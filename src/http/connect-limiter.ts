import { addressBlock, type Peer } from "../auth/peer.ts";
import { Rejection } from "../auth/rejection.ts";
import type { Limits } from "../config/config.ts";
import { type ConnectionCounts, LocalCounts } from "./connection-counts.ts";
import { KeptConnections } from "./kept-connections.ts";

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

const FULL = new Rejection(
  503,
  "too_many_connections",
  "Connection limit of the server reached (limits.max_connections): try again later.",
);

/**
 * Limits the number of connections and their rate, in total and per address, before the upgrade. An admitted connection
 * occupies a slot until `release`. Plain requests count towards the limits of their address too. Loopback clients have no
 * per-address limits.
 */
export class ConnectLimiter {
  readonly #limits: Limits;
  readonly #exhausted: () => boolean;
  readonly #now: () => number;
  readonly #counts: ConnectionCounts;
  readonly #kept = new KeptConnections(KEEP_ALIVE_SECS * 1000);

  /**
   * @param exhausted whether the process cannot open another connection, regardless of the limits
   * @param now monotonic clock, in ms
   * @param counts those of this process alone, if absent
   */
  constructor(
    limits: Limits,
    exhausted: () => boolean = () => false,
    now: () => number = () => performance.now(),
    counts: ConnectionCounts = new LocalCounts(now),
  ) {
    this.#limits = limits;
    this.#exhausted = exhausted;
    this.#now = now;
    this.#counts = counts;
  }

  /** Number of occupied slots. */
  get open(): number {
    return this.#counts.total;
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
    const counts = this.#counts;
    counts.add(block);
    // Another process may have taken the last slot meanwhile.
    if (counts.total <= this.#limits.maxConnections) return null;
    counts.remove(block);
    return FULL;
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
    this.#counts.remove(addressBlock(peer.address));
  }

  #tooFast(peer: Peer): Rejection | null {
    return peer.loopback || this.#takeToken(addressBlock(peer.address)) ? null : TOO_FAST;
  }

  #full(peer: Peer): Rejection | null {
    if (this.#counts.total >= this.#limits.maxConnections || this.#exhausted()) return FULL;
    if (peer.loopback) return null;
    const held = this.#held(addressBlock(peer.address), this.#now());
    return held < this.#limits.maxConnectionsPerIp ? null : ADDRESS_FULL;
  }

  #held(block: string, now: number): number {
    return this.#counts.open(block) + this.#kept.count(block, now);
  }

  #takeToken(block: string): boolean {
    return this.#counts.takeToken(block, this.#limits.connectsPerSecondPerIp);
  }
}
