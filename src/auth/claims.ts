import type { Config } from "../config.ts";
import { type JsonObject, LEEWAY_SECS, ownValue } from "./hs256.ts";
import type { Abilities, Claims } from "./verdict.ts";

/** The longest user id, in bytes of UTF-8. */
export const MAX_USER_BYTES = 256;

const ALL: Abilities = Object.freeze({ join: true, push: true, presence: true });

/**
 * Reads the claims of a payload whose signature and times are good; `null` where they say nothing that we can use.
 *
 * @param names how the operator calls the claims
 * @param shared signed with a secret of ours, as Tangram signs: the names that Tangram and `mint` write (`id`,
 *   `channel`, `channels`) are understood too. In a token minted elsewhere they are only where they were not renamed:
 *   there they may mean anything.
 */
export function readClaims(
  payload: JsonObject,
  names: Config["claims"],
  shared: boolean,
  admin: boolean,
): Claims | null {
  const user = readUser(payload, names.id, shared);
  const channels = readChannels(payload, names.channels, shared);
  const can = readAbilities(ownValue(payload, "can"));
  const exp = ownValue(payload, "exp");
  if (user === null || channels === null || can === null || typeof exp !== "number") return null;
  const expiresAt = Math.min((exp + LEEWAY_SECS) * 1000, Number.MAX_SAFE_INTEGER);
  return { user, channels, can, expiresAt, admin };
}

/** Whether a text may be the id of a user: at most 256 bytes and well-formed; any character, or none. */
export function isUserId(text: string): boolean {
  if (text.length > MAX_USER_BYTES || !text.isWellFormed()) return false;
  return text.length * 3 <= MAX_USER_BYTES || Buffer.byteLength(text) <= MAX_USER_BYTES;
}

function readUser(payload: JsonObject, name: string, shared: boolean): string | null {
  const id =
    ownValue(payload, name) ?? (shared ? ownValue(payload, "id") : undefined) ?? ownValue(payload, "sub");
  return typeof id === "string" && isUserId(id) ? id : null;
}

function readChannels(payload: JsonObject, name: string, shared: boolean): readonly string[] | null {
  const renamed = name !== "channels";
  const listed = ownValue(payload, name) ?? (renamed && shared ? ownValue(payload, "channels") : undefined);
  const single = shared || !renamed ? ownValue(payload, "channel") : undefined;
  if (listed === undefined && single === undefined) return null;
  const names: string[] = [];
  for (const value of [listed, single]) {
    if (value === undefined || value === null) continue;
    for (const entry of Array.isArray(value) ? value : [value]) {
      if (typeof entry !== "string") return null;
      names.push(entry);
    }
  }
  return names;
}

function readAbilities(can: unknown): Abilities | null {
  if (can === undefined) return ALL;
  if (!Array.isArray(can)) return null;
  return { join: can.includes("join"), push: can.includes("push"), presence: can.includes("presence") };
}

/** Whether a token's name is a pattern: one that ends in `*`. */
export function isPattern(name: string): boolean {
  return name.endsWith("*");
}

/** Whether a name or pattern covers a channel: when equal to it, or as the start before its `*`. */
export function nameCovers(name: string, channel: string): boolean {
  return name === channel || (isPattern(name) && channel.startsWith(name.slice(0, -1)));
}
