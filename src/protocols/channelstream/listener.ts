import type { Client } from "../../transports/client.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";
import type { Frame } from "./frame.ts";
import type { User, UserConnection } from "./user.ts";

/** Frames, and numbers of frames, that are remembered for one connection. */
const MAX_FRAMES = 50;

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
  /** The newest frames for it alone, with their channels; `null` until there is one. */
  #own: { readonly channel: ChannelstreamChannel; readonly frame: Frame }[] | null = null;
  /** Numbers of the newest frames that it must not get; `null` until there is one. */
  #excluded: number[] | null = null;
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

  /** Keeps a frame for it alone, for when its client catches up. */
  keep(channel: ChannelstreamChannel, frame: Frame): void {
    this.#own ??= [];
    this.#own.push({ channel, frame });
    if (this.#own.length > MAX_FRAMES) this.#own.shift();
  }

  /** It must not get this frame, also when its client catches up. */
  exclude(seq: number): void {
    this.#excluded ??= [];
    this.#excluded.push(seq);
    if (this.#excluded.length > MAX_FRAMES) this.#excluded.shift();
  }

  /** The frames of a channel that its client has missed, in their order. */
  missed(channel: ChannelstreamChannel): Frame[] {
    const frames = channel.frames.frames.filter(
      (frame) => frame.visibleTo(this.user.name) && this.#excluded?.includes(frame.seq) !== true,
    );
    const own = this.#own?.filter((each) => each.channel === channel) ?? [];
    const missed = [...frames, ...own.map(({ frame }) => frame)].filter(({ seq }) => seq > this.seen);
    return own.length > 0 ? missed.sort((a, b) => a.seq - b.seq) : missed;
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
