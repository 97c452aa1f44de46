import { createHmac } from "node:crypto";
import type { ApiKey } from "../config/config.ts";

/** Characters of a mark: 96 bits. */
const LENGTH = 16;

/**
 * API keys in sessions. A session names the key that signed in by a mark, which reveals nothing of it: rights are always those
 * of the configuration, and a key that is removed ends its sessions.
 */
export class KeyMarks {
  readonly #signingKey: Uint8Array | undefined;
  readonly #byMark = new Map<string, ApiKey>();

  /** @param sessionKeys the keys that sign sessions, the newest first */
  constructor(sessionKeys: readonly Uint8Array[], apiKeys: readonly ApiKey[]) {
    this.#signingKey = sessionKeys[0];
    for (const sessionKey of sessionKeys) {
      for (const apiKey of apiKeys) {
        for (const text of apiKey.keys) this.#byMark.set(mark(sessionKey, text), apiKey);
      }
    }
  }

  /** The mark of an API key. @throws Error without a key that signs sessions */
  of(text: string): string {
    if (this.#signingKey === undefined) throw new Error("no key to sign sessions with");
    return mark(this.#signingKey, text);
  }

  /** The API key with a mark; `null` if it is no longer configured. */
  find(keyMark: string): ApiKey | null {
    return this.#byMark.get(keyMark) ?? null;
  }
}

function mark(sessionKey: Uint8Array, text: string): string {
  return createHmac("sha256", sessionKey).update(`api key ${text}`).digest("base64url").slice(0, LENGTH);
}
