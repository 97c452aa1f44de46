import { encodeMetas, withEntry } from "./presence-json.ts";
import type { Meta } from "./presence-store.ts";

/** The memberships that were added and removed since the last diff. */
export class PresenceChanges {
  #joins = new Set<Meta>();
  /** The joins as JSON text, as long as each of them is another user's only one; else `null`. */
  #joinsText: string | null = "{}";
  #leaves: Meta[] = [];

  get hasJoins(): boolean {
    return this.#joins.size > 0;
  }

  /** @param entry the user's JSON entry if this is its only membership, else `null` */
  joined(meta: Meta, entry: string | null): void {
    this.#joins.add(meta);
    // A user that left since the last diff may have joined since then too, and be among the joins already.
    const text = this.#leaves.length === 0 ? this.#joinsText : null;
    this.#joinsText = text === null || entry === null ? null : withEntry(text, entry);
  }

  left(meta: Meta): void {
    // It replaced a meta in this window: who has it in a state needs the leave only.
    if (meta.previous !== undefined && this.#joins.delete(meta)) this.#joinsText = null;
    this.#leaves.push(meta);
  }

  replaced(old: Meta, meta: Meta): void {
    this.#joins.delete(old);
    this.#joins.add(meta);
    this.#joinsText = null;
    this.#leaves.push(old);
  }

  /** The payload of `presence_diff`, or `null` when nothing changed. */
  take(): string | null {
    const [joins, leaves] = [this.#joins, this.#leaves];
    if (joins.size === 0 && leaves.length === 0) return null;
    const joinsText = this.#joinsText ?? encodeMetas(joins);
    if (joins.size > 0) this.#joins = new Set();
    if (leaves.length > 0) this.#leaves = [];
    this.#joinsText = "{}";
    return `{"joins":${joinsText},"leaves":${encodeMetas(leaves)}}`;
  }
}
