import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Revocations } from "./revocations.ts";

/** How long a session lasts, in ms. */
export const SESSION_MS = 12 * 60 * 60 * 1000;

/** Proofs remembered as good, and the longest text that is looked at as one. */
const MAX_KNOWN = 10_000;
const MAX_PROOF = 128;

/** `<id>.<expiry>.<HMAC-SHA256 in base64url>` */
const PROOF = /^([\w-]{22})\.([0-9a-z]{1,11})\.([\w-]{43})$/;

export interface Session {
  readonly id: string;
  /** Unix time in ms. */
  readonly expiresAt: number;
  /** Whether it is over, by sign-out or by time. */
  readonly over: boolean;
}

/** What a text proves: a session, one that is over, or nothing at all. */
export type ReadSession = Session | "over" | "forged" | "malformed";

/**
 * Sessions of administrators. One is a signed text that its holder keeps, good on every server that has the same admin
 * secret; what was ended before its time is in `revocations`. Those from before this process started are good only where
 * it is known which of them were ended.
 */
export class Sessions {
  readonly #keys: readonly Uint8Array[];
  readonly #now: () => number;
  readonly #revocations: Revocations;
  readonly #startedAt: number;
  /** Proofs that were found good before: they are no guesses, whatever their address has tried meanwhile. */
  readonly #known = new Map<string, Session>();

  /**
   * @param keys of 32 bytes: the first signs, any is good
   * @param now unix time in ms
   */
  constructor(keys: readonly Uint8Array[], revocations: Revocations, now: () => number) {
    this.#keys = keys;
    this.#now = now;
    this.#revocations = revocations;
    this.#startedAt = now();
  }

  /** Begins a session and gives the text that proves it. */
  begin(): { readonly proof: string; readonly session: Session } {
    const id = randomBytes(16).toString("base64url");
    const expiresAt = this.#now() + SESSION_MS;
    const text = `${id}.${expiresAt.toString(36)}`;
    const [key] = this.#keys;
    if (key === undefined) throw new Error("there is no key to sign sessions with");
    const proof = `${text}.${sign(key, text)}`;
    return { proof, session: this.#remember(proof, id, expiresAt) };
  }

  /** The session of a text that was found good before, and still is; `null` where it must be checked. */
  known(proof: string): Session | null {
    const session = this.#known.get(proof);
    if (session === undefined) return null;
    if (!session.over) return session;
    this.#known.delete(proof);
    return null;
  }

  /** Checks a text. To be called only where its address may try one more. */
  read(proof: string): ReadSession {
    const [, id, expiry, signature] = (proof.length <= MAX_PROOF && PROOF.exec(proof)) || [];
    if (id === undefined || expiry === undefined || signature === undefined) return "malformed";
    if (!this.#isSigned(`${id}.${expiry}`, signature)) return "forged";
    const expiresAt = Number.parseInt(expiry, 36);
    const before = expiresAt - SESSION_MS < this.#startedAt;
    if (before && !this.#revocations.complete) return "over";
    if (this.#isOver(id, expiresAt)) return "over";
    return this.#remember(proof, id, expiresAt);
  }

  end({ id, expiresAt }: Session): void {
    this.#revocations.add({ kind: "session", id, until: expiresAt });
  }

  #isOver(id: string, expiresAt: number): boolean {
    const revocations = this.#revocations;
    return expiresAt <= this.#now() || revocations.endedBefore(expiresAt) || revocations.has("session", id);
  }

  #remember(proof: string, id: string, expiresAt: number): Session {
    if (this.#known.size >= MAX_KNOWN) {
      for (const [other, session] of this.#known) if (session.over) this.#known.delete(other);
      for (const other of this.#known.keys()) {
        if (this.#known.size < MAX_KNOWN) break;
        this.#known.delete(other);
      }
    }
    const isOver = () => this.#isOver(id, expiresAt);
    const session: Session = {
      id,
      expiresAt,
      get over() {
        return isOver();
      },
    };
    this.#known.set(proof, session);
    return session;
  }

  #isSigned(text: string, signature: string): boolean {
    const given = Buffer.from(signature);
    return this.#keys.some((key) => timingSafeEqual(given, Buffer.from(sign(key, text))));
  }
}

function sign(key: Uint8Array, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64url");
}
