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
import { FailedAttempts, type ProofSource } from "./failed-attempts.ts";
import { algorithmOf, unverifiedPayload, verifyHs256 } from "./hs256.ts";
import { adminKeys } from "./keys.ts";
import type { TokenCode } from "./token-codes.ts";

export type { Abilities, Claims, TokenRefusal, Verdict, Verify } from "./claims-types.ts";

/** Codes by which a key says only that the token is not its own. */
const KEYS_ALONE: ReadonlySet<TokenCode> = new Set(["unknown_key", "bad_signature", "algorithm_not_allowed"]);

/**
 * Makes the one way in which tokens are verified. HS256 is verified with the secrets of `jwt_secrets`, or, where a token
 * names `admin`, the keys derived from the administrator's secrets, and with nothing else; RS256, ES256 and EdDSA with
 * `jwt_public_key` and the keys at `jwks_url`, and with nothing else: no key is ever used for an algorithm that it is not
 * for.
 *
 * @param now unix time in ms
 * @param wrong counts forged tokens for administrators, as wrong secrets
 * @throws Error with one sentence when `jwt_public_key` or `jwks_url` can't be used
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

  const shared = (token: string, source: ProofSource): Verdict => {
    const result = verifyHs256(token, keys, rules, now());
    if (result.ok) return verdict(readClaims(result.payload, names, true, false));
    return result.code === "bad_signature" && namesAdmin(token) ? administrative(token, source) : result;
  };

  const namesAdmin = (token: string): boolean => {
    const payload = unverifiedPayload(token);
    const claims = payload === null ? null : readClaims(payload, names, true, true);
    return claims?.channels.includes("admin") ?? false;
  };

  /** Each token that is tried on the administrators' keys is a guess at their secret. */
  const administrative = (token: string, source: ProofSource): Verdict => {
    if (wrong.waitSecs(source) > 0) return unauthorized("too_many_attempts");
    const result = verifyHs256(token, administrators, rules, now());
    if (result.ok) return verdict(readClaims(result.payload, names, true, true));
    if (result.code === "bad_signature") wrong.count(source, "token");
    return result;
  };

  const elsewhere: KeyVerify[] = [];
  if (config.jwtPublicKey !== null) elsewhere.push(publicKeyVerifier(config.jwtPublicKey, rules, now));
  if (config.jwksUrl !== null) elsewhere.push(keySetVerifier(config.jwksUrl, rules, now));
  if (elsewhere.length === 0) return shared;

  const foreign = async (token: string): Promise<Verdict> => {
    let refusal: KeyResult & { readonly ok: false } = unauthorized("unknown_key");
    for (const verify of elsewhere) {
      const result = await verify(token);
      if (result.ok) return verdict(readClaims(result.payload, names, false, false));
      // The key that knows the token says what is wrong with it; of others the first that knows more than nothing.
      if (KEYS_ALONE.has(refusal.code) && result.code !== "unknown_key") refusal = result;
    }
    return refusal;
  };

  return (token, source) => {
    const alg = algorithmOf(token);
    if (alg === "HS256") return shared(token, source);
    return isAsymmetric(alg)
      ? foreign(token)
      : unauthorized(alg === null ? "token_malformed" : "algorithm_not_allowed");
  };
}

function verdict(claims: Claims | null): Verdict {
  return claims === null ? unauthorized("claims_unusable") : { ok: true, claims };
}

/** Whether a token opens a channel, whatever it allows there (`abilitiesIn`). */
export function covers(claims: Claims, channel: string): boolean {
  return abilitiesIn(claims, channel) !== null;
}
