import { SignJWT } from "jose";
import type { Config } from "../config.ts";
import { deriveKey } from "./keys.ts";
import type { Abilities } from "./verdict.ts";

/** The channels of a token: one, as in Tangram's tokens, a list, or each with what its holder may do there. */
export type GrantedChannels =
  | { readonly channel: string }
  | { readonly channels: readonly string[] | Readonly<Record<string, readonly Ability[]>> };

export type Ability = keyof Abilities;

/** What a token is to say. */
export interface Grant {
  /** The user. */
  readonly id: string;
  readonly channels: GrantedChannels;
  /** What its holder may do where `channels` does not say; everything when absent. */
  readonly can?: readonly Ability[];
  /** How long it is good; `jwt_expiration_secs` when absent. */
  readonly expiresInSecs?: number;
  /** Unix time in seconds that `exp` never exceeds. */
  readonly notAfter?: number;
}

/** Signs a token. Whether the one who asks may have it has been looked at before. */
export type Mint = (grant: Grant) => Promise<string>;

/**
 * Makes tokens as Tangram does: HS256, claims `id`, `channel` (or `channels`) and `exp`. A token that names `admin` is
 * signed with the key derived from the administrator's secret, all others with `jwt_secret`.
 *
 * @param now unix time in ms
 */
export function createMint(config: Config, now: () => number = Date.now): Mint {
  const encoder = new TextEncoder();
  const ordinary = encoder.encode(config.jwtSecret);
  const administrative = deriveKey(config.adminSecret, "token");
  return async ({ id, channels, can, expiresInSecs = config.jwtExpirationSecs, notAfter }) => {
    const exp = Math.min(Math.floor(now() / 1000) + expiresInSecs, notAfter ?? Number.POSITIVE_INFINITY);
    const token = new SignJWT({ id, ...channels, ...(can === undefined ? {} : { can }) })
      .setProtectedHeader({ typ: "JWT", alg: "HS256" })
      .setExpirationTime(exp);
    if (config.jwtIssuer !== null) token.setIssuer(config.jwtIssuer);
    if (config.jwtAudience !== null) token.setAudience(config.jwtAudience);
    return token.sign(namesOf(channels).includes("admin") ? administrative : ordinary);
  };
}

/** The names and patterns of a grant. */
export function namesOf(channels: GrantedChannels): readonly string[] {
  if ("channel" in channels) return [channels.channel];
  return isList(channels.channels) ? channels.channels : Object.keys(channels.channels);
}

function isList<T extends object>(value: readonly string[] | T): value is readonly string[] {
  return Array.isArray(value);
}
