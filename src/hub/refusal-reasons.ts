/**
 * The `reason` of a refused join, or of a refused renewal of its token. docs/errors.md explains each. Where the application
 * decides (`authorize`), its own text may stand there.
 */
export const JOIN_REASONS = [
  "unauthorized",
  "token expired",
  "forbidden",
  "too many channels joined",
  "invalid topic",
  "invalid presence",
  "rate limited",
  "payload too large",
  "authorization unavailable",
] as const;

export type JoinReason = (typeof JOIN_REASONS)[number];

/** The `reason` of a refused push. */
export const PUSH_REASONS = [
  "unmatched topic",
  "forbidden",
  "invalid event",
  "invalid presence",
  "payload too large",
  "too many client events",
  "rate limited",
  "backend unavailable",
  "no backend",
  "backend busy",
  "backend failed",
  "timeout",
  "too many calls",
  "server restarting",
] as const;

export type PushReason = (typeof PUSH_REASONS)[number];
