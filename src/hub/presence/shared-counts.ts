import type { OccupancyWrite } from "./presence-database.ts";
import type { CountChange } from "./presence-wire.ts";

/** Minimum time between two writes of the number of members of a counted channel, in ms. */
const COUNT_INTERVAL = 1000;

/** A channel that has members here. */
interface OwnCount {
  members: number;
  readonly counted: boolean;
  /** Whether it was written. */
  written: boolean;
  announced: boolean;
  /** When it was written last (`performance.now()`). */
  writtenAt: number;
}

/** A write of the number of members of a channel on this server. */
export interface CountWrite extends OccupancyWrite {
  /** Whether it had none before. */
  readonly opens: boolean;
  /** Whether it is to be announced that the channel opens or closes. */
  readonly announced: boolean;
  readonly counted: boolean;
}

/** How many members each server has in a channel: whether any for all channels, exactly for counted ones. */
export class SharedCounts {
  readonly #own = new Map<string, OwnCount>();
  readonly #dirty = new Set<string>();
  /** Members on other servers, by incarnation, of counted channels that have members here. */
  readonly #elsewhere = new Map<string, Map<string, number>>();

  get waiting(): boolean {
    return this.#dirty.size > 0;
  }

  /**
   * The number of members of a channel on this server changed. Of a channel that is not counted only 0 and 1 matter.
   * @param announced whether it is to be announced if the channel opens or closes by it
   */
  set(channel: string, members: number, counted: boolean, announced: boolean): void {
    const own = this.#own.get(channel) ?? this.#add(channel, members, counted);
    own.members = members;
    own.announced = announced;
    this.#dirty.add(channel);
  }

  /** The number of members of a counted channel on other servers. */
  elsewhere(channel: string): number {
    let total = 0;
    for (const members of this.#elsewhere.get(channel)?.values() ?? []) total += members;
    return total;
  }

  /** All channels are to be written again. */
  repeat(): void {
    for (const [channel, own] of this.#own) {
      own.writtenAt = Number.NEGATIVE_INFINITY;
      this.#dirty.add(channel);
    }
  }

  /** What is to be written now, of at most `max` channels. */
  take(max: number): CountWrite[] {
    const now = performance.now();
    const writes: CountWrite[] = [];
    for (const channel of this.#dirty) {
      if (writes.length === max) break;
      const own = this.#own.get(channel);
      if (own?.counted && now - own.writtenAt < COUNT_INTERVAL) continue;
      this.#dirty.delete(channel);
      if (own === undefined) continue;
      const { members, written, announced, counted } = own;
      if (members === 0) this.#own.delete(channel);
      own.writtenAt = now;
      own.written = true;
      writes.push({ channel, members, opens: !written, announced, counted });
    }
    return writes;
  }

  /** A write failed. */
  restore(writes: readonly CountWrite[]): void {
    for (const { channel, members, opens, announced, counted } of writes) {
      const own = this.#own.get(channel) ?? this.#add(channel, members, counted);
      own.written = !opens;
      own.announced ||= announced;
      this.#dirty.add(channel);
    }
  }

  /** The counts that are stored, as of a write. Returns whether those of other servers changed. */
  stored(
    channel: string,
    counts: ReadonlyMap<string, number>,
    isOther: (incarnation: string) => boolean,
  ): boolean {
    if (this.#own.get(channel)?.counted !== true) {
      this.#elsewhere.delete(channel);
      return false;
    }
    const before = this.elsewhere(channel);
    this.#elsewhere.set(channel, new Map([...counts].filter(([incarnation]) => isOther(incarnation))));
    return this.elsewhere(channel) !== before;
  }

  /** A count that another server published. Returns whether it concerns this server. */
  received(incarnation: string, { channel, members }: CountChange): boolean {
    if (this.#own.get(channel)?.counted !== true) return false;
    const counts = this.#elsewhere.get(channel) ?? new Map<string, number>();
    this.#elsewhere.set(channel, counts);
    if (members === 0) return counts.delete(incarnation);
    counts.set(incarnation, members);
    return true;
  }

  /** A server is dead. Returns the counted channels in which it had members. */
  died(incarnation: string): string[] {
    return [...this.#elsewhere]
      .filter(([, counts]) => counts.delete(incarnation))
      .map(([channel]) => channel);
  }

  #add(channel: string, members: number, counted: boolean): OwnCount {
    const own = { members, counted, written: false, announced: false, writtenAt: Number.NEGATIVE_INFINITY };
    this.#own.set(channel, own);
    return own;
  }
}
