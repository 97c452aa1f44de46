import type { Membership } from "./membership.ts";

/** The topics that one client has joined. Most clients join one: a map for each would take more memory than all else. */
export class Memberships {
  #only: Membership | null = null;
  /** All memberships, once there are two. */
  #many: Map<string, Membership> | null = null;

  get size(): number {
    return this.#many?.size ?? (this.#only === null ? 0 : 1);
  }

  get(topic: string): Membership | undefined {
    if (this.#many !== null) return this.#many.get(topic);
    return this.#only?.channel.name === topic ? this.#only : undefined;
  }

  /** Adds a membership of a topic that is not joined yet. */
  add(member: Membership): void {
    if (this.#many === null && this.#only === null) {
      this.#only = member;
      return;
    }
    if (this.#many === null) {
      this.#many = new Map(this.all().map((each) => [each.channel.name, each]));
      this.#only = null;
    }
    this.#many.set(member.channel.name, member);
  }

  delete(member: Membership): void {
    if (this.#only === member) this.#only = null;
    this.#many?.delete(member.channel.name);
  }

  /** A new list of all, in the order of their joins. */
  all(): Membership[] {
    if (this.#many !== null) return [...this.#many.values()];
    return this.#only === null ? [] : [this.#only];
  }
}
