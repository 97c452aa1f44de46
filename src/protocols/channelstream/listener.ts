import type { Client } from "../../transports/client.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";
import type { User, UserConnection } from "./user.ts";

/**
 * A connection as the REST calls know it: of one user, in some channels, with or without a transport at the moment.
 * Without one, its messages are kept until it catches up.
 */
export class Listener implements UserConnection {
  readonly id: string;
  readonly user: User;
  readonly channels = new Set<ChannelstreamChannel>();
  client: Client | null = null;
  live = false;
  /** Channels whose last values its client has not got yet, with the number of the newest message when it joined. */
  readonly awaitingValues = new Map<ChannelstreamChannel, number>();
  /** The last frame before it was last active. */
  seen: number;
  /** When it is removed unless its client is back, in ms (`performance.now()`). Ignored while it is live. */
  expiresAt: number;

  constructor(id: string, user: User, seen: number, expiresAt: number) {
    this.id = id;
    this.user = user;
    this.seen = seen;
    this.expiresAt = expiresAt;
  }

  /** Joins a channel that it is not in. */
  join(channel: ChannelstreamChannel): void {
    this.channels.add(channel);
    channel.add(this);
  }

  /** Leaves a channel; `false` if it was not in it. */
  leave(channel: ChannelstreamChannel): boolean {
    if (!this.channels.delete(channel)) return false;
    this.awaitingValues.delete(channel);
    channel.remove(this);
    return true;
  }
}
