import { createHash, hkdfSync, scrypt, scryptSync, timingSafeEqual } from "node:crypto";
import type { Config } from "../config/config.ts";

/** What a key that is derived from the administrator's secret is for. A key is never used for two things. */
export type KeyPurpose = "token" | "session";

/**
 * The same on every server, since all that share an admin secret must derive the same keys, `channel token` too: it keeps
 * tables made for other programs useless.
 */
const SALT = "channel administrator, version 2";

/** 32 MiB and about 0.1 s of one core for each guess at a secret, of which there is one signature to try it on. */
const COST = { N: 1 << 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };

const STRETCHED_BYTES = 32;

/** Secrets whose stretched form is remembered: those of one configuration, or of a few in tests. */
const MAX_STRETCHED = 64;

const stretched = new Map<string, Uint8Array>();

/** Stretches the configured secrets beside what else happens at start, so that `deriveKey` has them at hand. */
export async function stretchAdminSecrets(config: AdminSecrets): Promise<void> {
  if (config.adminSecretGenerated) return;
  const secrets = [config.adminSecret, ...config.olderAdminSecrets];
  await Promise.all(
    secrets.map(
      (secret) =>
        new Promise<void>((resolve, reject) => {
          scrypt(secret, SALT, STRETCHED_BYTES, COST, (error, key) => {
            // The runtime passes undefined where there is none.
            if (error) return reject(error);
            remember(secret, key);
            resolve();
          });
        }),
    ),
  );
}

/** What of the configuration the administrator's keys are made of. */
export type AdminSecrets = Pick<Config, "adminSecret" | "adminSecretGenerated" | "olderAdminSecrets">;

/** The administrator's keys for one purpose, of the newest secret first. One made for this run is random enough as it is. */
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

/** Whether two secrets are equal, in a time that tells nothing of either, their lengths included. */
export function sameSecret(given: string, right: string): boolean {
  return timingSafeEqual(
    createHash("sha256").update(given).digest(),
    createHash("sha256").update(right).digest(),
  );
}

/** Whether a secret is one of several; all are compared, whichever is right. */
export function isOneOf(given: string, right: readonly string[]): boolean {
  let found = false;
  for (const secret of right) if (sameSecret(given, secret)) found = true;
  return found;
}
