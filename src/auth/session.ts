import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** How long a session lasts, in ms. */
export const SESSION_MS = 12 * 60 * 60 * 1000;

/** Ended sessions remembered at once. */
const MAX_ENDED = 10_000;

export interface Session {
  readonly id: string;
  /** Unix time in ms. */
  readonly expiresAt: number;
}

/**
 * Sessions of administrators. One is a signed text that its holder keeps, so that it outlives a restart; the server
 * remembers only those that were ended before their time.
 */
export class Sessions {
  readonly #key: Uint8Array;
  readonly #now: () => number;
  /** Ids of ended sessions and when they would have expired, in the order in which they were ended. */
  readonly #ended = new Map<string, number>();
  /** Sessions that expire up to here are all ended: how memory stays bounded without bringing one back. */
  #endedUntil = 0;

  /**
   * @param key of 32 bytes: with another key all sessions are ended
   * @param now unix time in ms
   */
  constructor(key: Uint8Array, now: () => number) {
    this.#key = key;
    this.#now = now;
  }

  /** Begins a session and gives the text that proves it. */
  begin(): string {
    const text = `${randomBytes(16).toString("base64url")}.${(this.#now() + SESSION_MS).toString(36)}`;
    return `${text}.${this.#sign(text)}`;
  }

  /** The session that a text proves; `null` for a forged, expired or ended one. */
  read(proof: string): Session | null {
    const [id, expiry, signature, ...more] = proof.split(".");
    if (id === undefined || expiry === undefined || signature === undefined || more.length > 0) return null;
    const given = Buffer.from(signature);
    const right = Buffer.from(this.#sign(`${id}.${expiry}`));
    if (given.length !== right.length || !timingSafeEqual(given, right)) return null;
    const expiresAt = Number.parseInt(expiry, 36);
    if (expiresAt <= this.#now() || expiresAt <= this.#endedUntil || this.#ended.has(id)) return null;
    return { id, expiresAt };
  }

  end({ id, expiresAt }: Session): void {
    const now = this.#now();
    for (const [other, expiry] of this.#ended) {
      if (expiry <= now) this.#ended.delete(other);
    }
    for (const [other, expiry] of this.#ended) {
      if (this.#ended.size < MAX_ENDED) break;
      this.#ended.delete(other);
      this.#endedUntil = Math.max(this.#endedUntil, expiry);
    }
    this.#ended.set(id, expiresAt);
  }

  #sign(text: string): string {
    return createHmac("sha256", this.#key).update(text).digest("base64url");
  }
}
