import { createPublicKey, type KeyObject } from "node:crypto";
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey, jwtVerify } from "jose";
import { unauthorized, type Verdict } from "./claims-types.ts";
import { LEEWAY_SECS, type TokenRules } from "./hs256.ts";
import { isObject, type JsonObject, ownValue } from "./json-object.ts";
import type { TokenCode } from "./token-codes.ts";

/** Timeout for fetching a key set, in ms. A join waits no longer. */
const KEY_SET_TIMEOUT = 5_000;

/** Minimum time between two fetches for an unknown `kid`, in ms. */
const KEY_SET_COOLDOWN = 30_000;

/** Minimum time after a failed fetch, in ms: any client can trigger a fetch. */
const KEY_SET_BACKOFF = 1_000;

const ALGORITHMS = ["RS256", "ES256", "EdDSA", "Ed25519"] as const;
type Algorithm = (typeof ALGORITHMS)[number];

export type KeyResult =
  | { readonly ok: true; readonly payload: JsonObject }
  | (Verdict & { readonly ok: false });

/** Verifies tokens signed with a private key. The promise never rejects. */
export type KeyVerify = (token: string) => Promise<KeyResult>;

/** Whether `alg` is verified with a public key. */
export function isAsymmetric(alg: string | null): boolean {
  return ALGORITHMS.some((known) => known === alg);
}

/**
 * Verifies with one public key. The key, never the token, determines the algorithm.
 *
 * @param pem SubjectPublicKeyInfo, PKCS #1 or certificate
 * @throws Error if the text is not a public key for RS256, ES256 or EdDSA
 */
export function publicKeyVerifier(pem: string, rules: TokenRules, now: () => number): KeyVerify {
  const key = readPublicKey(pem);
  const algorithms = algorithmsOf(key);
  return (token) => attempt(() => jwtVerify(token, key, options(rules, algorithms, now)));
}

/**
 * Verifies with the keys at a URL, fetched on first use.
 *
 * @throws Error if the URL is invalid
 */
export function keySetVerifier(url: string, rules: TokenRules, now: () => number): KeyVerify {
  const address = URL.parse(url);
  if (address === null) throw new Error("jwks_url is not a valid URL.");
  const keys = remoteKeys(address);
  return async (token) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<KeyResult>((resolve) => {
      timer = setTimeout(() => resolve(unauthorized("key_set_unavailable")), KEY_SET_TIMEOUT);
    });
    try {
      return await Promise.race([
        attempt(() => jwtVerify(token, keys, options(rules, ALGORITHMS, now))),
        timeout,
      ]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/**
 * jose limits the rate of successful fetches only. This limits failed ones too: error responses, and responses that are not
 * key sets.
 */
function remoteKeys(url: URL): JWTVerifyGetKey {
  let failedAt = Number.NEGATIVE_INFINITY;
  return createRemoteJWKSet(url, {
    timeoutDuration: KEY_SET_TIMEOUT,
    cooldownDuration: KEY_SET_COOLDOWN,
    [customFetch]: async (address, init) => {
      if (performance.now() - failedAt < KEY_SET_BACKOFF)
        throw new Error("The last fetch of the JWKS failed less than a second ago.");
      try {
        const answer = await fetch(address, init);
        if (answer.status !== 200) throw new Error(`The JWKS request returned status ${answer.status}.`);
        const keySet: unknown = await answer.json();
        if (!isKeySet(keySet)) throw new Error("The JWKS response is not a key set.");
        return Response.json(keySet);
      } catch (error) {
        failedAt = performance.now();
        throw error;
      }
    },
  });
}

/** Whether a value is a JSON Web Key Set, as far as jose requires (RFC 7517, section 5). */
function isKeySet(value: unknown): boolean {
  if (!isObject(value)) return false;
  const keys = ownValue(value, "keys");
  return Array.isArray(keys) && keys.every(isObject);
}

function options(rules: TokenRules, algorithms: readonly string[], now: () => number) {
  return {
    algorithms: [...algorithms],
    clockTolerance: LEEWAY_SECS,
    currentDate: new Date(now()),
    requiredClaims: ["exp"],
    ...(rules.issuer === null ? {} : { issuer: rules.issuer }),
    ...(rules.audience === null ? {} : { audience: rules.audience }),
  };
}

async function attempt(
  verify: () => Promise<{ payload: unknown; protectedHeader: object }>,
): Promise<KeyResult> {
  try {
    const { payload, protectedHeader } = await verify();
    if (Object.hasOwn(protectedHeader, "crit") || !isObject(payload)) return unauthorized("token_malformed");
    return { ok: true, payload };
  } catch (error) {
    if (error instanceof errors.JWTExpired)
      return { ok: false, reason: "token expired", code: "token_expired" };
    return unauthorized(codeOf(error));
  }
}

function codeOf(error: unknown): TokenCode {
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "exp" && error.reason === "missing") return "exp_missing";
    if (error.claim === "nbf" && error.reason === "check_failed") return "token_not_yet_valid";
    if (error.claim === "iss") return "wrong_issuer";
    return error.claim === "aud" ? "wrong_audience" : "claims_unusable";
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return "bad_signature";
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
    return "unknown_key";
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return "algorithm_not_allowed";
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return "token_malformed";
  return "key_set_unavailable";
}

function readPublicKey(pem: string): KeyObject {
  if (pem.includes("PRIVATE KEY"))
    throw new Error("jwt_public_key contains a private key; set the public key.");
  try {
    return createPublicKey(pem);
  } catch {
    throw new Error("jwt_public_key is not a public key in PEM.");
  }
}

function algorithmsOf(key: KeyObject): readonly Algorithm[] {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "rsa" && (details?.modulusLength ?? 0) >= 2048) return ["RS256"];
  if (key.asymmetricKeyType === "ec" && details?.namedCurve === "prime256v1") return ["ES256"];
  if (key.asymmetricKeyType === "ed25519") return ["EdDSA", "Ed25519"];
  throw new Error("jwt_public_key must be an RSA key of 2048 bits or more, a P-256 key or an Ed25519 key.");
}
