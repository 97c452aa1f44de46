import { MemoryPresence } from "./memory-presence.ts";
import type { PendingChanges } from "./pending-changes.ts";
import { type ChannelPresence, LOAD_TIMEOUT, type Meta, type PresenceDiff } from "./presence-store.ts";
import { type ChannelChange, decodeEntry } from "./presence-wire.ts";

/** Another server, as presence knows it. */
export interface Peer {
  readonly incarnation: string;
  /** The number of its last message with changes. */
  seq: number;
  /** When it was noticed last that messages of it are missing (`performance.now()`). */
  missedAt: number;
  /** Whether it stops: who comes back from it replaces its own entry. */
  parting: boolean;
}

/** What the channels of one server share. */
export interface SharedContext {
  /** This server's incarnation. */
  readonly incarnation: string;
  readonly peers: ReadonlyMap<string, Peer>;
  /** Whether one of them stops. */
  readonly anyParting: boolean;
  /** Whether this server stops: the entries of its members stay. */
  readonly parting: boolean;
  /** Whether its members get new refs, because the other servers have removed the old ones. */
  readonly renewing: boolean;
  /** Whether backends can be reached. */
  readonly live: boolean;
  /** The first member of a channel: its stored entries are to be read. */
  request(presence: SharedPresence): void;
  /** The changes of a channel that are not shared yet; to be called for each change. */
  pending(channel: string): PendingChanges;
  /** An entry of a server that is not known, or is dead. */
  stranger(channel: string, incarnation: string, ref: string): void;
}

/** A member on another server. */
class RemoteMeta implements Meta {
  readonly user: string;
  readonly ref: string;
  readonly onlineAt: number;
  readonly info?: string;
  readonly previous?: string;
  readonly server: Peer;

  constructor(meta: Meta, server: Peer, previous: string | undefined) {
    this.user = meta.user;
    this.ref = meta.ref;
    this.onlineAt = meta.onlineAt;
    if (meta.info !== undefined) this.info = meta.info;
    if (previous !== undefined) this.previous = previous;
    this.server = server;
  }
}

/** The field of an entry among those of its channel. */
export function fieldOf(incarnation: string, ref: string): string {
  return `${incarnation}|${ref}`;
}

/** The members of one channel on all servers. Each entry has one writer: the server that holds the connection. */
export class SharedPresence implements ChannelPresence {
  readonly name: string;
  #loaded = false;
  #loading: PromiseWithResolvers<void> | null = null;
  /** The members on this server, by ref. */
  readonly own = new Map<string, Meta>();
  /** Counts the changes of `own`. */
  version = 0;
  /** When the stored entries were renewed last (`performance.now()`). */
  renewedAt = Number.NEGATIVE_INFINITY;
  /** When the read began whose entries this server knows (`performance.now()`). */
  readAt = Number.NEGATIVE_INFINITY;
  hasJoins = false;
  readonly #context: SharedContext;
  readonly #all = new MemoryPresence();
  readonly #remote = new Map<string, RemoteMeta>();
  /** Entries of servers that stop, replaced here, by ref: a read that began earlier still has them. `null` if there are none. */
  #replaced: Map<string, Peer> | null = null;
  /** Whether the stored entries were requested. */
  #requested = false;
  /** When the last read began. */
  #readSince = Number.NEGATIVE_INFINITY;
  /** Changes received since the stored entries were requested; `null` without a request. */
  #received: { readonly server: Peer; readonly change: ChannelChange }[] | null = null;

  constructor(name: string, context: SharedContext) {
    this.name = name;
    this.#context = context;
  }

  get loaded(): boolean {
    return this.#loaded;
  }

  load(): Promise<void> | null {
    if (this.#loaded) return null;
    this.#request();
    if (this.#loading === null) {
      this.#loading = Promise.withResolvers();
      setTimeout(this.#loading.resolve, LOAD_TIMEOUT);
    }
    return this.#loading.promise;
  }

  #request(): void {
    if (this.#requested) return;
    this.#requested = true;
    this.#context.request(this);
  }

  #setLoaded(): void {
    this.#loaded = true;
    this.#loading?.resolve();
    this.#loading = null;
  }

  /** The number of members on other servers. */
  get remote(): number {
    return this.#remote.size;
  }

  get users(): number {
    return this.#all.users;
  }

  put(meta: Meta): void {
    const { user, ref, onlineAt, info } = meta;
    const gone = this.#partingOf(user);
    const pending = this.#context.pending(this.name);
    const shown: Meta =
      gone === null
        ? meta
        : { user, ref, onlineAt, ...(info === undefined ? {} : { info }), previous: gone.ref };
    if (gone === null) {
      this.#all.put(shown);
      pending.backends.joined(shown);
    } else {
      this.#remote.delete(gone.ref);
      this.#replaced ??= new Map();
      this.#replaced.set(gone.ref, gone.server);
      this.#all.replace(gone, shown);
      pending.left(gone.ref, gone.server.incarnation);
      pending.backends.replaced(gone, shown, this.#context.live);
    }
    this.own.set(ref, shown);
    this.version++;
    pending.joined(shown);
    this.hasJoins = true;
    this.#request();
  }

  remove(meta: Meta): void {
    const { ref } = meta;
    const shown = this.own.get(ref);
    if (shown === undefined) return;
    this.own.delete(ref);
    this.version++;
    this.#all.remove(shown);
    const { parting, incarnation, live } = this.#context;
    if (parting) return;
    const pending = this.#context.pending(this.name);
    pending.left(ref, incarnation);
    pending.backends.left(shown, live);
  }

  replace(old: Meta, meta: Meta): void {
    const shown = this.own.get(old.ref);
    if (shown === undefined) return;
    this.own.delete(old.ref);
    this.own.set(meta.ref, meta);
    this.version++;
    this.#all.replace(shown, meta);
    const { renewing, incarnation, live } = this.#context;
    const pending = this.#context.pending(this.name);
    pending.joined(meta);
    if (renewing) pending.backends.joined(meta);
    else {
      pending.left(old.ref, incarnation);
      pending.backends.replaced(shown, meta, live);
    }
  }

  state(): string {
    return this.#all.state();
  }

  takeDiff(): PresenceDiff | null {
    this.hasJoins = false;
    const members = this.#all.takeDiff()?.members;
    return members === undefined ? null : { members, backends: null };
  }

  /** A request for the stored entries is sent now. */
  beginRead(): void {
    this.#readSince = performance.now();
    this.#received = [];
  }

  /** The request failed: this server goes on with what it knows. */
  failRead(): void {
    const received = this.#received ?? [];
    this.#received = null;
    this.#setLoaded();
    for (const { server, change } of received) this.receive(server, change);
  }

  /**
   * The stored entries, and after them what was received since they were requested.
   * @param repair whether nothing of this server's was on its way meanwhile: then its own entries are compared too
   * @returns the refs that are known here and not stored, by server: only the server itself knows whether they are gone
   */
  endRead(entries: ReadonlyMap<string, string>, repair: boolean): Map<Peer, string[]> {
    const stored = this.#readEntries(entries, repair);
    const received = this.#received ?? [];
    this.#received = null;
    this.readAt = this.#readSince;
    this.#setLoaded();
    for (const { server, change } of received) this.receive(server, change);
    const missing = new Map<Peer, string[]>();
    for (const { ref, server } of this.#remote.values()) {
      if (stored.has(ref)) continue;
      const refs = missing.get(server);
      if (refs === undefined) missing.set(server, [ref]);
      else refs.push(ref);
    }
    // Received after the entries were stored.
    for (const { server, change } of received) {
      const joined = new Set(change.joins.map(({ ref }) => ref));
      const refs = missing.get(server)?.filter((ref) => !joined.has(ref));
      if (refs !== undefined) missing.set(server, refs);
    }
    return missing;
  }

  /** Changes that another server published. Returns whether there is a diff now. */
  receive(server: Peer, change: ChannelChange): boolean {
    if (this.#received !== null) {
      this.#received.push({ server, change });
      return false;
    }
    // Who leaves may have joined anew in a message that is missing. After the next read the server is asked about all leaves.
    const isBehind = server.missedAt > this.readAt && change.leaves.length > 0;
    return this.#apply(server, isBehind ? { ...change, leaves: [] } : change);
  }

  /** Removes the members of a server that is dead, and returns them. */
  drop(server: Peer): Meta[] {
    const dropped: Meta[] = [];
    for (const meta of this.#remote.values()) {
      if (meta.server !== server) continue;
      this.#remote.delete(meta.ref);
      this.#all.remove(meta);
      dropped.push(meta);
    }
    for (const [ref, replaced] of this.#replaced ?? []) if (replaced === server) this.#replaced?.delete(ref);
    return dropped;
  }

  #readEntries(entries: ReadonlyMap<string, string>, repair: boolean): ReadonlySet<string> {
    const { incarnation: self, peers } = this.#context;
    const stored = new Set<string>();
    for (const [field, value] of entries) {
      const bar = field.indexOf("|");
      const incarnation = field.slice(0, bar);
      const ref = field.slice(bar + 1);
      stored.add(ref);
      const server = peers.get(incarnation);
      if (server !== undefined) {
        const isKnown = this.#remote.has(ref) || this.#replaced?.has(ref) === true;
        const meta = isKnown ? null : decodeEntry(value);
        if (meta !== null && meta.ref === ref) this.#join(server, meta, false);
      } else if (incarnation !== self) this.#context.stranger(this.name, incarnation, ref);
      else if (repair && !this.own.has(ref)) this.#context.pending(this.name).leaves.set(ref, self);
    }
    if (repair) {
      for (const meta of this.own.values())
        if (!stored.has(meta.ref)) this.#context.pending(this.name).joined(meta);
    }
    return stored;
  }

  #apply(server: Peer, { joins, leaves }: ChannelChange): boolean {
    if (this.#context.peers.get(server.incarnation) !== server) return false;
    let changed = false;
    for (const meta of joins) if (this.#join(server, meta, true)) changed = true;
    for (const ref of leaves) {
      const meta = this.#remote.get(ref);
      if (meta === undefined) continue;
      this.#remote.delete(ref);
      this.#all.remove(meta);
      changed = true;
    }
    return changed;
  }

  /** @param returns whether it may be one who comes back from a server that stops */
  #join(server: Peer, meta: Meta, returns: boolean): boolean {
    const { user, ref, previous } = meta;
    if (this.#remote.has(ref) || this.own.has(ref)) return false;
    const replaced = previous === undefined ? undefined : this.#remote.get(previous);
    const old = replaced ?? (returns && !server.parting ? this.#partingOf(user) : null);
    const entry = new RemoteMeta(meta, server, previous ?? old?.ref);
    this.#remote.set(ref, entry);
    if (old === null) this.#all.put(entry);
    else {
      this.#remote.delete(old.ref);
      this.#all.replace(old, entry);
    }
    return true;
  }

  /** An entry of this user on a server that stops. */
  #partingOf(user: string): RemoteMeta | null {
    if (!this.#context.anyParting) return null;
    for (const meta of this.#all.metasOf(user)) {
      if (meta instanceof RemoteMeta && meta.server.parting) return meta;
    }
    return null;
  }
}
