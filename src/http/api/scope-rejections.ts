import { Rejection } from "../../auth/rejection.ts";
import type { ApiAbility } from "../../config/config.ts";

export { reaches, reachesAll } from "../../auth/key-scope.ts";

export const ADMIN_ONLY = new Rejection(
  403,
  "admin_only",
  "Administrator required: an API key is not enough.",
);

export function abilityMissing(ability: ApiAbility): Rejection {
  return new Rejection(403, "ability_missing", `An API key with the ability ${ability} is required.`);
}

export const CHANNEL_NOT_ALLOWED = new Rejection(
  403,
  "channel_not_allowed",
  "The API key does not cover this channel (api_keys.channels).",
);

/** Note in the descriptions of operations on the whole server. */
export const ALL_CHANNELS_NOTE = "An API key must be for all channels (`*`).";

export const ALL_CHANNELS_NEEDED = new Rejection(
  403,
  "all_channels_needed",
  "An API key for all channels is required.",
);
