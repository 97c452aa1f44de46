import type { ChannelSettings } from "../../config/config.ts";
import type { Channel } from "../../hub/channel.ts";
import { SERVER_CHANNELS } from "../../hub/client-events.ts";
import type { ChannelEntry as Row } from "./channel-row.ts";
import { byText } from "./paginate.ts";

/** What a list of channels can be sorted by. `activity`: by rate, then by the last message, permanent channels last. */
export const SORTS = ["name", "members", "rate", "messages", "last_active", "activity"] as const;
export type Sort = (typeof SORTS)[number];
export type Direction = "asc" | "desc" | undefined;

/** The orders of a list of channels. Default: names ascending, numbers descending. Equal values are in order of name. */
export class ChannelOrder {
  readonly #configured: ReadonlySet<string>;

  /** @param channels of the configuration */
  constructor(channels: readonly Pick<ChannelSettings, "pattern">[]) {
    this.#configured = new Set(channels.map(({ pattern }) => pattern));
  }

  /** Of the channels of this server. */
  channels(sort: Sort, order: Direction, now: number): (a: Channel, b: Channel) => number {
    const turned = direction(sort, order);
    const byName = (a: Channel, b: Channel): number => byText(a.name, b.name);
    if (sort === "name") return (a, b) => turned * byName(a, b);
    if (sort === "activity") {
      return (a, b) =>
        this.#permanentLast(a, b) ||
        turned * (a.traffic.rate(now) - b.traffic.rate(now) || a.traffic.lastAt - b.traffic.lastAt) ||
        byName(a, b);
    }
    const number = {
      members: (channel: Channel) => channel.members.size,
      rate: (channel: Channel) => channel.traffic.rate(now),
      messages: ({ traffic }: Channel) => traffic.sent + traffic.pushed,
      last_active: ({ traffic }: Channel) => traffic.lastAt,
    }[sort];
    return (a, b) => turned * (number(a) - number(b)) || byName(a, b);
  }

  /** As `channels`, of the rows of several servers. */
  rows(sort: Sort, order: Direction): (a: Row, b: Row) => number {
    const turned = direction(sort, order);
    if (sort === "name") return (a, b) => turned * byText(a.name, b.name);
    if (sort === "activity") {
      return (a, b) =>
        this.#permanentLast(a, b) ||
        turned * (a.rate - b.rate || (a.last_active ?? 0) - (b.last_active ?? 0)) ||
        byText(a.name, b.name);
    }
    const number = {
      members: ({ members }: Row) => members,
      rate: ({ rate }: Row) => rate,
      messages: ({ sent, pushed }: Row) => sent + pushed,
      last_active: ({ last_active }: Row) => last_active ?? 0,
    }[sort];
    return (a, b) => turned * (number(a) - number(b)) || byText(a.name, b.name);
  }

  /** Last in both directions: channels that are open without members, and those that the configuration names. */
  #permanentLast(a: { readonly name: string }, b: { readonly name: string }): number {
    return Number(this.#isPermanent(a.name)) - Number(this.#isPermanent(b.name));
  }

  #isPermanent(name: string): boolean {
    return SERVER_CHANNELS.has(name) || this.#configured.has(name);
  }
}

function direction(sort: Sort, order: Direction): 1 | -1 {
  return (order ?? (sort === "name" ? "asc" : "desc")) === "asc" ? 1 : -1;
}
