import { addressBlock } from "../auth/peer.ts";
import { isLoopback } from "../config/loopback.ts";

/** Bytes that the clients of one address may still send. */
export interface ByteBucket {
  left: number;
  /** The time of `left` (`performance.now()`). */
  at: number;
}

/** Addresses with a bucket. Beyond, the bucket of the address that connected longest ago is forgotten: it gets a full burst. */
const MAX_BUCKETS = 20_000;

/**
 * Bytes per second that all clients of one address may send together. A new connection has a burst of its own: without this,
 * a client could exceed its limit by reconnecting. Loopback has no limit.
 */
export class AddressBytes {
  readonly #bytesPerSecond: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, ByteBucket>();

  constructor(bytesPerSecond: number, burst: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#burst = burst;
  }

  /** The bucket of an address, to be kept by its client; `null` where the address has no limit. */
  bucketOf(address: string, now: number): ByteBucket | null {
    if (isLoopback(address)) return null;
    const block = addressBlock(address);
    const bucket = this.#buckets.get(block) ?? { left: this.#burst, at: now };
    // The map is in the order of the last connections.
    this.#buckets.delete(block);
    this.#buckets.set(block, bucket);
    if (this.#buckets.size > MAX_BUCKETS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket;
  }

  /** Charges bytes to an address; `false` when it has fewer left. */
  charge(bucket: ByteBucket, bytes: number, now: number): boolean {
    bucket.left = Math.min(this.#burst, bucket.left + ((now - bucket.at) / 1000) * this.#bytesPerSecond);
    bucket.at = now;
    if (bucket.left < bytes) return false;
    bucket.left -= bytes;
    return true;
  }
}
