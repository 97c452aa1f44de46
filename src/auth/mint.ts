import { SignJWT } from "jose";
import type { Config } from "../config/config.ts";
import type { Abilities } from "./claims-types.ts";
import { adminKeys } from "./keys.ts";

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
  /** An id by which it can be revoked. */
  readonly jti?: string;
}

/** Signs a token. Whether the one who asks may have it has been looked at before. */
export type Mint = (grant: Grant) => Promise<string>;

/**
 * Makes tokens as Tangram does: HS256, claims `id`, `channel` (or `channels`) and `exp`. A token that names `admin` is
 * signed with the key derived from the administrator's secret, all others with the newest of `jwt_secrets`.
 *
 * @param now unix time in ms
 */
export function createMint(config: Config, now: () => number = Date.now): Mint {
  const encoder = new TextEncoder();
  const ordinary = encoder.encode(config.jwtSecret);
  let administrative: Uint8Array | undefined;
  return async ({ id, channels, can, expiresInSecs = config.jwtExpirationSecs, notAfter, jti }) => {
    const exp = Math.min(Math.floor(now() / 1000) + expiresInSecs, notAfter ?? Number.POSITIVE_INFINITY);
    const forAdmin = namesOf(channels).includes("admin");
    const { jwtKid: kid } = config;
    const named = kid !== null && !forAdmin;
    const token = new SignJWT({ id, ...channels, ...(can === undefined ? {} : { can }) })
      .setProtectedHeader({ typ: "JWT", alg: "HS256", ...(named ? { kid } : {}) })
      .setExpirationTime(exp);
    if (config.jwtIssuer !== null) token.setIssuer(config.jwtIssuer);
    if (config.jwtAudience !== null) token.setAudience(config.jwtAudience);
    if (jti !== undefined) token.setJti(jti);
    if (!forAdmin) return token.sign(ordinary);
    // Of the newest secret; made when first needed, since `channel token` seldom does.
    administrative ??= adminKeys(config, "token")[0];
    if (administrative === undefined) throw new Error("there is no key to sign with");
    return token.sign(administrative);
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
