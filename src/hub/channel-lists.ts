import type { SendAdminEvent } from "./admin-events.ts";
import type { Channel, Member } from "./channel.ts";

/** Channels and bytes of JSON that are sent in one turn of the event loop, at least one channel. */
const SLICE = 250;
const SLICE_BYTES = 64 * 1024;

/** Pause in ms while the receiving client has a backlog. */
const BACKLOG_PAUSE = 20;

export interface ChannelListsOptions {
  /** The payload of `channel.list` for one channel, or `null` if it is not open any more. */
  list(channel: Channel): string | null;
  /** Sends an event to backends; `null` if they do not get the events of `admin`. */
  readonly export: SendAdminEvent | null;
}

/** What one member is still to be sent. */
interface Listing {
  readonly member: Member;
  readonly channels: readonly Channel[];
  next: number;
}

/**
 * Sends a `channel.list` event for each channel to members that join `admin`, and to backends. With many channels this takes
 * several turns of the event loop, and waits while the member's client has a backlog. If the member leaves,
 * backends still get all lists.
 */
export class ChannelLists {
  readonly #options: ChannelListsOptions;
  #listings: Listing[] = [];
  #immediate: NodeJS.Immediate | null = null;
  #timer: Timer | null = null;

  constructor(options: ChannelListsOptions) {
    this.#options = options;
  }

  /** Sends the first slice now. */
  start(member: Member, channels: Iterable<Channel>): void {
    const listing = { member, channels: [...channels], next: 0 };
    if (!this.#sendSlice(listing)) return;
    this.#listings.push(listing);
    if (this.#listings.length === 1) this.#immediate = setImmediate(() => this.#continue());
  }

  /** Drops all lists that wait. */
  stop(): void {
    this.#listings = [];
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Sends a slice of the first listing whose client has no backlog, and moves it to the end. */
  #continue(): void {
    const index = this.#listings.findIndex(({ member }) => !isJoined(member) || !hasBacklog(member));
    const [listing] = index < 0 ? [] : this.#listings.splice(index, 1);
    if (listing !== undefined && this.#sendSlice(listing)) this.#listings.push(listing);
    if (this.#listings.length === 0) return;
    if (listing === undefined) this.#timer = setTimeout(() => this.#continue(), BACKLOG_PAUSE);
    else this.#immediate = setImmediate(() => this.#continue());
  }

  /** Returns whether more is left. */
  #sendSlice(listing: Listing): boolean {
    const { list, export: toBackends } = this.#options;
    const { member, channels } = listing;
    const joined = isJoined(member);
    if (!joined && toBackends === null) return false;
    const end = Math.min(listing.next + SLICE, channels.length);
    for (let bytes = 0; listing.next < end && bytes < SLICE_BYTES; listing.next++) {
      const channel = channels[listing.next];
      const payload = channel === undefined ? null : list(channel);
      if (payload === null) continue;
      bytes += payload.length;
      if (joined) member.send("channel.list", payload);
      toBackends?.("channel.list", payload);
    }
    return listing.next < channels.length;
  }
}

function isJoined(member: Member): boolean {
  return member.channel.members.has(member);
}

function hasBacklog({ connection }: Member): boolean {
  return connection.buffered() > 0;
}
