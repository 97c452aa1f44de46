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

/** Whether the application decides on joins of a channel without a token (`authorize`): anyone could get one from an open endpoint. */
export function asksApplication({ channels }: Pick<Config, "channels">, channel: string): boolean {
  const found = channels.find(({ pattern }) => nameCovers(pattern, channel));
  return found !== undefined && found.authorize !== null;
}

/** Whether `POST /token` gives a token for this channel to a client that proves nothing and chooses no id. */
export function isPublicChannel(
  config: Pick<Config, "tokenEndpoint" | "tokenChannels" | "channels">,
  channel: string,
): boolean {
  return isOpenChannel(config, channel) && !asksApplication(config, channel);
}

/** As `isPublicChannel`, or it would be if the application did not decide. */
export function isOpenChannel(
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
