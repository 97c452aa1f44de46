import type { PublishAck } from "../../bus/bus.ts";

/** One membership of a user. */
export interface Meta {
  readonly user: string;
  /** Never used twice. Letters, digits and dots only. */
  readonly ref: string;
  /** Unix time in ms. */
  readonly onlineAt: number;
  /** Metadata: the members of a JSON object, without its braces. */
  readonly info?: string;
  /** The ref of the meta that this one replaced. */
  readonly previous?: string;
}

/** How long a join waits for the members on other servers, in ms. After that its member gets the state when they are known. */
export const LOAD_TIMEOUT = 500;

/** The changes of one window, each as the payload of `presence_diff`. */
export interface PresenceDiff {
  /** For members: the changes on all servers. */
  readonly members: string;
  /** For backends: the changes that this server reports, each reported by one server; `null` for none. */
  readonly backends: string | null;
}

/**
 * The members of one channel, on all servers that share the store. Payloads are those of Phoenix:
 * `{"<user>":{"metas":[{"phx_ref":"...","online_at":"<unix ms>", <metadata>}]}}`.
 */
export interface ChannelPresence {
  /** Whether the members on other servers are known. Until then no state and no diff is sent. */
  readonly loaded: boolean;
  /**
   * Loads the members on other servers, before the first `put`. Resolves when they are known, or after `LOAD_TIMEOUT`; `null`
   * if they are. A member that joins afterwards gets the state before any message.
   */
  load(): Promise<void> | null;
  /** Users present. */
  readonly users: number;
  /** Whether a membership was added since the last diff. */
  readonly hasJoins: boolean;
  /** Adds a membership of this server. `meta` is kept, not copied. */
  put(meta: Meta): void;
  /** Removes a membership that was added by `put`; does nothing if it is not there. */
  remove(meta: Meta): void;
  /** Replaces a meta that was added by `put`: the diff has the new one as a join, and the old one as a leave. */
  replace(old: Meta, meta: Meta): void;
  /** The payload of `presence_state`. */
  state(): string;
  /**
   * The changes since the last call, or `null` when nothing changed. A membership that was added and removed in between
   * is in both halves, since a state that holds it may have been sent; a meta that replaced another is never in both.
   */
  takeDiff(): PresenceDiff | null;
}

/** Where memberships are kept: in this process, or shared with other servers. No method may throw. */
export interface PresenceStore {
  /** Whether there are other servers: `channel.add` and `channel.remove` are announced by `PresenceOwner.announce` then. */
  readonly shared: boolean;
  start(owner: PresenceOwner): void;
  figures(): PresenceFigures;
  /** Loads a channel. Called once for a name until `unload`. */
  load(channel: string): ChannelPresence;
  /** Forgets a channel that has no members on this server. Called after its last `takeDiff`. */
  unload(channel: string): void;
  /**
   * The number of members of any channel on this server changed. Of a channel that is not `counted` only the changes to and
   * from 0 matter.
   */
  membersChanged(channel: string, members: number, counted: boolean): void;
  /** The number of members of a counted channel on other servers. */
  elsewhere(channel: string): number;
  /** Whether messages flow over the bus changed. */
  connectionChanged(live: boolean): void;
  /** This server is about to stop: what leaves from now on may come back to another server. */
  drain(): void;
  /** Writes what waits, then ends. */
  stop(): Promise<void>;
}

/** For metrics. */
export interface PresenceFigures {
  /** Members on other servers that this one keeps. */
  readonly remote: number;
  /** How often messages of other servers were missed, and the members read again. */
  readonly missed: number;
}

/** The channels that have members on any server. */
export interface OpenChannels {
  /** `null` if there are too many to list. */
  readonly names: readonly string[] | null;
  readonly total: number;
}

/** What a store needs of the hub. */
export interface PresenceOwner {
  /** The members of a loaded channel on other servers became known, or changed: `takeDiff` returns what changed. */
  changed(channel: string): void;
  /** Sends a diff to backends; `null` if they get none. For stores whose diffs have nothing for backends. */
  readonly export: ((channel: string, diff: string, ack: PublishAck) => void) | null;
  /** The number of members of a counted channel on other servers changed. */
  countChanged(channel: string): void;
  /**
   * This server, and no other, found that a channel has its first member on all servers, or none any more.
   * @param open the names of all channels that have members, or `null` where they are too many, and their number
   * @returns the payload that was sent, for the other servers; `null` if none was
   */
  announce(event: "channel.add" | "channel.remove", channel: string, open: OpenChannels): string | null;
  /** Another server announced that. */
  announced(event: string, payload: string): void;
  /** All members of this server get new refs: the other servers have removed the old ones. */
  renewRefs(): void;
}
