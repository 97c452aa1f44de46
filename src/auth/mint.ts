import { SignJWT } from "jose";
import type { Config } from "../config.ts";
import { deriveKey } from "./keys.ts";
import type { Abilities } from "./verdict.ts";

/** What a token is to say: one channel, as Tangram's tokens do, or a list of them. */
export interface Grant {
  /** The user. */
  readonly id: string;
  readonly channels: { readonly channel: string } | { readonly channels: readonly string[] };
  /** What its holder may do (http.md, Tokens); everything when absent. */
  readonly can?: readonly (keyof Abilities)[];
  /** How long it is good; `jwt_expiration_secs` when absent. */
  readonly expiresInSecs?: number;
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
  return async ({ id, channels, can, expiresInSecs = config.jwtExpirationSecs }) => {
    const token = new SignJWT({ id, ...channels, ...(can === undefined ? {} : { can }) })
      .setProtectedHeader({ typ: "JWT", alg: "HS256" })
      .setExpirationTime(Math.floor(now() / 1000) + expiresInSecs);
    if (config.jwtIssuer !== null) token.setIssuer(config.jwtIssuer);
    if (config.jwtAudience !== null) token.setAudience(config.jwtAudience);
    const names = "channel" in channels ? [channels.channel] : channels.channels;
    return token.sign(names.includes("admin") ? administrative : ordinary);
  };
}
