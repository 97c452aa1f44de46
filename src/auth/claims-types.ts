import type { Session } from "./admin-session.ts";
import type { ProofSource } from "./failed-attempts.ts";
import type { TokenCode } from "./token-codes.ts";

/** What the holder of a token may do in the channels that it covers. */
export interface Abilities {
  readonly join: boolean;
  readonly push: boolean;
  /** See who is there: presence_state and presence_diff. */
  readonly presence: boolean;
}

/** What a verified token says. */
export interface Claims {
  /** The user: claim `id` (or `sub`), at most 256 bytes. */
  readonly user: string;
  /** Names and patterns (`room:*`). */
  readonly channels: readonly string[];
  /** What holds for every name that `rights` does not hold. */
  readonly can: Abilities;
  /** What holds for single names: absent where the token lists its channels. */
  readonly rights?: ReadonlyMap<string, Abilities>;
  /** Unix time in ms from which on the token is refused: its `exp` and the leeway. */
  readonly expiresAt: number;
  /** Signed with the key derived from the admin secret: the only kind of token that opens `admin`. */
  readonly admin: boolean;
  /** The id by which the token can be revoked, where it has one. */
  readonly jti?: string;
  /** The administrator's session that stands in for a token, and may end before `expiresAt`. */
  readonly session?: Session;
}

/** Why a token is refused, as clients are told. */
export type TokenRefusal = "unauthorized" | "token expired";

export type Verdict =
  | { readonly ok: true; readonly claims: Claims }
  | { readonly ok: false; readonly reason: TokenRefusal; readonly code: TokenCode };

/** A token that is not good; `code` says why, for the log. */
export function unauthorized(code: TokenCode): Verdict & { readonly ok: false } {
  return { ok: false, reason: "unauthorized", code };
}

/**
 * At once for HS256, later for keys that must be fetched or verified by jose. Never rejects, never throws. A forged token
 * for administrators counts as a wrong secret of its source.
 */
export type Verify = (token: string, source: ProofSource) => Verdict | Promise<Verdict>;
