import type { Config } from "../config/config.ts";
import {
  isAsymmetric,
  type KeyResult,
  type KeyVerify,
  keySetVerifier,
  publicKeyVerifier,
} from "./asymmetric.ts";
import { abilitiesIn, readClaims } from "./claims.ts";
import { type Claims, unauthorized, type Verdict, type Verify } from "./claims-types.ts";
import { type AttemptSource, FailedAttempts } from "./failed-attempts.ts";
import { algorithmOf, unverifiedPayload, verifyHs256 } from "./hs256.ts";
import { adminKeys } from "./keys.ts";
import type { TokenCode } from "./token-codes.ts";

export type { Abilities, Claims, TokenReason, Verdict, Verify } from "./claims-types.ts";

/** Codes that mean only that a token was signed with another key. */
const KEYS_ALONE: ReadonlySet<TokenCode> = new Set(["unknown_key", "bad_signature", "algorithm_not_allowed"]);

/**
 * Creates the function that verifies all tokens. HS256 is verified only with `jwt_secrets` or, for tokens that name `admin`,
 * the keys derived from the admin secrets; RS256, ES256 and EdDSA only with `jwt_public_key` and the keys at `jwks_url`. No
 * key is used for another algorithm.
 *
 * @param now unix time in ms
 * @param wrong counts forged administrator tokens as failed attempts
 * @throws Error if `jwt_public_key` or `jwks_url` is unusable
 */
export function createVerifier(
  config: Config,
  now: () => number = Date.now,
  wrong: FailedAttempts = new FailedAttempts(),
): Verify {
  const rules = { issuer: config.jwtIssuer, audience: config.jwtAudience };
  const encoder = new TextEncoder();
  const keys = [config.jwtSecret, ...config.olderJwtSecrets.map(({ secret }) => secret)].map((secret) =>
    encoder.encode(secret),
  );
  const administrators = adminKeys(config, "token");
  const names = config.claims;
  // With an open endpoint anyone may have a token for any id.
  const ownChannel = config.tokenEndpoint !== "open" || config.tokenIds === "own";
  const verdict = (claims: Claims | null): Verdict => {
    if (claims === null) return unauthorized("claims_unusable");
    return { ok: true, claims: ownChannel ? { ...claims, ownChannel } : claims };
  };

  const shared = (token: string, source: AttemptSource): Verdict => {
    const result = verifyHs256(token, keys, rules, now());
    if (result.ok) return verdict(readClaims(result.payload, names, true, false));
    return result.code === "bad_signature" && namesAdmin(token) ? administrative(token, source) : result;
  };

  const namesAdmin = (token: string): boolean => {
    const payload = unverifiedPayload(token);
    const claims = payload === null ? null : readClaims(payload, names, true, true);
    return claims?.channels.includes("admin") ?? false;
  };

  /** Each token checked with the administrators' keys counts as an attempt at the admin secret. */
  const administrative = (token: string, source: AttemptSource): Verdict => {
    if (wrong.waitSecs(source) > 0) return unauthorized("too_many_attempts");
    const result = verifyHs256(token, administrators, rules, now());
    if (result.ok) return verdict(readClaims(result.payload, names, true, true));
    if (result.code === "bad_signature") wrong.count(source, "token");
    return result;
  };

  const publicKeys: KeyVerify[] = [];
  if (config.jwtPublicKey !== null) publicKeys.push(publicKeyVerifier(config.jwtPublicKey, rules, now));
  if (config.jwksUrl !== null) publicKeys.push(keySetVerifier(config.jwksUrl, rules, now));
  if (publicKeys.length === 0) return shared;

  const verifyAsymmetric = async (token: string): Promise<Verdict> => {
    let rejection: KeyResult & { readonly ok: false } = unauthorized("unknown_key");
    for (const verify of publicKeys) {
      const result = await verify(token);
      if (result.ok) return verdict(readClaims(result.payload, names, false, false));
      // The most specific result wins: of a key that signed the token, else of the first one that is not unknown_key.
      if (KEYS_ALONE.has(rejection.code) && result.code !== "unknown_key") rejection = result;
    }
    return rejection;
  };

  return (token, source) => {
    const alg = algorithmOf(token);
    if (alg === "HS256") return shared(token, source);
    return isAsymmetric(alg)
      ? verifyAsymmetric(token)
      : unauthorized(alg === null ? "token_malformed" : "algorithm_not_allowed");
  };
}

/** Whether a token covers a channel, with any abilities. */
export function covers(claims: Claims, channel: string): boolean {
  return abilitiesIn(claims, channel) !== null;
}
