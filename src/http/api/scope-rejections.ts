import { Rejection } from "../../auth/rejection.ts";

export { reaches, reachesAll } from "../../auth/key-scope.ts";

export function channelNotAllowed(): Rejection {
  return new Rejection(
    403,
    "channel_not_allowed",
    "The API key does not cover this channel (api_keys.channels).",
  );
}

/** Note in the descriptions of operations on the whole server. */
export const ALL_CHANNELS_NOTE = "An API key must be for all channels (`*`).";

export function allChannelsNeeded(): Rejection {
  return new Rejection(403, "all_channels_needed", "An API key for all channels is required.");
}
