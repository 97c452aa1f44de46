import { Rejection } from "../../auth/rejection.ts";

export { reaches, reachesAll } from "../../auth/key-scope.ts";

export function outOfReach(): Rejection {
  return new Rejection(
    403,
    "channel_not_allowed",
    "The API key does not cover this channel (api_keys.channels).",
  );
}

/** In descriptions of what tells of every channel. */
export const FOR_ALL = "A key needs all channels (`*`).";

export function notForAll(): Rejection {
  return new Rejection(403, "all_channels_needed", "An API key for all channels is required.");
}
