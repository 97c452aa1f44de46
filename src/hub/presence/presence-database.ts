/** Changes of the stored members of one channel. */
export interface PresenceWrite {
  readonly channel: string;
  /** Fields and values to set, in turn. */
  readonly set: readonly string[];
  /** Fields to remove. */
  readonly remove: readonly string[];
  /** Whether the entries of this channel are to be kept for another `EXPIRY`. */
  readonly renew: boolean;
}

/** Whether this server has members in a channel, as stored beside the members themselves. */
export interface OccupancyWrite {
  readonly channel: string;
  /** The number of members on this server; 0 removes the entry. */
  readonly members: number;
}

/** How long entries are kept after the last renewal, in seconds. */
export const EXPIRY = 3600;

/**
 * What servers share about presence: for each channel the entries of its members (a field and a value each), how many
 * members each server has in it, and for each server the channels that it has members in. No method rejects.
 */
export interface PresenceDatabase {
  /** Whether it is connected. */
  readonly ready: boolean;
  /** Connects, and retries until `stop`. @param opened called at each connection */
  start(opened: () => void): void;
  /** Writes entries, then publishes `messages`, in order. Resolves to whether all was accepted. */
  write(writes: readonly PresenceWrite[], messages: readonly string[]): Promise<boolean>;
  /** The entries of each channel, by field; `null` if they could not be read. */
  read(channels: readonly string[]): Promise<readonly ReadonlyMap<string, string>[] | null>;
  /**
   * Sets the number of members that a server has in channels, and lists them as its channels and as open. Resolves to the
   * counts of all servers in each, as of then, by incarnation; `null` if it failed.
   */
  occupy(
    incarnation: string,
    writes: readonly OccupancyWrite[],
  ): Promise<readonly ReadonlyMap<string, number>[] | null>;
  /**
   * Lists channels as closed, unless one has members again. Resolves to the names of all open ones, or to `null` where there
   * are more than `max`, and their number.
   */
  listOpen(
    closed: readonly string[],
    max: number,
  ): Promise<{ readonly names: readonly string[] | null; readonly total: number } | null>;
  /** The channels in which a server has members, as listed by `occupy`; `null` if they could not be read. */
  channelsOf(incarnation: string): Promise<readonly string[] | null>;
  /** Keeps for another `EXPIRY`: the list of a server's channels, and these channels. Resolves to those that are gone. */
  renew(incarnation: string, channels: readonly string[]): Promise<readonly string[] | null>;
  /** Whether an incarnation was declared dead; `null` if it could not be read. */
  isDead(incarnation: string): Promise<boolean | null>;
  /** Claims an incarnation that is dead. Resolves to whether no other server did; `null` if it failed. */
  claim(incarnation: string): Promise<boolean | null>;
  /** Writes what waits, and disconnects. */
  stop(): Promise<void>;
}
