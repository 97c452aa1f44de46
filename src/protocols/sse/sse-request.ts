import { bearerOf } from "../../auth/admin.ts";
import { abilitiesIn, uncoveredCode } from "../../auth/claims.ts";
import { isPublicChannel } from "../../auth/public-channels.ts";
import { Rejection } from "../../auth/rejection.ts";
import { isForeign } from "../../auth/same-origin.ts";
import { DISCLOSED_CODES, type JoinCode } from "../../auth/token-codes.ts";
import type { Claims, Verdict, Verify } from "../../auth/verifier.ts";
import { isChannelName } from "../../bus/topics.ts";
import type { Config } from "../../config/config.ts";
import type { AuthorizeRule, Authorizer } from "../../hooks/authorizer.ts";
import { settlesJoin } from "../../hooks/settled.ts";
import type { PlainRequest } from "../protocol.ts";
import { askAboutChannels, type NotGranted, type Rejected } from "./sse-authorization.ts";

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
  /** Details. */
  readonly cause: string | null;

  constructor(
    rejection: Rejection,
    code: JoinCode,
    channel: string | null = null,
    cause: string | null = null,
  ) {
    this.rejection = rejection;
    this.code = code;
    this.channel = channel;
    this.cause = cause;
  }
}

/** Seconds that the runtime allows for an answer for which the application is asked. */
const ANSWER_SECS = 20;

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
  readonly authorizer: Authorizer | null;
}

/** The claims by which a client may listen to what it asks for; `null` where it needs no token. Never rejects. */
export async function authorize(
  { channels, token }: Asked,
  request: PlainRequest,
  { config, verify, authorizer }: AuthorizeDeps,
): Promise<Claims | null | Denial> {
  const { peer } = request;
  const foreign = isForeign(request.request.headers, config.publicUrl, peer.https);
  const verdict = token === null ? null : await verify(token, { address: peer.address, foreign });
  const rules = new Map<string, AuthorizeRule>();
  for (const name of channels) {
    const denial = verdict === null ? publicDenial(config, name) : tokenDenial(verdict, name);
    if (denial === null) continue;
    const isSettled = verdict !== null && settlesJoin(verdict, name);
    const rule = isSettled ? null : (authorizer?.ruleFor(name) ?? null);
    if (rule === null) return denial;
    rules.set(name, rule);
  }
  const bearer = verdict?.ok ? verdict.claims : null;
  if (authorizer === null || rules.size === 0) return bearer;
  request.extend(ANSWER_SECS);
  const granted = await askAboutChannels(authorizer, rules, bearer, request);
  return "user" in granted ? granted : notGranted(granted);
}

function publicDenial(config: Config, channel: string): Denial | null {
  return isPublicChannel(config, channel) ? null : tokenMissing(channel);
}

function tokenDenial(verdict: Verdict, channel: string): Denial | null {
  if (!verdict.ok) return tokenRefused(verdict.code);
  const can = abilitiesIn(verdict.claims, channel);
  if (can === null) return notCovered(channel, uncoveredCode(verdict.claims, channel));
  return can.join ? null : notAllowed(channel);
}

/** The application does not let a client listen. */
function notGranted(refused: NotGranted | Rejected): Denial {
  const channel = quote(refused.channel);
  const denied = `The application does not allow the channel ${channel}.`;
  if ("code" in refused)
    return new Denial(new Rejection(403, "authorization_denied", denied), refused.code, refused.channel);
  const { decision } = refused;
  if (decision.kind === "unavailable") {
    const reason = `The application did not decide on the channel ${channel}.`;
    const rejection = new Rejection(503, "authorization_unavailable", reason);
    return new Denial(rejection, "authorization_unavailable", refused.channel, decision.cause);
  }
  const why = decision.kind === "denied" ? decision.reason : null;
  const rejection = new Rejection(403, "authorization_denied", why ?? denied);
  return new Denial(rejection, "authorization_denied", refused.channel);
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
