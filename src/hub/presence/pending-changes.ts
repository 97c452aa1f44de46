import { encodeMetas } from "./presence-json.ts";
import type { Meta } from "./presence-store.ts";

/** What is to be written of one channel. */
export interface WrittenChanges {
  /** By ref. */
  readonly joins: ReadonlyMap<string, Meta>;
  /** Refs to be removed, with the incarnation whose entry they are. */
  readonly leaves: ReadonlyMap<string, string>;
}

/**
 * The changes of this server's members in one channel that are not shared yet: not written for other servers, or not
 * published for backends. Whatever happens in between, it holds at most the members at the last success and those of now.
 */
export class PendingChanges {
  /** To be written and published, by ref. */
  joins = new Map<string, Meta>();
  /** Refs to be removed, with the incarnation whose entry they are. */
  leaves = new Map<string, string>();
  /** Refs of `joins` that a failed attempt may have written. */
  uncertain: Set<string> | null = null;
  readonly backends = new BackendChanges();

  get empty(): boolean {
    return this.joins.size === 0 && this.leaves.size === 0;
  }

  joined(meta: Meta): void {
    this.joins.set(meta.ref, meta);
  }

  /** @param incarnation that of the stored entry */
  left(ref: string, incarnation: string): void {
    if (this.joins.delete(ref) && this.uncertain?.has(ref) !== true) return;
    this.leaves.set(ref, incarnation);
  }

  /** Moves all that is to be written into another object. */
  take(): WrittenChanges {
    const { joins, leaves } = this;
    this.joins = new Map();
    this.leaves = new Map();
    this.uncertain = null;
    return { joins, leaves };
  }

  /** Takes back what was taken from here, and may or may not have arrived. */
  restore({ joins, leaves }: WrittenChanges): void {
    for (const [ref, meta] of joins) {
      if (this.leaves.has(ref)) continue;
      this.joins.set(ref, meta);
      this.uncertain ??= new Set();
      this.uncertain.add(ref);
    }
    for (const [ref, incarnation] of leaves) this.leaves.set(ref, incarnation);
  }
}

/** What backends have not been sent yet. */
export class BackendChanges {
  #joins = new Map<string, Meta>();
  #leaves = new Map<string, Meta>();

  get empty(): boolean {
    return this.#joins.size === 0 && this.#leaves.size === 0;
  }

  joined(meta: Meta): void {
    this.#joins.set(meta.ref, meta);
  }

  /** @param live whether backends can be reached: then they get the join and the leave of one window, otherwise neither */
  left(meta: Meta, live: boolean): void {
    const isNew = this.#joins.has(meta.ref);
    // A meta that replaced another is never in both halves.
    if (isNew && (!live || meta.previous !== undefined)) this.#joins.delete(meta.ref);
    if (!isNew || live) this.#leaves.set(meta.ref, meta);
  }

  /** The old meta was replaced. */
  replaced(old: Meta, meta: Meta, live: boolean): void {
    const isNew = this.#joins.delete(old.ref);
    if (!isNew || live) this.#leaves.set(old.ref, old);
    this.#joins.set(meta.ref, meta);
  }

  /** Takes back what was taken from here and did not arrive. */
  restore(earlier: BackendChanges): void {
    const [joins, leaves] = [this.#joins, this.#leaves];
    this.#joins = earlier.#joins;
    this.#leaves = earlier.#leaves;
    for (const meta of leaves.values()) this.left(meta, false);
    for (const meta of joins.values()) this.joined(meta);
  }

  /** Moves all changes into another object. */
  take(): BackendChanges {
    const taken = new BackendChanges();
    taken.#joins = this.#joins;
    taken.#leaves = this.#leaves;
    this.#joins = new Map();
    this.#leaves = new Map();
    return taken;
  }

  clear(): void {
    this.#joins.clear();
    this.#leaves.clear();
  }

  /** The payload of `presence_diff`. */
  encode(): string {
    return `{"joins":${encodeMetas(this.#joins.values())},"leaves":${encodeMetas(this.#leaves.values())}}`;
  }
}
