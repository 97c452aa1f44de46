import type { AdminSession } from "./admin-session.ts";
import type { AttemptSource } from "./failed-attempts.ts";
import type { TokenCode } from "./token-codes.ts";

/** What a token allows in the channels that it covers. */
export interface Abilities {
  readonly join: boolean;
  readonly push: boolean;
  /** Receive presence_state and presence_diff. */
  readonly presence: boolean;
}

/** The claims of a verified token. */
export interface Claims {
  /** The user: claim `id` (or `sub`), at most 256 bytes. */
  readonly user: string;
  /** Names and patterns (`room:*`). */
  readonly channels: readonly string[];
  /** Applies to every channel without an entry in `rights`. */
  readonly can: Abilities;
  /** Abilities by name or pattern; absent if the token lists its channels. */
  readonly rights?: ReadonlyMap<string, Abilities>;
  /** Unix time in ms at which the token becomes invalid: `exp` plus the leeway. */
  readonly expiresAt: number;
  /** Whether it was signed with the key derived from the admin secret. Required for the channel `admin`. */
  readonly admin: boolean;
  /** Whether the user id can be trusted: the token covers the user's own channel, `user:<id>`. */
  readonly ownChannel?: boolean;
  /** The id for revoking this token. */
  readonly jti?: string;
  /** The administrator session used in place of a token; it may end before `expiresAt`. */
  readonly session?: AdminSession;
}

/** Why a token is rejected, as sent to clients. */
export type TokenReason = "unauthorized" | "token expired";

export type Verdict =
  | { readonly ok: true; readonly claims: Claims }
  | { readonly ok: false; readonly reason: TokenReason; readonly code: TokenCode };

/** Rejects a token; `code` is for the log. */
export function unauthorized(code: TokenCode): Verdict & { readonly ok: false } {
  return { ok: false, reason: "unauthorized", code };
}

/**
 * Verifies a token: synchronously for HS256, asynchronously for public keys. Never throws or rejects. A forged administrator
 * token counts as a failed attempt of its source.
 */
export type Verify = (token: string, source: AttemptSource) => Verdict | Promise<Verdict>;
