import { Refused } from "./operation.ts";

export { reaches, reachesAll } from "../../auth/key-scope.ts";

export function outOfReach(): Refused {
  return new Refused(403, "channel_not_allowed", "This API key is not for that channel (api_keys.channels).");
}

/** In descriptions of what tells of every channel. */
export const FOR_ALL = "A key needs all channels (`*`).";

export function notForAll(): Refused {
  return new Refused(403, "all_channels_needed", "This needs a key for all channels.");
}
