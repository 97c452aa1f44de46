/**
 * The `code` of an HTTP error, beside its sentence: a program decides by it, and it never changes. docs/errors.md says what
 * each means.
 */
export const HTTP_CODES = [
  // What is asked for, and how.
  "bad_path",
  "not_found",
  "method_not_allowed",
  "not_json",
  "invalid_request",
  "body_too_large",
  "body_too_slow",
  "websocket_only",
  "bad_handshake",
  "bad_version",
  // From where.
  "bad_host",
  "host_not_allowed",
  "origin_not_allowed",
  "own_pages_only",
  // By whom.
  "not_signed_in",
  "wrong_secret",
  "wrong_key",
  "sign_in_link_used",
  "admin_only",
  "ability_missing",
  "channel_not_allowed",
  "all_channels_needed",
  "too_many_wrong_secrets",
  // Tokens.
  "token_endpoint_off",
  "token_channel_not_given",
  "token_id_not_proven",
  "token_for_phoenix",
  "token_too_long",
  // Acting on channels, connections and users.
  "event_reserved",
  "payload_empty",
  "payload_too_large",
  "channel_not_open",
  "connection_not_open",
  "user_not_in_channel",
  "user_not_banned",
  "too_many_bans",
  "too_many_revocations",
  "channelstream_off",
  // Limits, and what is away.
  "too_many_connects",
  "too_many_connections_of_address",
  "too_many_connections",
  "too_many_users",
  "too_many_channels",
  "too_much_inbound",
  "bus_away",
  "shutting_down",
  "internal_error",
] as const;

export type HttpCode = (typeof HTTP_CODES)[number];

/** Why a token is not good. */
export const TOKEN_CODES = [
  "token_missing",
  "token_malformed",
  "algorithm_not_allowed",
  "bad_signature",
  "unknown_key",
  "key_set_unavailable",
  "token_expired",
  "exp_missing",
  "token_not_yet_valid",
  "wrong_issuer",
  "wrong_audience",
  "claims_unusable",
  "session_over",
  "user_banned",
  "token_revoked",
  "too_many_attempts",
] as const;

export type TokenCode = (typeof TOKEN_CODES)[number];

/** Why a join is refused, or the renewal of its token: the `code` in the log, and for some in the answer. */
export const JOIN_CODES = [
  ...TOKEN_CODES,
  "channel_not_covered",
  "admin_token_needed",
  "other_user",
  "join_not_allowed",
  "too_many_joined",
  "invalid_topic",
  "rate_limited",
] as const;

export type JoinCode = (typeof JOIN_CODES)[number];

/**
 * Those that stand beside `unauthorized` in the answer: what the holder of a well-signed token knows, and who sends none.
 * How far somebody without a key came is for the log alone.
 */
export const DISCLOSED_CODES: ReadonlySet<JoinCode> = new Set([
  "token_missing",
  "exp_missing",
  "token_not_yet_valid",
  "wrong_issuer",
  "wrong_audience",
  "claims_unusable",
  "channel_not_covered",
  "admin_token_needed",
  "other_user",
] as const);
