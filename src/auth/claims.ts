import type { Config } from "../config/config.ts";
import type { Abilities, Claims } from "./claims-types.ts";
import { LEEWAY_SECS } from "./hs256.ts";
import { isObject, type JsonObject, ownValue } from "./json-object.ts";
import type { JoinCode } from "./token-codes.ts";

/** Maximum length of a user id, in UTF-8 bytes. */
export const MAX_USER_BYTES = 256;

/** All abilities, in the order in which tokens list them. */
export const ABILITIES = ["join", "push", "presence"] as const satisfies readonly (keyof Abilities)[];

export const ALL: Abilities = Object.freeze({ join: true, push: true, presence: true });

/** The only channel that requires a token signed for administrators. */
const ADMIN_CHANNEL = "admin";

/**
 * Reads the claims of a verified payload; `null` if they are unusable.
 *
 * @param names the configured claim names
 * @param shared signed with one of `jwt_secrets`: the default names (`id`, `channel`, `channels`) are read too. In tokens of
 *   other issuers a default name is read only if it was not renamed, since it may mean anything there.
 * @param admin signed with the administrator's key
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

/** Maximum length of a `jti` that can be revoked, in characters. */
export const MAX_TOKEN_ID = 256;

/** Whether a claim `jti` can be used for revocation. */
export function isTokenId(jti: unknown): jti is string {
  return typeof jti === "string" && jti !== "" && jti.length <= MAX_TOKEN_ID;
}

/** Whether a text is a valid user id: well-formed, 0 to 256 bytes, any character. */
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
  /** Set if `channels` is an object, `null` if it is a list. */
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

/** `{"room:*": ["join", "push"], "news": ["join"]}`; `null` if a value is not a list. */
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

/** The abilities in both. */
export function intersection(a: Abilities, b: Abilities): Abilities {
  return { join: a.join && b.join, push: a.push && b.push, presence: a.presence && b.presence };
}

/** The start of the name of a channel that belongs to one user: `user:<id>`. */
const USER = "user:";

/** Whether a channel name, or a pattern, is of users' own channels. */
export function isUserChannel(name: string): boolean {
  return name.startsWith(USER);
}

/**
 * What a token allows in a channel; `null` if it does not cover the channel. The exact name wins, then the longest pattern,
 * then the user's own channel. `admin` requires the exact name and a token signed for administrators.
 */
export function abilitiesIn(claims: Claims, channel: string): Abilities | null {
  const { channels, can, rights, admin } = claims;
  if (channel === ADMIN_CHANNEL && !admin) return null;
  if (channels.includes(channel)) return rights?.get(channel) ?? can;
  if (channel === ADMIN_CHANNEL) return null;
  let best: string | null = null;
  for (const name of channels) {
    if (nameCovers(name, channel) && (best === null || name.length > best.length)) best = name;
  }
  if (best !== null) return rights?.get(best) ?? can;
  return claims.ownChannel && isOwnChannel(claims, channel) ? can : null;
}

/** The name of a user's own channel. */
export function userChannel(user: string): string {
  return USER + user;
}

/** By equality, since an id may end in `*`. */
function isOwnChannel({ user }: Claims, channel: string): boolean {
  return user !== "" && channel.length === USER.length + user.length && channel === USER + user;
}

/** The code for a channel that a token does not cover. */
export function uncoveredCode({ channels }: Claims, channel: string): JoinCode {
  return channel === ADMIN_CHANNEL && channels.includes(ADMIN_CHANNEL)
    ? "admin_token_needed"
    : "channel_not_covered";
}

/** The abilities that a token grants in all of its channels. */
export function leastAbilities({ channels, can, rights }: Claims): Abilities {
  let least = can;
  if (rights !== undefined) for (const name of channels) least = intersection(least, rights.get(name) ?? can);
  return least;
}

/** Whether a name in a token is a pattern: it ends in `*`. */
export function isPattern(name: string): boolean {
  return name.endsWith("*");
}

/** Whether a name equals a channel, or the text before the `*` of a pattern is its prefix. */
export function nameCovers(name: string, channel: string): boolean {
  return name === channel || (isPattern(name) && channel.startsWith(name.slice(0, -1)));
}
