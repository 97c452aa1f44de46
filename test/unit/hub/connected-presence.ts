import { MemoryPresence } from "../../../src/hub/presence/memory-presence.ts";
import { PresenceChanges } from "../../../src/hub/presence/presence-changes.ts";
import type {
  ChannelPresence,
  Meta,
  PresenceDiff,
  PresenceFigures,
  PresenceOwner,
  PresenceStore,
} from "../../../src/hub/presence/presence-store.ts";

/** A hub that takes no notice. */
export const NO_OWNER: PresenceOwner = {
  changed: () => {},
  countChanged: () => {},
  export: null,
  announce: () => null,
  announced: () => {},
  renewRefs: () => {},
};

/** Stores that share their members in this process, as those of several servers would through a broker. */
export function connectStores(servers: number): ConnectedPresenceStore[] {
  const stores: ConnectedPresenceStore[] = [];
  for (let i = 0; i < servers; i++) stores.push(new ConnectedPresenceStore(stores));
  return stores;
}

export class ConnectedPresenceStore implements PresenceStore {
  /** Whether a channel knows the members of other servers at once; else after `finishLoading`. */
  loadsAtOnce = true;
  readonly channels = new Map<string, ConnectedPresence>();
  readonly #all: readonly ConnectedPresenceStore[];
  #changed: (channel: string) => void = () => {};

  constructor(all: readonly ConnectedPresenceStore[]) {
    this.#all = all;
  }

  readonly shared = false;

  start({ changed }: PresenceOwner): void {
    this.#changed = changed;
  }

  figures(): PresenceFigures {
    return { remote: 0, missed: 0 };
  }

  membersChanged(): void {}

  elsewhere(): number {
    return 0;
  }

  connectionChanged(): void {}

  drain(): void {}

  load(channel: string): ChannelPresence {
    const presence = new ConnectedPresence((joined, left) => {
      for (const other of this.#all) if (other !== this) other.#apply(channel, joined, left);
    });
    this.channels.set(channel, presence);
    if (this.loadsAtOnce) this.finishLoading(channel);
    return presence;
  }

  finishLoading(channel: string): void {
    for (const other of this.#all) {
      if (other !== this) this.#apply(channel, other.channels.get(channel)?.own ?? [], []);
    }
    const presence = this.channels.get(channel);
    if (presence !== undefined) presence.loaded = true;
    this.#changed(channel);
  }

  unload(channel: string): void {
    this.channels.delete(channel);
  }

  async stop(): Promise<void> {}

  #apply(channel: string, joined: Iterable<Meta>, left: Iterable<Meta>): void {
    const presence = this.channels.get(channel);
    if (presence === undefined) return;
    for (const meta of joined) {
      if (!presence.remote.has(meta)) presence.all.put(meta);
      presence.remote.add(meta);
    }
    for (const meta of left) if (presence.remote.delete(meta)) presence.all.remove(meta);
    this.#changed(channel);
  }
}

type Publish = (joined: readonly Meta[], left: readonly Meta[]) => void;

/** Publishes the changes of this server whenever a diff is taken: once for each presence window. */
class ConnectedPresence implements ChannelPresence {
  loaded = false;

  load(): null {
    return null;
  }

  /** The members on all servers. */
  readonly all = new MemoryPresence();
  /** The members on this server. */
  readonly own = new Set<Meta>();
  /** The members on other servers. */
  readonly remote = new Set<Meta>();
  readonly #backends = new PresenceChanges();
  readonly #publish: Publish;
  #joined: Meta[] = [];
  #left: Meta[] = [];

  constructor(publish: Publish) {
    this.#publish = publish;
  }

  get users(): number {
    return this.all.users;
  }

  get hasJoins(): boolean {
    return this.all.hasJoins;
  }

  put(meta: Meta): void {
    this.all.put(meta);
    this.own.add(meta);
    this.#backends.joined(meta, null);
    this.#joined.push(meta);
  }

  remove(meta: Meta): void {
    if (!this.own.delete(meta)) return;
    this.all.remove(meta);
    this.#backends.left(meta);
    this.#left.push(meta);
  }

  replace(old: Meta, meta: Meta): void {
    if (!this.own.delete(old)) return;
    this.own.add(meta);
    this.all.replace(old, meta);
    this.#backends.replaced(old, meta);
    this.#left.push(old);
    this.#joined.push(meta);
  }

  state(): string {
    return this.all.state();
  }

  takeDiff(): PresenceDiff | null {
    const [joined, left] = [this.#joined, this.#left];
    this.#joined = [];
    this.#left = [];
    if (joined.length > 0 || left.length > 0) this.#publish(joined, left);
    const members = this.all.takeDiff()?.members;
    return members === undefined ? null : { members, backends: this.#backends.take() };
  }
}
