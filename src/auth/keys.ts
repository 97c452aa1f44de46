import { createHash, hkdfSync, scrypt, scryptSync, timingSafeEqual } from "node:crypto";
import type { Config } from "../config/config.ts";

/** The purpose of a key derived from the admin secret. Each purpose has its own key. */
export type KeyPurpose = "token" | "session";

/**
 * Constant, since all servers with one admin secret, and `channel token`, must derive the same keys. Makes precomputed tables
 * of other programs useless.
 */
const SALT = "channel administrator, version 2";

/** Cost of one offline guess at a secret: 32 MiB and about 0.1 s of one core. */
const COST = { N: 1 << 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };

const STRETCHED_BYTES = 32;

/** Maximum number of stretched secrets cached. */
const MAX_STRETCHED = 64;

const stretched = new Map<string, Uint8Array>();

/** Stretches the configured secrets off the main thread at startup and caches them for `deriveKey`. */
export async function stretchAdminSecrets(config: AdminSecrets): Promise<void> {
  if (config.adminSecretGenerated) return;
  const secrets = [config.adminSecret, ...config.olderAdminSecrets];
  await Promise.all(
    secrets.map(
      (secret) =>
        new Promise<void>((resolve, reject) => {
          scrypt(secret, SALT, STRETCHED_BYTES, COST, (error, key) => {
            // Without an error the runtime passes undefined, not null.
            if (error) return reject(error);
            remember(secret, key);
            resolve();
          });
        }),
    ),
  );
}

/** The settings that the administrator's keys depend on. */
export type AdminSecrets = Pick<Config, "adminSecret" | "adminSecretGenerated" | "olderAdminSecrets">;

/** The administrator's keys for one purpose, newest secret first. A generated secret is random and not stretched. */
export function adminKeys(config: AdminSecrets, purpose: KeyPurpose): Uint8Array[] {
  if (config.adminSecretGenerated) return [expand(Buffer.from(config.adminSecret), purpose)];
  return [config.adminSecret, ...config.olderAdminSecrets].map((secret) => deriveKey(secret, purpose));
}

/** Derives a key of 32 bytes from an administrator's secret: scrypt (RFC 7914), then HKDF with SHA-256 (RFC 5869). */
export function deriveKey(adminSecret: string, purpose: KeyPurpose): Uint8Array {
  const key =
    stretched.get(adminSecret) ?? remember(adminSecret, scryptSync(adminSecret, SALT, STRETCHED_BYTES, COST));
  return expand(key, purpose);
}

function remember(secret: string, key: Uint8Array): Uint8Array {
  if (stretched.size >= MAX_STRETCHED) stretched.clear();
  stretched.set(secret, key);
  return key;
}

function expand(key: Uint8Array, purpose: KeyPurpose): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, "", `channel admin ${purpose}`, 32));
}

/** Compares two secrets in constant time; reveals not even their lengths. */
export function sameSecret(given: string, right: string): boolean {
  return timingSafeEqual(
    createHash("sha256").update(given).digest(),
    createHash("sha256").update(right).digest(),
  );
}

/** Whether a secret is in a list, in constant time: compares with all. */
export function isOneOf(given: string, right: readonly string[]): boolean {
  let found = false;
  for (const secret of right) if (sameSecret(given, secret)) found = true;
  return found;
}
