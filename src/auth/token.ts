import type { Config } from "../config.ts";
import { isAsymmetric, type KeyVerify, keySetVerifier, publicKeyVerifier } from "./asymmetric.ts";
import { nameCovers, readClaims } from "./claims.ts";
import { algorithmOf, verifyHs256 } from "./hs256.ts";
import { deriveKey } from "./keys.ts";

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
  readonly can: Abilities;
  /** Unix time in ms from which on the token is refused: its `exp` and the leeway. */
  readonly expiresAt: number;
  /** Signed with the key derived from the admin secret: the only kind of token that opens `admin`. */
  readonly admin: boolean;
}

/** Why a token is refused, as clients are told. */
export type TokenRefusal = "unauthorized" | "token expired";

export type Verdict =
  | { readonly ok: true; readonly claims: Claims }
  | { readonly ok: false; readonly reason: TokenRefusal };

/** At once for HS256, later for keys that must be fetched or verified by jose. Never rejects, never throws. */
export type Verify = (token: string) => Verdict | Promise<Verdict>;

const UNAUTHORIZED: Verdict = Object.freeze({ ok: false, reason: "unauthorized" });

/** The only channel that takes more than a token which covers it. */
const ADMIN_CHANNEL = "admin";

/**
 * Makes the one way in which tokens are verified. HS256 is verified with `jwt_secret`, or the key derived from the
 * administrator's secret, and with nothing else; RS256, ES256 and EdDSA with `jwt_public_key` and the keys at
 * `jwks_url`, and with nothing else: no key is ever used for an algorithm that it is not for.
 *
 * @param now unix time in ms
 * @throws Error with one sentence when `jwt_public_key` or `jwks_url` can't be used
 */
export function createVerifier(config: Config, now: () => number = Date.now): Verify {
  const rules = { issuer: config.jwtIssuer, audience: config.jwtAudience };
  const keys = [new TextEncoder().encode(config.jwtSecret), deriveKey(config.adminSecret, "token")];
  const names = config.claims;

  const shared = (token: string): Verdict => {
    const result = verifyHs256(token, keys, rules, now());
    if (!result.ok) return result;
    return verdict(readClaims(result.payload, names, true, result.key === 1));
  };

  const elsewhere: KeyVerify[] = [];
  if (config.jwtPublicKey !== null) elsewhere.push(publicKeyVerifier(config.jwtPublicKey, rules, now));
  if (config.jwksUrl !== null) elsewhere.push(keySetVerifier(config.jwksUrl, rules, now));
  if (elsewhere.length === 0) return shared;

  const foreign = async (token: string): Promise<Verdict> => {
    let refusal = UNAUTHORIZED;
    for (const verify of elsewhere) {
      const result = await verify(token);
      if (result.ok) return verdict(readClaims(result.payload, names, false, false));
      if (result.reason === "token expired") refusal = result;
    }
    return refusal;
  };

  return (token) => {
    const alg = algorithmOf(token);
    if (alg === "HS256") return shared(token);
    return isAsymmetric(alg) ? foreign(token) : UNAUTHORIZED;
  };
}

function verdict(claims: Claims | null): Verdict {
  return claims === null ? UNAUTHORIZED : { ok: true, claims };
}

/**
 * Whether a token opens a channel: one of its names is the channel's, or is a pattern whose start the channel has.
 * `admin` is opened by its own name only, and only in a token signed for administrators.
 */
export function covers(claims: Claims, channel: string): boolean {
  if (channel === ADMIN_CHANNEL) return claims.admin && claims.channels.includes(ADMIN_CHANNEL);
  return claims.channels.some((name) => nameCovers(name, channel));
}
