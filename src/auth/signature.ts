import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { LEEWAY_SECS } from "./hs256.ts";

/** Validity of a signed request, in seconds (Channelstream 0.7). */
const MAX_SIGNATURE_AGE_SECS = 60;

/** Maximum length of a signed text, in characters. A longer one is rejected unread. */
const MAX_SIGNED = 8192;

/** An HMAC-SHA1 in base64url without padding. */
const SIGNATURE = /^[A-Za-z0-9_-]{27}$/;

/** Seconds in up to eight bytes, in base64url. */
const TIMESTAMP = /^[A-Za-z0-9_-]{1,11}$/;

/** The key that itsdangerous 1 and 2 derive for `TimestampSigner(secret)` with its defaults ("django-concat"). */
function keyOf(secret: string): Buffer {
  return createHash("sha1").update(`itsdangerous.Signersigner${secret}`).digest();
}

function hmac(key: Buffer, signed: string): Buffer {
  return createHmac("sha1", key).update(signed, "utf8").digest();
}

/**
 * Verifies `text.timestamp.signature`, as made by `TimestampSigner(secret).sign(text)` of the Python package itsdangerous.
 * Does not check the text. Stricter than the package: only canonical base64url, and no timestamp in the future.
 *
 * @param now unix time in ms
 * @param maxAgeSecs `null`: no limit
 */
export function verifySigned(
  signed: string,
  secret: string,
  now: number,
  maxAgeSecs: number | null = MAX_SIGNATURE_AGE_SECS,
): boolean {
  return checkSigned(signed, secret, now, maxAgeSecs) === "good";
}

/** As `verifySigned`, with the cause. `"stale"`: the signature is right, its time is not. */
export function checkSigned(
  signed: string,
  secret: string,
  now: number,
  maxAgeSecs: number | null = MAX_SIGNATURE_AGE_SECS,
): "good" | "stale" | "forged" | "malformed" {
  if (signed.length > MAX_SIGNED) return "malformed";
  const last = signed.lastIndexOf(".");
  const before = signed.lastIndexOf(".", last - 1);
  if (last < 1 || before < 0) return "malformed";
  const signature = signed.slice(last + 1);
  const timestamp = signed.slice(before + 1, last);
  if (!SIGNATURE.test(signature) || !TIMESTAMP.test(timestamp)) return "malformed";
  const given = Buffer.from(signature, "base64url");
  if (given.toString("base64url") !== signature) return "malformed";
  if (!timingSafeEqual(given, hmac(keyOf(secret), signed.slice(0, last)))) return "forged";
  if (maxAgeSecs === null) return "good";
  const at = secondsOf(timestamp);
  if (at === null) return "stale";
  const age = Math.floor(now / 1000) - at;
  return age <= maxAgeSecs && age >= -LEEWAY_SECS ? "good" : "stale";
}

/** Signs as the package does, for calls from the explorer page and for examples. */
export function sign(text: string, secret: string, now: number): string {
  const seconds = Buffer.alloc(8);
  seconds.writeBigUInt64BE(BigInt(Math.floor(now / 1000)));
  const start = seconds.findIndex((byte) => byte !== 0);
  const signed = `${text}.${seconds.subarray(start < 0 ? 8 : start).toString("base64url")}`;
  return `${signed}.${hmac(keyOf(secret), signed).toString("base64url")}`;
}

function secondsOf(timestamp: string): number | null {
  const bytes = Buffer.from(timestamp, "base64url");
  if (bytes.toString("base64url") !== timestamp || bytes.length > 6) return null;
  return bytes.length === 0 ? 0 : bytes.readUIntBE(0, bytes.length);
}
