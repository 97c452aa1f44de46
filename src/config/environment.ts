import { readFileSync } from "node:fs";
import { ConfigError } from "./config-error.ts";
import { SETTING_DOCS } from "./docs.ts";
import { fileErrorText } from "./file.ts";
import { quoted } from "./quote.ts";
import { variable } from "./settings.ts";
import { hint } from "./suggest.ts";
import type { LoadInput } from "./types.ts";

/** Prefix of a variable; `CHANNEL_PORT` takes precedence over `PORT`. */
export const PREFIX = "CHANNEL_";

/** Whether a variable is set. An empty one is not: `JWT_SECRET=${SECRET}` produces it. */
export function isSet(name: string, text: string | undefined): text is string {
  return text !== undefined && text !== "" && !isForeign(name, text);
}

/**
 * Whether a variable with our prefix belongs to another program: Kubernetes exports `CHANNEL_PORT=tcp://10.0.0.1:2025` and
 * `CHANNEL_SERVICE_HOST` for a service named "channel"; Vite's proxy reads `CHANNEL_SERVICE`.
 */
function isForeign(name: string, text: string): boolean {
  // Shells and build tools set PREFIX for themselves.
  if (name === "PREFIX") return true;
  if (name === "CHANNEL_PORT") return /^(tcp|udp|sctp):\/\//.test(text);
  return /^CHANNEL_(SERVICE(_(HOST|PORT)(_\w+)?)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$/.test(name);
}

/** Suffix of a variable that names a file with the secret. */
export const FILE_SUFFIX = "_FILE";

/**
 * Reads a secret from a file (systemd credentials, `/run/secrets`), without its trailing line break. Throws a
 * `ConfigError` if the file cannot be read or is empty.
 */
export function readSecretFile(name: string, path: string): string {
  let value: string;
  try {
    value = readFileSync(path, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    throw new ConfigError(1, `${name}: cannot read ${quoted(path)}: ${fileErrorText(error)}`);
  }
  if (value === "") throw new ConfigError(2, `${name}: ${quoted(path)} is empty`);
  return value;
}

/** Throws a `ConfigError` for an unknown variable with our prefix, so that a mistyped one is not ignored. */
export function refuseUnknownVariables(env: LoadInput["env"]): void {
  const known = SETTING_DOCS.flatMap(({ key, secret }) =>
    secret ? [variable(key), variable(key) + FILE_SUFFIX] : [variable(key)],
  );
  for (const [name, text] of Object.entries(env)) {
    const rest = name.slice(PREFIX.length);
    if (!name.startsWith(PREFIX) || known.includes(rest) || !isSet(name, text)) continue;
    throw new ConfigError(2, `unknown variable ${quoted(name)}; ${hint(rest, known, "keys", PREFIX)}`);
  }
}
