import type { Config } from "../config/config.ts";
import { isPattern, isUserChannel, nameCovers } from "./claims.ts";

/**
 * Whether an entry of `token_channels` covers a channel for a user. Only a `*` in the entry makes a pattern: one in the id is
 * a plain character.
 */
export function entryCovers(entry: string, id: string, channel: string): boolean {
  if (!entry.includes("{id}")) return nameCovers(entry, channel);
  if (!isPattern(entry)) return entry.replaceAll("{id}", () => id) === channel;
  return channel.startsWith(entry.slice(0, -1).replaceAll("{id}", () => id));
}

/** Whether `POST /token` gives a token for this channel to a client that proves nothing and chooses no id. */
export function isPublicChannel(
  { tokenEndpoint, tokenChannels }: Pick<Config, "tokenEndpoint" | "tokenChannels">,
  channel: string,
): boolean {
  if (
    tokenEndpoint !== "open" ||
    channel === "admin" ||
    channel === "phoenix" ||
    isPattern(channel) ||
    isUserChannel(channel)
  )
    return false;
  return tokenChannels.some((entry) => !entry.includes("{id}") && nameCovers(entry, channel));
}
