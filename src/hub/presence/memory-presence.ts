import { PresenceChanges } from "./presence-changes.ts";
import { encodeUser, encodeUsers, flattened, withEntry } from "./presence-json.ts";
import type {
  ChannelPresence,
  Meta,
  PresenceDiff,
  PresenceFigures,
  PresenceStore,
} from "./presence-store.ts";

/** Keeps memberships in this process: for a server that is alone. */
export class MemoryPresenceStore implements PresenceStore {
  readonly shared = false;

  start(): void {}

  load(): ChannelPresence {
    return new MemoryPresence();
  }

  unload(): void {}

  figures(): PresenceFigures {
    return { remote: 0, missed: 0 };
  }

  membersChanged(): void {}

  elsewhere(): number {
    return 0;
  }

  connectionChanged(): void {}

  drain(): void {}

  async stop(): Promise<void> {}
}

/** The members of one channel, in this process. */
export class MemoryPresence implements ChannelPresence {
  readonly loaded = true;

  load(): null {
    return null;
  }

  /** Each user's memberships. Most users have one. */
  readonly #users = new Map<string, Meta | Meta[]>();
  /** The payload of `presence_state`; `null` when it has to be encoded again. */
  #state: string | null = "{}";
  #isFlat = true;
  readonly #changes = new PresenceChanges();

  get users(): number {
    return this.#users.size;
  }

  /** The metas of a user. */
  metasOf(user: string): readonly Meta[] {
    const known = this.#users.get(user);
    return known === undefined ? [] : Array.isArray(known) ? known : [known];
  }

  get hasJoins(): boolean {
    return this.#changes.hasJoins;
  }

  put(meta: Meta): void {
    const known = this.#users.get(meta.user);
    if (known !== undefined) {
      if (Array.isArray(known)) known.push(meta);
      else this.#users.set(meta.user, [known, meta]);
      this.#state = null;
      this.#changes.joined(meta, null);
      return;
    }
    const entry = encodeUser(meta.user, [meta]);
    this.#users.set(meta.user, meta);
    if (this.#state !== null) this.#state = withEntry(this.#state, entry);
    this.#isFlat = false;
    this.#changes.joined(meta, entry);
  }

  remove(meta: Meta): void {
    const known = this.#users.get(meta.user);
    if (known === meta) this.#users.delete(meta.user);
    else if (!Array.isArray(known) || !known.includes(meta)) return;
    else if (known.length === 1) this.#users.delete(meta.user);
    else known.splice(known.indexOf(meta), 1);
    this.#changes.left(meta);
    this.#state = null;
  }

  replace(old: Meta, meta: Meta): void {
    const known = this.#users.get(old.user);
    if (known === old) this.#users.set(old.user, meta);
    else if (Array.isArray(known) && known.includes(old)) known[known.indexOf(old)] = meta;
    else return;
    this.#changes.replaced(old, meta);
    this.#state = null;
  }

  /** A join appends to the text; after a leave it is encoded once, on the next call. */
  state(): string {
    if (this.#state === null || !this.#isFlat)
      this.#state = flattened(this.#state ?? encodeUsers(this.#users));
    this.#isFlat = true;
    return this.#state;
  }

  takeDiff(): PresenceDiff | null {
    const diff = this.#changes.take();
    return diff === null ? null : { members: diff, backends: diff };
  }
}
