import { nameCovers } from "../auth/claims.ts";
import type { ChannelSettings } from "../config/config.ts";
import type { ChannelRules } from "./channel.ts";

/** The rules of a channel: of the first `[[channels]]` whose pattern covers its name, or the defaults. */
export function createChannelRules(settings: readonly ChannelSettings[]): (channel: string) => ChannelRules {
  return (channel) => ({
    presence: settings.find(({ pattern }) => nameCovers(pattern, channel))?.presence ?? true,
  });
}
