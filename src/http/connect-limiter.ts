import { addressBlock } from "../auth/address-block.ts";
import type { Limits } from "../config.ts";
import type { Refusal } from "./admission.ts";
import type { Client } from "./client.ts";

/** Addresses whose rate is remembered at once; beyond, the one that asked longest ago begins anew. */
const MAX_BUCKETS = 20_000;

/** Seconds' worth of connections that may come at once. */
const BURST_SECS = 10;

interface Bucket {
  /** Connections that may come now. */
  left: number;
  /** When `left` was true, in ms. */
  at: number;
}

/**
 * How many connections there may be, and how fast they may come, decided before the upgrade. What is admitted holds a
 * place until it is released. Clients on this machine have no limit of their own.
 */
export class ConnectLimiter {
  readonly #limits: Limits;
  readonly #crowded: () => boolean;
  readonly #now: () => number;
  readonly #open = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();
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
  admit(client: Client): Refusal | null {
    return this.#tooFast(client) ?? this.take(client);
  }

  /** For who will take a place later: as `admit`, without taking it. */
  welcome(client: Client): Refusal | null {
    return this.#tooFast(client) ?? this.#full(client);
  }

  /** Takes the place of one who was welcome before. Each `null` needs one `release` of the same client. */
  take(client: Client): Refusal | null {
    const full = this.#full(client);
    if (full !== null) return full;
    const block = addressBlock(client.address);
    this.#total++;
    this.#open.set(block, (this.#open.get(block) ?? 0) + 1);
    return null;
  }

  release(client: Pick<Client, "address">): void {
    const block = addressBlock(client.address);
    const held = this.#open.get(block);
    if (held === undefined) return;
    this.#total--;
    if (held > 1) this.#open.set(block, held - 1);
    else this.#open.delete(block);
  }

  #tooFast(client: Client): Refusal | null {
    if (client.loopback || this.#takeToken(addressBlock(client.address))) return null;
    return {
      status: 429,
      code: "too_many_connects",
      sentence: "Too many connections at once from this address: try again in a moment.",
    };
  }

  #full(client: Client): Refusal | null {
    if (this.#total >= this.#limits.maxConnections || this.#crowded()) {
      return {
        status: 503,
        code: "too_many_connections",
        sentence: "The server holds as many connections as it may: try again later.",
      };
    }
    const held = this.#open.get(addressBlock(client.address)) ?? 0;
    if (client.loopback || held < this.#limits.maxConnectionsPerIp) return null;
    return {
      status: 503,
      code: "too_many_connections_of_address",
      sentence: "This address holds as many connections as it may.",
    };
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
