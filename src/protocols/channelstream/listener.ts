import type { Client } from "../../transports/client.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";
import type { User } from "./user.ts";

/**
 * A connection as the REST calls know it: of one user, in some channels, with or without a transport at the moment. What
 * comes while it has none waits to be caught up with.
 */
export class Listener {
  readonly id: string;
  readonly user: User;
  readonly rooms = new Set<ChannelstreamChannel>();
  /** What it is attached to; `null` until it came, and after it went. */
  client: Client | null = null;
  /** Whether what is sent goes to the client now. Not between two polls. */
  live = false;
  /** The last frame before it was last active. */
  seen: number;
  /** When it is forgotten unless it comes back, in ms (`performance.now()`). Only looked at while it is not live. */
  expiresAt: number;

  constructor(id: string, user: User, seen: number, expiresAt: number) {
    this.id = id;
    this.user = user;
    this.seen = seen;
    this.expiresAt = expiresAt;
  }
}
