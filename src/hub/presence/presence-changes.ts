import { encodeUsers, withEntry } from "./presence-json.ts";
import type { Meta } from "./presence-store.ts";

/** The memberships that were added and removed since the last diff. */
export class PresenceChanges {
  readonly #joins = new MetaList();
  readonly #leaves = new MetaList();

  get hasJoins(): boolean {
    return !this.#joins.empty;
  }

  /** @param entry the user's JSON entry if this is its only membership, else `null` */
  joined(meta: Meta, entry: string | null): void {
    // A user that left since the last diff may have joined since then too, and be among the joins already.
    this.#joins.add(meta, this.#leaves.empty ? entry : null);
  }

  left(meta: Meta): void {
    this.#leaves.add(meta, null);
  }

  /** The payload of `presence_diff`, or `null` when nothing changed. */
  take(): string | null {
    if (this.#joins.empty && this.#leaves.empty) return null;
    return `{"joins":${this.#joins.take()},"leaves":${this.#leaves.take()}}`;
  }
}

/** Memberships, and their JSON text. */
class MetaList {
  #metas: Meta[] = [];
  /** Their text, as long as each of them is another user's only one; else `null`. */
  #text: string | null = "{}";

  get empty(): boolean {
    return this.#metas.length === 0;
  }

  /** @param entry the user's part of the text, or `null` if the user may have one there already */
  add(meta: Meta, entry: string | null): void {
    this.#metas.push(meta);
    this.#text = this.#text === null || entry === null ? null : withEntry(this.#text, entry);
  }

  /** The text of all that was added since the last call. */
  take(): string {
    const text = this.#text ?? encodeMetas(this.#metas);
    if (this.#metas.length > 0) this.#metas = [];
    this.#text = "{}";
    return text;
  }
}

function encodeMetas(metas: readonly Meta[]): string {
  const users = new Map<string, Meta[]>();
  for (const meta of metas) {
    const known = users.get(meta.user);
    if (known === undefined) users.set(meta.user, [meta]);
    else known.push(meta);
  }
  return encodeUsers(users);
}
