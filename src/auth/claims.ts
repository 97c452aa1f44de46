import type { Config } from "../config/config.ts";
import type { Abilities, Claims } from "./claims-types.ts";
import { LEEWAY_SECS } from "./hs256.ts";
import { isObject, type JsonObject, ownValue } from "./json-object.ts";
import type { JoinCode } from "./token-codes.ts";

/** The longest user id, in bytes of UTF-8. */
export const MAX_USER_BYTES = 256;

/** What a token may allow in a channel, in the order in which it is written. */
export const ABILITIES = ["join", "push", "presence"] as const satisfies readonly (keyof Abilities)[];

export const ALL: Abilities = Object.freeze({ join: true, push: true, presence: true });

/** The only channel that takes more than a token which covers it. */
const ADMIN_CHANNEL = "admin";

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
  const jti = ownValue(payload, "jti");
  if (user === null || channels === null || can === null || typeof exp !== "number") return null;
  const expiresAt = Math.min((exp + LEEWAY_SECS) * 1000, Number.MAX_SAFE_INTEGER);
  const { names: list, rights } = channels;
  const claims = { user, channels: list, can, expiresAt, admin, ...(isTokenId(jti) ? { jti } : {}) };
  return rights === null ? claims : { ...claims, rights };
}

/** The longest `jti` by which a token can be revoked, in characters. */
export const MAX_TOKEN_ID = 256;

/** Whether a claim `jti` names a token. */
export function isTokenId(jti: unknown): jti is string {
  return typeof jti === "string" && jti !== "" && jti.length <= MAX_TOKEN_ID;
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

interface Channels {
  readonly names: readonly string[];
  /** Of an object under `channels`; `null` for a list. */
  readonly rights: ReadonlyMap<string, Abilities> | null;
}

function readChannels(payload: JsonObject, name: string, shared: boolean): Channels | null {
  const renamed = name !== "channels";
  const listed = ownValue(payload, name) ?? (renamed && shared ? ownValue(payload, "channels") : undefined);
  const single = shared || !renamed ? ownValue(payload, "channel") : undefined;
  if (listed === undefined && single === undefined) return null;
  const rights = isObject(listed) ? readRights(listed) : undefined;
  if (rights === null) return null;
  const names = rights === undefined ? [] : [...rights.keys()];
  for (const value of [rights === undefined ? listed : undefined, single]) {
    if (value === undefined || value === null) continue;
    for (const entry of Array.isArray(value) ? value : [value]) {
      if (typeof entry !== "string") return null;
      names.push(entry);
    }
  }
  return { names, rights: rights ?? null };
}

/** `{"room:*": ["join", "push"], "news": ["join"]}`; `null` where a value is no list. */
export function readRights(object: JsonObject): Map<string, Abilities> | null {
  const rights = new Map<string, Abilities>();
  for (const [name, can] of Object.entries(object)) {
    const abilities = can === undefined ? null : readAbilities(can);
    if (abilities === null) return null;
    rights.set(name, abilities);
  }
  return rights;
}

function readAbilities(can: unknown): Abilities | null {
  if (can === undefined) return ALL;
  if (!Array.isArray(can)) return null;
  return { join: can.includes("join"), push: can.includes("push"), presence: can.includes("presence") };
}

/** What both allow. */
export function intersection(a: Abilities, b: Abilities): Abilities {
  return { join: a.join && b.join, push: a.push && b.push, presence: a.presence && b.presence };
}

/**
 * What a token allows in a channel; `null` where it does not cover it. Of several names that cover it the channel's own
 * decides, else the longest pattern. `admin` is covered by its own name only, and only in a token signed for
 * administrators.
 */
export function abilitiesIn({ channels, can, rights, admin }: Claims, channel: string): Abilities | null {
  if (channel === ADMIN_CHANNEL && !admin) return null;
  if (channels.includes(channel)) return rights?.get(channel) ?? can;
  if (channel === ADMIN_CHANNEL) return null;
  let best: string | null = null;
  for (const name of channels) {
    if (nameCovers(name, channel) && (best === null || name.length > best.length)) best = name;
  }
  return best === null ? null : (rights?.get(best) ?? can);
}

/** Why a token does not cover a channel. */
export function uncoveredCode({ channels }: Claims, channel: string): JoinCode {
  return channel === ADMIN_CHANNEL && channels.includes(ADMIN_CHANNEL)
    ? "admin_token_needed"
    : "channel_not_covered";
}

/** What a token allows in each of its channels, whichever it is. */
export function leastAbilities({ channels, can, rights }: Claims): Abilities {
  let least = can;
  if (rights !== undefined) for (const name of channels) least = intersection(least, rights.get(name) ?? can);
  return least;
}

/** Whether a token's name is a pattern: one that ends in `*`. */
export function isPattern(name: string): boolean {
  return name.endsWith("*");
}

/** Whether a name or pattern covers a channel: when equal to it, or as the start before its `*`. */
export function nameCovers(name: string, channel: string): boolean {
  return name === channel || (isPattern(name) && channel.startsWith(name.slice(0, -1)));
}
