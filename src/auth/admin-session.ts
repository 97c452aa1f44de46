import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Revocations } from "./revocations.ts";

/** Lifetime of a session, in ms. */
export const SESSION_MS = 12 * 60 * 60 * 1000;

/** Verified session tokens kept in memory. */
const MAX_CACHED = 10_000;

/** The longest session token accepted, in characters. */
const MAX_TOKEN_LENGTH = 128;

/** `<id>.<expiry>.<HMAC-SHA256 in base64url>`; sessions of API keys have the mark of the key before the signature. */
const TOKEN = /^([\w-]{22})\.([0-9a-z]{1,11})(?:\.([\w-]{16}))?\.([\w-]{43})$/;

export interface AdminSession {
  readonly id: string;
  /** The API key that signed in (`KeyMarks`); `null` for the administrator. */
  readonly keyMark: string | null;
  /** Unix time in ms. */
  readonly expiresAt: number;
  /** Whether it ended, by sign-out or by expiry. */
  readonly ended: boolean;
}

/** The result of verifying a session token. */
export type SessionVerdict = AdminSession | "ended" | "forged" | "malformed";

/**
 * Sessions of the administrator and of API keys as signed tokens, valid on every server with the same admin secret. Sessions ended early are in
 * `revocations`. Sessions older than this process are valid only if the list of revocations is complete.
 */
export class AdminSessions {
  readonly #keys: readonly Uint8Array[];
  readonly #now: () => number;
  readonly #revocations: Revocations;
  readonly #startedAt: number;
  /** Tokens verified before: they do not count as attempts and are not rate-limited. */
  readonly #cached = new Map<string, AdminSession>();

  /**
   * @param keys of 32 bytes each: the first one signs, all of them verify
   * @param now unix time in ms
   */
  constructor(keys: readonly Uint8Array[], revocations: Revocations, now: () => number) {
    this.#keys = keys;
    this.#now = now;
    this.#revocations = revocations;
    this.#startedAt = now();
  }

  /**
   * Creates a session and its token.
   * @param keyMark the API key that signs in; `null` for the administrator
   * @throws Error without a key
   */
  create(keyMark: string | null = null): { readonly token: string; readonly session: AdminSession } {
    const id = randomBytes(16).toString("base64url");
    const expiresAt = this.#now() + SESSION_MS;
    const text = signedText(id, expiresAt.toString(36), keyMark);
    const [key] = this.#keys;
    if (key === undefined) throw new Error("no key to sign sessions with");
    const token = `${text}.${sign(key, text)}`;
    return { token, session: this.#remember(token, { id, expiresAt, keyMark }) };
  }

  /** The session of a token that was verified before and has not ended; otherwise `null`: call `verify`. */
  cached(token: string): AdminSession | null {
    const session = this.#cached.get(token);
    if (session === undefined) return null;
    if (!session.ended) return session;
    this.#cached.delete(token);
    return null;
  }

  /** Verifies a token. Call only if `FailedAttempts.waitSecs` of its source is 0. */
  verify(token: string): SessionVerdict {
    const [, id, expiry, keyMark = null, signature] =
      (token.length <= MAX_TOKEN_LENGTH && TOKEN.exec(token)) || [];
    if (id === undefined || expiry === undefined || signature === undefined) return "malformed";
    if (!this.#isSigned(signedText(id, expiry, keyMark), signature)) return "forged";
    const expiresAt = Number.parseInt(expiry, 36);
    const before = expiresAt - SESSION_MS < this.#startedAt;
    if (before && !this.#revocations.complete) return "ended";
    if (this.#isEnded(id, expiresAt)) return "ended";
    return this.#remember(token, { id, expiresAt, keyMark });
  }

  revoke({ id, expiresAt }: AdminSession): void {
    this.#revocations.add({ kind: "session", id, until: expiresAt });
  }

  #isEnded(id: string, expiresAt: number): boolean {
    const revocations = this.#revocations;
    return expiresAt <= this.#now() || revocations.endedBefore(expiresAt) || revocations.has("session", id);
  }

  #remember(token: string, about: Omit<AdminSession, "ended">): AdminSession {
    if (this.#cached.size >= MAX_CACHED) {
      for (const [other, session] of this.#cached) if (session.ended) this.#cached.delete(other);
      for (const other of this.#cached.keys()) {
        if (this.#cached.size < MAX_CACHED) break;
        this.#cached.delete(other);
      }
    }
    const isEnded = () => this.#isEnded(about.id, about.expiresAt);
    const session: AdminSession = {
      ...about,
      get ended() {
        return isEnded();
      },
    };
    this.#cached.set(token, session);
    return session;
  }

  #isSigned(text: string, signature: string): boolean {
    const given = Buffer.from(signature);
    return this.#keys.some((key) => timingSafeEqual(given, Buffer.from(sign(key, text))));
  }
}

/** What is signed. The number of dots differs, so that no session of a key is valid without its mark. */
function signedText(id: string, expiry: string, keyMark: string | null): string {
  return keyMark === null ? `${id}.${expiry}` : `${id}.${expiry}.${keyMark}`;
}

function sign(key: Uint8Array, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64url");
}
