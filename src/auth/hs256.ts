import { isUtf8 } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { unauthorized, type Verdict } from "./claims-types.ts";
import { isObject, type JsonObject, ownValue } from "./json-object.ts";

/** Maximum length of a token, in characters (ASCII). A longer one is rejected unread. */
export const MAX_TOKEN_BYTES = 8192;

/** Tolerated clock difference between signer and server, in seconds. */
export const LEEWAY_SECS = 5;

/** Required claims; `null`: not checked. */
export interface TokenRules {
  readonly issuer: string | null;
  readonly audience: string | null;
}

export type Hs256Result =
  | {
      readonly ok: true;
      readonly payload: JsonObject /** Index of the key that signed. */;
      readonly key: number;
    }
  | (Verdict & { readonly ok: false });

const MALFORMED = unauthorized("token_malformed");
const EXPIRED = { ok: false, reason: "token expired", code: "token_expired" } as const;

/** The text of an HMAC-SHA256 in base64url without padding. */
const SIGNATURE_LENGTH = 43;

/**
 * Verifies a compact JWT signed with HS256 (RFC 7515, RFC 7519), synchronously. Stricter than jose's `jwtVerify`: base64url
 * must be canonical, any `crit` is rejected, and `exp` is required. Only `alg` and `crit` of the header are read; `jku`,
 * `jwk`, `x5u` and `kid` never select a key.
 *
 * @param keys tried in order
 * @param now unix time in ms
 */
export function verifyHs256(
  token: string,
  keys: readonly Uint8Array[],
  rules: TokenRules,
  now: number,
): Hs256Result {
  if (token.length > MAX_TOKEN_BYTES) return MALFORMED;
  const first = token.indexOf(".");
  const second = token.indexOf(".", first + 1);
  if (first < 1 || second < 0) return MALFORMED;

  const header = decodeObject(token.slice(0, first));
  if (header === null || Object.hasOwn(header, "crit")) return MALFORMED;
  if (ownValue(header, "alg") !== "HS256") return unauthorized("algorithm_not_allowed");

  const key = signer(token.slice(0, second), token.slice(second + 1), keys);
  if (key < 0) return unauthorized("bad_signature");

  const payload = decodeObject(token.slice(first + 1, second));
  if (payload === null) return MALFORMED;
  const rejection = checkParties(payload, rules) ?? checkTimes(payload, now);
  return rejection ?? { ok: true, payload, key };
}

/** The unverified `alg` of a token's header, for selecting the verifier; `null` if malformed. */
export function algorithmOf(token: string): string | null {
  if (token.length > MAX_TOKEN_BYTES) return null;
  const end = token.indexOf(".");
  const header = end < 1 ? null : decodeObject(token.slice(0, end));
  const alg = header === null ? null : ownValue(header, "alg");
  return typeof alg === "string" ? alg : null;
}

/** The unverified payload of a token; `null` if malformed. */
export function unverifiedPayload(token: string): JsonObject | null {
  if (token.length > MAX_TOKEN_BYTES) return null;
  const [, payload] = token.split(".", 2);
  return payload === undefined ? null : decodeObject(payload);
}

/**
 * The index of the key that signed, or -1. Compares the encoded signatures, which enforces canonical base64url: 43
 * characters carry two bits more than 32 bytes, so four texts decode to the same signature.
 */
function signer(signed: string, signature: string, keys: readonly Uint8Array[]): number {
  const given = Buffer.from(signature, "utf8");
  if (given.length !== SIGNATURE_LENGTH) return -1;
  return keys.findIndex((key) => {
    const expected = createHmac("sha256", key).update(signed).digest("base64url");
    return timingSafeEqual(given, Buffer.from(expected, "latin1"));
  });
}

function decodeObject(part: string): JsonObject | null {
  const bytes = Buffer.from(part, "base64url");
  if (bytes.toString("base64url") !== part || !isUtf8(bytes)) return null;
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function checkTimes(payload: JsonObject, now: number): Hs256Result | null {
  const seconds = Math.floor(now / 1000);
  const exp = ownValue(payload, "exp");
  const nbf = ownValue(payload, "nbf");
  const iat = ownValue(payload, "iat");
  if (exp === undefined) return unauthorized("exp_missing");
  if (typeof exp !== "number" || !isDate(nbf) || !isDate(iat)) return unauthorized("claims_unusable");
  if (nbf !== undefined && nbf > seconds + LEEWAY_SECS) return unauthorized("token_not_yet_valid");
  return exp <= seconds - LEEWAY_SECS ? EXPIRED : null;
}

function isDate(value: unknown): value is number | undefined {
  return value === undefined || typeof value === "number";
}

function checkParties(payload: JsonObject, rules: TokenRules): Hs256Result | null {
  if (rules.issuer !== null && ownValue(payload, "iss") !== rules.issuer) return unauthorized("wrong_issuer");
  if (rules.audience === null) return null;
  const audience = ownValue(payload, "aud");
  const named = Array.isArray(audience) ? audience.includes(rules.audience) : audience === rules.audience;
  return named ? null : unauthorized("wrong_audience");
}
