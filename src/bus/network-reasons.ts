export const CLOSED = "the connection was closed";

/** Error codes of connections, in words for an operator. */
export const NETWORK_REASONS: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["EPIPE", CLOSED],
  ["ENOTFOUND", "unknown host"],
  ["EAI_AGAIN", "the host name could not be looked up"],
  ["ETIMEDOUT", "no answer"],
  ["EHOSTUNREACH", "host unreachable"],
  ["ENETUNREACH", "network unreachable"],
  ["ENOENT", "no such socket"],
  ["EACCES", "permission denied"],
]);
