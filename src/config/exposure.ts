import { statSync } from "node:fs";
import { resolve } from "node:path";
import { FACTS } from "./docs.ts";
import { FILE_SUFFIX, PREFIX } from "./environment.ts";
import type { ConfigFile } from "./file.ts";
import { isLoopback } from "./loopback.ts";
import { quoted } from "./quote.ts";
import { variable } from "./settings.ts";
import type { Config, LoadInput } from "./types.ts";

/** Where containers put secrets, readable by all that runs in them. */
const CONTAINER_SECRETS = "/run/secrets/";

/** Files with secrets that every user of this machine can read, one warning each. */
export function readableSecrets(
  file: ConfigFile | null,
  tlsKey: string | null,
  { env, cwd }: Pick<LoadInput, "env" | "cwd">,
): string[] {
  const files: string[] = [];
  if (file !== null && holdsSecrets(file)) files.push(file.path);
  if (tlsKey !== null) files.push(tlsKey);
  for (const { key, secret } of FACTS) {
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
        `${quoted(path)} holds secrets, and every user of this machine can read it: take that away (chmod o= ${path})`,
    );
}

function isReadableByAll(path: string): boolean {
  try {
    return process.platform !== "win32" && (statSync(path).mode & 0o004) !== 0;
  } catch {
    return false;
  }
}

/** An address is a secret where it holds a password, or a query that may be one. */
function holdsSecrets(file: ConfigFile): boolean {
  if (file.apiKeys.length > 0) return true;
  return FACTS.some(({ key, secret }) => {
    const value = file.values.get(key)?.value;
    if (!secret || value === undefined) return false;
    return typeof value !== "string" || !value.includes("://") || /:\/\/[^/]*@|\?/.test(value);
  });
}

/** A key set that anybody on the way can replace; `null` where it can't be. */
export function openKeySet({ jwksUrl }: Config): string | null {
  const url = jwksUrl === null ? null : URL.parse(jwksUrl);
  if (url === null || url.protocol !== "http:" || isLoopback(url.hostname.replace(/^\[|\]$/g, "")))
    return null;
  return `jwks_url is plain http on ${url.host}: whoever is on the way there can make tokens; use https`;
}
