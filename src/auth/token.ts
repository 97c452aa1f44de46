import type { Config } from "../config.ts";
import { isAsymmetric, type KeyVerify, keySetVerifier, publicKeyVerifier } from "./asymmetric.ts";
import { abilitiesIn, readClaims } from "./claims.ts";
import { algorithmOf, verifyHs256 } from "./hs256.ts";
import { deriveKey } from "./keys.ts";
import type { Claims, Verdict, Verify } from "./verdict.ts";

export type { Abilities, Claims, TokenRefusal, Verdict, Verify } from "./verdict.ts";

const UNAUTHORIZED: Verdict = Object.freeze({ ok: false, reason: "unauthorized" });

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

/** Whether a token opens a channel, whatever it allows there (`abilitiesIn`). */
export function covers(claims: Claims, channel: string): boolean {
  return abilitiesIn(claims, channel) !== null;
}
