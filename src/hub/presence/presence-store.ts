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
  /**
   * @param changed called with the name of a loaded channel when its members on other servers become known or change;
   *   `takeDiff` returns what changed
   */
  start(changed: (channel: string) => void): void;
  /** Loads a channel. Called once for a name until `unload`. */
  load(channel: string): ChannelPresence;
  /** Forgets a channel that has no members on this server. Called after its last `takeDiff`. */
  unload(channel: string): void;
  stop(): void;
}
