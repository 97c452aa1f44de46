import { statSync } from "node:fs";
import { resolve } from "node:path";
import { SETTING_DOCS } from "./docs.ts";
import { FILE_SUFFIX, PREFIX } from "./environment.ts";
import type { ConfigFile } from "./file.ts";
import { isLoopback } from "./loopback.ts";
import { quoted } from "./quote.ts";
import { variable } from "./settings.ts";
import type { Config, LoadInput } from "./types.ts";

/** Secrets of containers: readable by every process in the container by design. */
const CONTAINER_SECRETS = "/run/secrets/";

/** One warning for each file with secrets that every user of this machine can read. */
export function readableSecrets(
  file: ConfigFile | null,
  tlsKey: string | null,
  { env, cwd }: Pick<LoadInput, "env" | "cwd">,
): string[] {
  const files: string[] = [];
  if (file !== null && holdsSecrets(file)) files.push(file.path);
  if (tlsKey !== null) files.push(tlsKey);
  for (const { key, secret } of SETTING_DOCS) {
    if (!secret) continue;
    for (const name of [PREFIX + variable(key), variable(key)]) {
      const path = env[name + FILE_SUFFIX];
      if (path !== undefined && path !== "") files.push(resolve(cwd, path));
    }
  }
  return files
    .filter((path) => !path.startsWith(CONTAINER_SECRETS) && isReadableByAll(path))
    .map(
      (path) =>
        `${quoted(path)} contains secrets and every user of this machine can read it: run chmod o= ${path}`,
    );
}

function isReadableByAll(path: string): boolean {
  try {
    return process.platform !== "win32" && (statSync(path).mode & 0o004) !== 0;
  } catch {
    return false;
  }
}

/** Whether a file contains secrets. An address counts if it has a password or a query. */
function holdsSecrets(file: ConfigFile): boolean {
  if (file.apiKeys.length > 0) return true;
  return SETTING_DOCS.some(({ key, secret }) => {
    const value = file.values.get(key)?.value;
    if (!secret || value === undefined) return false;
    return typeof value !== "string" || !value.includes("://") || /:\/\/[^/]*@|\?/.test(value);
  });
}

/** A warning if the key set is fetched over plain HTTP from another machine; else `null`. */
export function openKeySet({ jwksUrl }: Config): string | null {
  const url = jwksUrl === null ? null : URL.parse(jwksUrl);
  if (url === null || url.protocol !== "http:" || isLoopback(url.hostname.replace(/^\[|\]$/g, "")))
    return null;
  return `jwks_url uses plain http to ${url.host}: the key set can be replaced in transit and tokens forged; use https`;
}
