import { bearerOf } from "../../auth/admin.ts";
import { abilitiesIn, uncoveredCode } from "../../auth/claims.ts";
import { isPublicChannel } from "../../auth/public-channels.ts";
import { Rejection } from "../../auth/rejection.ts";
import { isForeign } from "../../auth/same-origin.ts";
import { DISCLOSED_CODES, type JoinCode } from "../../auth/token-codes.ts";
import type { Claims, Verify } from "../../auth/verifier.ts";
import { isChannelName } from "../../bus/topics.ts";
import type { Config } from "../../config/config.ts";
import type { PlainRequest } from "../protocol.ts";

/** What a request asks for. */
export interface Asked {
  /** Each once, in the order of their first mention. */
  readonly channels: readonly string[];
  readonly token: string | null;
  /** Where to resume; `null` for a client that has nothing to resume. */
  readonly lastEventId: string | null;
}

/** A refused token or channel, with what is logged about it. */
export class Denial {
  readonly rejection: Rejection;
  readonly code: JoinCode;
  readonly channel: string | null;

  constructor(rejection: Rejection, code: JoinCode, channel: string | null = null) {
    this.rejection = rejection;
    this.code = code;
    this.channel = channel;
  }
}

/** Characters of a channel's name that an error shows. */
const SHOWN = 80;

/** Reads a request. @param maxChannels the most that one may name */
export function parseRequest(
  { request: { headers }, query }: PlainRequest,
  maxChannels: number,
): Asked | Rejection {
  const channels = [...new Set(query.getAll("channel"))];
  if (channels.length === 0)
    return new Rejection(422, "invalid_request", "channel is required: ?channel=<name>.");
  if (channels.length > maxChannels) {
    return new Rejection(
      422,
      "too_many_channels_asked",
      `More than ${maxChannels} channels (limits.max_channels).`,
    );
  }
  if (!channels.every(isChannelName)) {
    return new Rejection(
      422,
      "invalid_request",
      "A channel name has 1 to 255 bytes and no control characters.",
    );
  }
  return {
    channels,
    token: bearerOf(headers) || query.get("token") || null,
    lastEventId: headers.get("last-event-id") || query.get("last_event_id") || null,
  };
}

export interface AuthorizeDeps {
  readonly config: Config;
  readonly verify: Verify;
}

/** The claims by which a client may listen to what it asks for; `null` where it needs no token. Never rejects. */
export async function authorize(
  { channels, token }: Asked,
  { request: { headers }, peer }: PlainRequest,
  { config, verify }: AuthorizeDeps,
): Promise<Claims | null | Denial> {
  if (token === null) {
    const closed = channels.find((name) => !isPublicChannel(config, name));
    return closed === undefined ? null : tokenMissing(closed);
  }
  const foreign = isForeign(headers, config.publicUrl, peer.https);
  const verdict = await verify(token, { address: peer.address, foreign });
  if (!verdict.ok) return tokenRefused(verdict.code);
  for (const name of channels) {
    const can = abilitiesIn(verdict.claims, name);
    if (can === null) return notCovered(name, uncoveredCode(verdict.claims, name));
    if (!can.join) return notAllowed(name);
  }
  return verdict.claims;
}

function tokenMissing(channel: string): Denial {
  const reason = `A token is required for the channel ${quote(channel)}.`;
  return new Denial(new Rejection(401, "token_missing", reason), "token_missing", channel);
}

function tokenRefused(code: JoinCode): Denial {
  if (code === "token_expired") {
    return new Denial(new Rejection(401, "token_expired", "The token has expired."), code);
  }
  const why = DISCLOSED_CODES.has(code) ? ` (${code})` : "";
  return new Denial(new Rejection(401, "token_refused", `The token is not accepted${why}.`), code);
}

function notCovered(channel: string, code: JoinCode): Denial {
  const reason =
    code === "admin_token_needed"
      ? "The channel admin requires a token that the administrator issued."
      : `The token does not cover the channel ${quote(channel)}.`;
  return new Denial(new Rejection(403, "channel_not_covered", reason), code, channel);
}

function notAllowed(channel: string): Denial {
  const reason = `The token does not allow joining the channel ${quote(channel)}.`;
  return new Denial(new Rejection(403, "join_not_allowed", reason), "join_not_allowed", channel);
}

function quote(name: string): string {
  return JSON.stringify(name.length > SHOWN ? `${name.slice(0, SHOWN)}...` : name);
}
