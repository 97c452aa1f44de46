/**
 * Who is in one channel, kept by node (server), so that one server's members can go together when it does. The texts are
 * those of Phoenix: `{"<user>":{"metas":[{"phx_ref":"...","online_at":"<unix ms>"}]}}`.
 */

/** One membership of a user. `ref` is never used twice, and holds letters, digits and dots only. */
export interface Meta {
  readonly node: string;
  readonly user: string;
  readonly ref: string;
  /** Unix time in ms. */
  readonly onlineAt: number;
}

/** What one call of `takeDiff` tells of: who came, or who left. */
class Change {
  #metas: Meta[] = [];
  /** The same as JSON text, as long as each of them is another user's only one. */
  #text: string | null = "{}";

  get empty(): boolean {
    return this.#metas.length === 0;
  }

  /** `entry`: the user's part of the text, or `null` where the user may have one there already. */
  add(meta: Meta, entry: string | null): void {
    this.#metas.push(meta);
    this.#text = this.#text === null || entry === null ? null : withEntry(this.#text, entry);
  }

  /** The JSON text of all that was added since the last call. */
  take(): string {
    const text = this.#text ?? encodeMetas(this.#metas);
    if (this.#metas.length > 0) this.#metas = [];
    this.#text = "{}";
    return text;
  }
}

export class Presence {
  /** Each user's memberships: most have one. */
  readonly #users = new Map<string, Meta | Meta[]>();
  /** The payload of `presence_state`; `null` when it is to be encoded anew. */
  #state: string | null = "{}";
  readonly #joins = new Change();
  readonly #leaves = new Change();

  /** How many users are present. */
  get users(): number {
    return this.#users.size;
  }

  /** Whether somebody came since the last diff. */
  get joining(): boolean {
    return !this.#joins.empty;
  }

  join(meta: Meta): void {
    const known = this.#users.get(meta.user);
    if (known !== undefined) {
      if (Array.isArray(known)) known.push(meta);
      else this.#users.set(meta.user, [known, meta]);
      this.#state = null;
      this.#joins.add(meta, null);
      return;
    }
    const entry = encodeUser(meta.user, [meta]);
    this.#users.set(meta.user, meta);
    if (this.#state !== null) this.#state = withEntry(this.#state, entry);
    // Who left since the last diff may have come since then too, and stand among those who did.
    this.#joins.add(meta, this.#leaves.empty ? entry : null);
  }

  leave(meta: Meta): void {
    const known = this.#users.get(meta.user);
    if (known === meta) this.#users.delete(meta.user);
    else if (!Array.isArray(known) || !known.includes(meta)) return;
    else if (known.length === 1) this.#users.delete(meta.user);
    else known.splice(known.indexOf(meta), 1);
    this.#leaves.add(meta, null);
    this.#state = null;
  }

  /** Everyone who came through one node leaves with it. */
  leaveNode(node: string): void {
    for (const meta of [...this.#users.values()].flat()) if (meta.node === node) this.leave(meta);
  }

  /** The payload of `presence_state`: a join adds to it, after a leave it is encoded once, however many ask. */
  state(): string {
    this.#state ??= encodeUsers(this.#users);
    return this.#state;
  }

  /**
   * The payload of `presence_diff` since the last call, or `null` when nothing changed. Who came and went in between
   * stands in both halves: a state may have been sent while they were there.
   */
  takeDiff(): string | null {
    if (this.#joins.empty && this.#leaves.empty) return null;
    return `{"joins":${this.#joins.take()},"leaves":${this.#leaves.take()}}`;
  }
}

/** A JSON object with one more entry, without a look at what it holds. */
function withEntry(object: string, entry: string): string {
  return object === "{}" ? `{${entry}}` : `${object.slice(0, -1)},${entry}}`;
}

function encodeMetas(metas: readonly Meta[]): string {
  const users = new Map<string, Meta[]>();
  for (const meta of metas) {
    const of = users.get(meta.user);
    if (of === undefined) users.set(meta.user, [meta]);
    else of.push(meta);
  }
  return encodeUsers(users);
}

function encodeUsers(users: ReadonlyMap<string, Meta | Meta[]>): string {
  const entries: string[] = [];
  for (const [user, metas] of users) entries.push(encodeUser(user, Array.isArray(metas) ? metas : [metas]));
  return `{${entries.join(",")}}`;
}

function encodeUser(user: string, metas: readonly Meta[]): string {
  let text = "";
  for (const { ref, onlineAt } of metas) {
    text += `${text === "" ? "" : ","}{"phx_ref":"${ref}","online_at":"${onlineAt}"}`;
  }
  return `${JSON.stringify(user)}:{"metas":[${text}]}`;
}
