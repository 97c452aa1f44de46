import { createPublicKey, type KeyObject } from "node:crypto";
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey, jwtVerify } from "jose";
import { unauthorized, type Verdict } from "./claims-types.ts";
import { LEEWAY_SECS, type TokenRules } from "./hs256.ts";
import { isObject, type JsonObject, ownValue } from "./json-object.ts";
import type { TokenCode } from "./token-codes.ts";

/** Longest wait for a key set, in ms: a join never hangs longer. */
const KEY_SET_TIMEOUT = 5_000;

/** An unknown `kid` fetches the key set again at most this often, in ms. */
const KEY_SET_COOLDOWN = 30_000;

/** After a fetch that failed the key set is left alone for so long, in ms: tokens of anybody can ask for it. */
const KEY_SET_BACKOFF = 1_000;

const ALGORITHMS = ["RS256", "ES256", "EdDSA", "Ed25519"] as const;
type Algorithm = (typeof ALGORITHMS)[number];

export type KeyResult =
  | { readonly ok: true; readonly payload: JsonObject }
  | (Verdict & { readonly ok: false });

/** Verifies what was signed elsewhere with a private key. Never rejects. */
export type KeyVerify = (token: string) => Promise<KeyResult>;

/** Whether an `alg` is one of those that a public key verifies here. */
export function isAsymmetric(alg: string | null): boolean {
  return ALGORITHMS.some((known) => known === alg);
}

/**
 * Verifies with one public key. The key decides the algorithm, never the token.
 *
 * @param pem SubjectPublicKeyInfo, PKCS #1 or certificate
 * @throws Error with one sentence when the text is no public key of RS256, ES256 or EdDSA
 */
export function publicKeyVerifier(pem: string, rules: TokenRules, now: () => number): KeyVerify {
  const key = readPublicKey(pem);
  const algorithms = algorithmsOf(key);
  return (token) => attempt(() => jwtVerify(token, key, options(rules, algorithms, now)));
}

/**
 * Verifies with the keys found at an address, fetched when first needed.
 *
 * @throws Error with one sentence when the address is none
 */
export function keySetVerifier(url: string, rules: TokenRules, now: () => number): KeyVerify {
  const address = URL.parse(url);
  if (address === null) throw new Error("jwks_url is no address.");
  const keys = remoteKeys(address);
  return async (token) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<KeyResult>((resolve) => {
      timer = setTimeout(() => resolve(unauthorized("key_set_unavailable")), KEY_SET_TIMEOUT);
    });
    try {
      return await Promise.race([
        attempt(() => jwtVerify(token, keys, options(rules, ALGORITHMS, now))),
        late,
      ]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/**
 * jose waits between fetches that succeeded only; a key set that answers with errors, or with what is no key set, must not
 * be hammered either.
 */
function remoteKeys(url: URL): JWTVerifyGetKey {
  let failedAt = Number.NEGATIVE_INFINITY;
  return createRemoteJWKSet(url, {
    timeoutDuration: KEY_SET_TIMEOUT,
    cooldownDuration: KEY_SET_COOLDOWN,
    [customFetch]: async (address, init) => {
      if (performance.now() - failedAt < KEY_SET_BACKOFF) throw new Error("The key set failed a moment ago.");
      try {
        const answer = await fetch(address, init);
        if (answer.status !== 200) throw new Error(`The key set answered ${answer.status}.`);
        const keySet: unknown = await answer.json();
        if (!isKeySet(keySet)) throw new Error("The key set is none.");
        return Response.json(keySet);
      } catch (error) {
        failedAt = performance.now();
        throw error;
      }
    },
  });
}

/** JSON Web Key Set, as far as jose wants it (RFC 7517, section 5). */
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
    throw new Error("jwt_public_key holds a private key: give the public one only.");
  try {
    return createPublicKey(pem);
  } catch {
    throw new Error("jwt_public_key is no public key in PEM text.");
  }
}

function algorithmsOf(key: KeyObject): readonly Algorithm[] {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "rsa" && (details?.modulusLength ?? 0) >= 2048) return ["RS256"];
  if (key.asymmetricKeyType === "ec" && details?.namedCurve === "prime256v1") return ["ES256"];
  if (key.asymmetricKeyType === "ed25519") return ["EdDSA", "Ed25519"];
  throw new Error("jwt_public_key must be an RSA key of 2048 bits or more, a P-256 key or an Ed25519 key.");
}
