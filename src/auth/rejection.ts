/** The `code` of an HTTP error, for programs. Codes never change; docs/errors.md explains each. */
export const HTTP_CODES = [
  // The request.
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
  // Host and origin.
  "bad_host",
  "host_not_allowed",
  "origin_not_allowed",
  "own_pages_only",
  // Authentication and permission.
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
  "token_missing",
  "token_expired",
  "token_refused",
  "channel_not_covered",
  "join_not_allowed",
  "authorization_denied",
  "authorization_unavailable",
  // Operations on channels, connections and users.
  "event_reserved",
  "payload_empty",
  "payload_too_large",
  "channel_not_open",
  "connection_not_open",
  "connection_not_in_channel",
  "server_silent",
  "user_not_in_channel",
  "user_not_banned",
  "user_banned",
  "server_unknown",
  "too_deep",
  "too_many_bans",
  "too_many_revocations",
  "too_many_ids",
  "id_unknown",
  "channelstream_off",
  "reload_failed",
  // History.
  "history_off",
  "position_unknown",
  "history_too_old",
  "history_too_many",
  "history_gap",
  // Limits and unavailable parts.
  "too_many_connects",
  "too_many_connections_of_address",
  "too_many_connections",
  "too_many_users",
  "too_many_channels",
  "too_many_channels_asked",
  "too_much_inbound",
  "bus_away",
  "worker_away",
  "shutting_down",
  "internal_error",
] as const;

export type HttpCode = (typeof HTTP_CODES)[number];

/** Why a request was not served. Also the failed half of a result: `{ ok: true, ... } | Rejection`. */
export class Rejection {
  readonly ok = false;
  /** HTTP status. */
  readonly status: number;
  readonly code: HttpCode;
  /** One sentence for the principal, without secrets. */
  readonly reason: string;
  /** When to try again, in seconds. */
  readonly retryAfterSecs: number | undefined;

  constructor(status: number, code: HttpCode, reason: string, retryAfterSecs?: number) {
    this.status = status;
    this.code = code;
    this.reason = reason;
    this.retryAfterSecs = retryAfterSecs;
  }
}
