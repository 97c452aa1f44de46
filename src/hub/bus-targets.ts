import { isEventName, isExport, parseTo, RESERVED_EVENTS } from "../bus/topics.ts";
import type { Channel } from "./channel.ts";
import type { DropReason } from "./stats.ts";

/**
 * Limits of the cache of names: for each channel, in all, and bytes of one name. A name that is not cached is parsed each
 * time, which costs little.
 */
const MAX_NAMES_PER_CHANNEL = 16;
const MAX_NAMES = 1_000_000;
const MAX_NAME_LENGTH = 255;

/** The channel and event that a name on the bus stands for. */
export interface Target {
  readonly channel: Channel;
  readonly event: string;
}

/** Resolves names on the bus (`to:<channel>:<event>`), and caches those of channels that have receivers. */
export class BusTargets {
  readonly #channels: ReadonlyMap<string, Channel>;
  /** By the bytes of the name, as latin1 text. */
  readonly #cache = new Map<string, Target>();
  readonly #reserved: (name: string) => void;

  /** @param reserved called with each name whose event only a server may send */
  constructor(channels: ReadonlyMap<string, Channel>, reserved: (name: string) => void) {
    this.#channels = channels;
    this.#reserved = reserved;
  }

  /** The target of a name, or why its messages are dropped. */
  resolve(name: Buffer): Target | DropReason {
    const bytes = name.toString("latin1");
    return this.#cache.get(bytes) ?? this.#parse(name, bytes);
  }

  /** Removes a closed channel from the cache. */
  forget(channel: Channel): void {
    for (const name of channel.names) this.#cache.delete(name);
  }

  #parse(name: Buffer, bytes: string): Target | DropReason {
    const parsed = parseTo(name);
    if (parsed === null) return "malformed";
    const { event } = parsed;
    if (isExport(parsed)) return "own";
    if (RESERVED_EVENTS.has(event)) {
      this.#reserved(name.toString());
      return "reserved";
    }
    const channel = this.#channels.get(parsed.channel);
    if (channel === undefined || channel.receivers.length === 0) return "unheard";
    if (!isEventName(event)) return "invalid_name";
    const target = { channel, event };
    const fits = channel.names.length < MAX_NAMES_PER_CHANNEL && this.#cache.size < MAX_NAMES;
    if (fits && bytes.length <= MAX_NAME_LENGTH) {
      channel.names.push(bytes);
      this.#cache.set(bytes, target);
    }
    return target;
  }
}
