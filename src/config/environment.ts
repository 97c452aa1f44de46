import { readFileSync } from "node:fs";
import { Refusal } from "./config-error.ts";
import { FACTS } from "./docs.ts";
import { why } from "./file.ts";
import { quoted } from "./quote.ts";
import { variable } from "./settings.ts";
import { hint } from "./suggest.ts";
import type { LoadInput } from "./types.ts";

/** In front of a variable's name it wins over the name alone. */
export const PREFIX = "CHANNEL_";

/** An empty variable says nothing: that is what `JWT_SECRET=${SECRET}` leaves behind. */
export function isSet(name: string, text: string | undefined): text is string {
  return text !== undefined && text !== "" && !isForeign(name, text);
}

/**
 * Kubernetes tells every program about a service that is called "channel", in variables that begin as ours do
 * (`CHANNEL_PORT=tcp://10.0.0.1:2025`, `CHANNEL_SERVICE_HOST`); Vite's proxy reads `CHANNEL_SERVICE`.
 */
function isForeign(name: string, text: string): boolean {
  // Shells and build tools set PREFIX for themselves.
  if (name === "PREFIX") return true;
  if (name === "CHANNEL_PORT") return /^(tcp|udp|sctp):\/\//.test(text);
  return /^CHANNEL_(SERVICE(_(HOST|PORT)(_\w+)?)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$/.test(name);
}

/** Behind the name of a secret's variable: it names a file that holds the value. */
export const FILE_SUFFIX = "_FILE";

/**
 * The value of a secret that lies in a file, as service managers and containers hand them over (systemd's credentials,
 * `/run/secrets`); a line end behind it is no part of it. Throws a `Refusal` where there is none.
 */
export function readSecretFile(name: string, path: string): string {
  let value: string;
  try {
    value = readFileSync(path, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    throw new Refusal(1, `${name}: cannot read ${quoted(path)}: ${why(error)}`);
  }
  if (value === "") throw new Refusal(2, `${name}: ${quoted(path)} is empty`);
  return value;
}

/** Throws a `Refusal` for a variable that begins as ours do and is none: a mistyped one must not do nothing. */
export function refuseUnknownVariables(env: LoadInput["env"]): void {
  const known = FACTS.flatMap(({ key, secret }) =>
    secret ? [variable(key), variable(key) + FILE_SUFFIX] : [variable(key)],
  );
  for (const [name, text] of Object.entries(env)) {
    const rest = name.slice(PREFIX.length);
    if (!name.startsWith(PREFIX) || known.includes(rest) || !isSet(name, text)) continue;
    throw new Refusal(2, `unknown variable ${quoted(name)}; ${hint(rest, known, "keys", PREFIX)}`);
  }
}
