import { SignJWT } from "jose";
import type { Config } from "../config/config.ts";
import type { Abilities } from "./claims-types.ts";
import { adminKeys } from "./keys.ts";

/** The channels of a token: one (as in Tangram), a list, or an object with abilities by channel. */
export type GrantedChannels =
  | { readonly channel: string }
  | { readonly channels: readonly string[] | Readonly<Record<string, readonly Ability[]>> };

export type Ability = keyof Abilities;

/** The contents of a token to mint. */
export interface Grant {
  /** The user. */
  readonly id: string;
  readonly channels: GrantedChannels;
  /** Abilities for channels without their own; all if absent. */
  readonly can?: readonly Ability[];
  /** Lifetime in seconds; `jwt_expiration_secs` if absent. */
  readonly expiresInSecs?: number;
  /** Upper limit of `exp`, as Unix time in seconds. */
  readonly notAfter?: number;
  /** The id for revoking it. */
  readonly jti?: string;
}

/** Signs a token. The caller has authorized the request. */
export type Mint = (grant: Grant) => Promise<string>;

/**
 * Creates tokens in Tangram's format: HS256, claims `id`, `channel` (or `channels`) and `exp`. A token for `admin` is signed
 * with the key derived from the admin secret, all others with the newest of `jwt_secrets`.
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
    // Derived on first use: derivation is slow, and `channel token` seldom needs it.
    administrative ??= adminKeys(config, "token")[0];
    if (administrative === undefined) throw new Error("no key to sign with");
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
