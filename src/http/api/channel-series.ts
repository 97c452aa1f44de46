import type { Channel } from "../../hub/channel.ts";
import { Series, type SeriesShape } from "./series.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** Time between two samples, in ms. */
const INTERVAL = 10 * SECOND;

/** Channels kept: those that somebody looked at last, and those that were the busiest last. */
const MAX_LOOKED_AT = 32;
const MAX_BUSY = 24;

/** Time from which a request takes a sample of its own, in ms. */
const SOON = SECOND;

/** How many of the busiest channels of a minute are kept. */
const BUSIEST = 8;

const COLUMNS = { rates: ["sent", "sent_bytes", "pushed", "pushed_bytes"], gauges: ["members"] } as const;

/** Ten minutes and a day of one channel: 42 KB. */
export const CHANNEL_SHAPES = {
  fine: { interval: INTERVAL, slots: 60, ...COLUMNS },
  coarse: { interval: MINUTE, slots: 24 * 60, ...COLUMNS },
} as const satisfies Record<string, SeriesShape>;

/** The figures of one channel over time. */
interface Kept {
  readonly fine: Series;
  readonly coarse: Series;
  at: number;
  counters: readonly number[];
}

/** The channels of the hub, as far as the series need them. */
export interface SampledChannels {
  get(name: string): Pick<Channel, "members" | "traffic"> | undefined;
  values(): Iterable<Pick<Channel, "name" | "traffic">>;
}

/**
 * Figures over time of some channels: of those that somebody looks at, and of the busiest. Reads the counters that channels
 * have anyway, every 10 s; nothing is done for a message.
 */
export class ChannelSeries {
  readonly #channels: SampledChannels;
  readonly #now: () => number;
  /** The one that was added longest ago first. */
  readonly #lookedAt = new Map<string, Kept>();
  readonly #busy = new Map<string, Kept>();
  readonly #timer: Timer;
  #samples = 0;

  /** @param now unix time in ms */
  constructor(channels: SampledChannels, now: () => number = Date.now) {
    this.#channels = channels;
    this.#now = now;
    this.#timer = setInterval(() => this.sample(), INTERVAL);
  }

  /** The rows of `count` intervals up to `now` of a channel, which is kept from now on. @param now unix time in ms */
  rows(name: string, resolution: keyof typeof CHANNEL_SHAPES, count: number, now: number): Float32Array {
    const kept = this.#lookedAt.get(name) ?? this.#busy.get(name) ?? this.#create(name);
    if (this.#now() - kept.at >= SOON) this.#add(name, kept);
    this.#busy.delete(name);
    renew(this.#lookedAt, name, kept, MAX_LOOKED_AT);
    return kept[resolution].rows(now, count);
  }

  /** Called by the timer. */
  sample(): void {
    for (const kept of [this.#lookedAt, this.#busy]) for (const [name, each] of kept) this.#add(name, each);
    if (++this.#samples % (MINUTE / INTERVAL) !== 0) return;
    for (const name of this.#busiest()) {
      if (!this.#lookedAt.has(name)) {
        renew(this.#busy, name, this.#busy.get(name) ?? this.#create(name), MAX_BUSY);
      }
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #create(name: string): Kept {
    const { fine, coarse } = CHANNEL_SHAPES;
    const kept = { fine: new Series(fine), coarse: new Series(coarse), at: this.#now(), counters: [] };
    this.#add(name, kept);
    return kept;
  }

  #add(name: string, kept: Kept): void {
    const channel = this.#channels.get(name);
    const now = this.#now();
    const { sent = 0, sentBytes = 0, pushed = 0, pushedBytes = 0 } = channel?.traffic ?? {};
    const counters = [sent, sentBytes, pushed, pushedBytes];
    // Counters begin at 0 when a channel is opened again.
    const reopened = sent < (kept.counters[0] ?? 0) || pushed < (kept.counters[2] ?? 0);
    const before = reopened ? [0, 0, 0, 0] : kept.counters;
    const deltas = counters.map((value, i) => value - (before[i] ?? value));
    const members = [channel?.members.size ?? 0];
    const ms = Math.max(now - kept.at, 0);
    for (const series of [kept.fine, kept.coarse]) series.add(now, ms, deltas, members);
    kept.at = now;
    kept.counters = counters;
  }

  /** The names of the channels with the most messages since the last call. */
  #busiest(): string[] {
    const found: { readonly name: string; readonly messages: number }[] = [];
    for (const { name, traffic } of this.#channels.values()) {
      const messages = traffic.sinceMark();
      if (messages === 0 || messages <= (found[BUSIEST - 1]?.messages ?? 0)) continue;
      found.push({ name, messages });
      found.sort((one, other) => other.messages - one.messages);
      if (found.length > BUSIEST) found.pop();
    }
    return found.map(({ name }) => name);
  }
}

/** Puts an entry at the end, and removes the first one above `most`. */
function renew(map: Map<string, Kept>, name: string, kept: Kept, most: number): void {
  map.delete(name);
  map.set(name, kept);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
