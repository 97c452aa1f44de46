/** Why a token is rejected. The codes never change; docs/errors.md explains each. */
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

/** Why a join, or the renewal of its token, is rejected: `code` in the log and, for some, in the reply. */
export const JOIN_CODES = [
  ...TOKEN_CODES,
  "channel_not_covered",
  "admin_token_needed",
  "other_user",
  "join_not_allowed",
  "too_many_joined",
  "invalid_topic",
  "rate_limited",
  "invalid_presence",
  "authorization_denied",
  "authorization_unavailable",
  "params_too_large",
] as const;

export type JoinCode = (typeof JOIN_CODES)[number];

/**
 * The codes that a reply shows beside `unauthorized`: what the holder of a correctly signed token may know, and that a
 * token is missing. How far a forged token came is for the log alone.
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
  "authorization_denied",
] as const);
