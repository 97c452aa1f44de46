import { hint } from "./nearest.ts";
import { quoted } from "./quote.ts";
import { Refusal } from "./refusal.ts";
import { fullKey, SECTIONS, variable } from "./settings.ts";
import type { LoadInput } from "./shape.ts";

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
  if (name === "CHANNEL_PORT") return /^(tcp|udp|sctp):\/\//.test(text);
  return /^CHANNEL_(SERVICE(_(HOST|PORT)(_\w+)?)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$/.test(name);
}

/** Throws a `Refusal` for a variable that begins as ours do and is none: a mistyped one must not do nothing. */
export function refuseUnknownVariables(env: LoadInput["env"]): void {
  const known = Object.entries(SECTIONS).flatMap(([section, table]) =>
    Object.keys(table).map((name) => variable(fullKey(section, name))),
  );
  for (const [name, text] of Object.entries(env)) {
    const rest = name.slice(PREFIX.length);
    if (!name.startsWith(PREFIX) || known.includes(rest) || !isSet(name, text)) continue;
    throw new Refusal(2, `unknown variable ${quoted(name)}; ${hint(rest, known, "keys", PREFIX)}`);
  }
}
