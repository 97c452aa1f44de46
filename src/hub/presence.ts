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

export class Presence {
  readonly #users = new Map<string, Meta[]>();
  #state: string | null = null;
  #joins: Meta[] = [];
  #leaves: Meta[] = [];

  /** How many users are present. */
  get users(): number {
    return this.#users.size;
  }

  /** Whether anybody came or went since the last diff. */
  get changed(): boolean {
    return this.#joins.length > 0 || this.#leaves.length > 0;
  }

  /** Whether somebody came since the last diff. */
  get joining(): boolean {
    return this.#joins.length > 0;
  }

  join(meta: Meta): void {
    const metas = this.#users.get(meta.user);
    if (metas === undefined) this.#users.set(meta.user, [meta]);
    else metas.push(meta);
    this.#joins.push(meta);
    this.#state = null;
  }

  leave(meta: Meta): void {
    const metas = this.#users.get(meta.user);
    const index = metas === undefined ? -1 : metas.indexOf(meta);
    if (metas === undefined || index < 0) return;
    if (metas.length === 1) this.#users.delete(meta.user);
    else metas.splice(index, 1);
    this.#leaves.push(meta);
    this.#state = null;
  }

  /** Everyone who came through one node leaves with it. */
  leaveNode(node: string): void {
    for (const metas of [...this.#users.values()]) {
      for (const meta of metas.filter((each) => each.node === node)) this.leave(meta);
    }
  }

  /** The payload of `presence_state`: encoded once for each change, however many ask. */
  state(): string {
    this.#state ??= encodeUsers(this.#users);
    return this.#state;
  }

  /**
   * The payload of `presence_diff` since the last call, or `null` when nothing changed. Who came and went in between
   * stands in both halves: a state may have been sent while they were there.
   */
  takeDiff(): string | null {
    if (!this.changed) return null;
    const diff = `{"joins":${encodeMetas(this.#joins)},"leaves":${encodeMetas(this.#leaves)}}`;
    this.#joins = [];
    this.#leaves = [];
    return diff;
  }
}

function encodeMetas(metas: readonly Meta[]): string {
  if (metas.length === 0) return "{}";
  const users = new Map<string, Meta[]>();
  for (const meta of metas) {
    const of = users.get(meta.user);
    if (of === undefined) users.set(meta.user, [meta]);
    else of.push(meta);
  }
  return encodeUsers(users);
}

function encodeUsers(users: ReadonlyMap<string, readonly Meta[]>): string {
  let text = "";
  for (const [user, metas] of users) {
    text += `${text === "" ? "{" : ","}${JSON.stringify(user)}:{"metas":[`;
    let separator = "";
    for (const meta of metas) {
      text += `${separator}{"phx_ref":"${meta.ref}","online_at":"${meta.onlineAt}"}`;
      separator = ",";
    }
    text += "]}";
  }
  return text === "" ? "{}" : `${text}}`;
}
