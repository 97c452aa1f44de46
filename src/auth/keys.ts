import { createHash, hkdfSync, timingSafeEqual } from "node:crypto";

/** What a key that is derived from the administrator's secret is for. A key is never used for two things. */
export type KeyPurpose = "token" | "session";

/** Derives a key of 32 bytes from the administrator's secret (HKDF with SHA-256, RFC 5869). */
export function deriveKey(adminSecret: string, purpose: KeyPurpose): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", adminSecret, "", `channel admin ${purpose}`, 32));
}

/** Whether two secrets are equal, in a time that tells nothing of either, their lengths included. */
export function sameSecret(given: string, right: string): boolean {
  return timingSafeEqual(
    createHash("sha256").update(given).digest(),
    createHash("sha256").update(right).digest(),
  );
}
