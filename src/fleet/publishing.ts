import type { Bus, MessageGroup } from "../bus/bus.ts";
import type { PublishedIds, PublishedOnce } from "../bus/published-ids.ts";
import { printTo } from "../bus/topics.ts";
import type { Hub } from "../hub/hub.ts";
import type { AddressedMessages } from "./addressed-messages.ts";
import type { PositionNote, PositionNotes } from "./position-notes.ts";

/** One connection, or all but some. */
export type Recipients = { readonly connection: string } | { readonly except: readonly string[] };

/** A message to publish. */
export interface Publication {
  /** Each once, at least one. */
  readonly channels: readonly string[];
  readonly event: string;
  readonly payload: Buffer;
  /** Some members of the only channel; `null`: all. To some it is not kept, and has no position. */
  readonly to: Recipients | null;
  /** A publication with the same one within 5 minutes is a repetition; `null`: it is none. */
  readonly id: string | null;
}

/** The positions of the messages, by channel, of those with history; `null` where unknown. */
export type PublishedPositions = ReadonlyMap<string, string | null>;

/**
 * `repeated`: it was published before. `away`: the bus did not accept it. `unknown_id`: Redis did not answer whether it was
 * published. `too_many_ids`: this server has had too many ids lately. After all but the first nothing was published, unless
 * the connection was lost meanwhile.
 */
export type PublishResult =
  | { readonly kind: "published" | "repeated"; readonly positions: PublishedPositions }
  | { readonly kind: "away" }
  | { readonly kind: "unknown_id" }
  | { readonly kind: "too_many_ids" };

export interface PublishingOptions {
  readonly bus: Pick<Bus, "publish" | "publishGroup">;
  readonly hub: Hub;
  readonly notes: Pick<PositionNotes, "create">;
  readonly ids: PublishedIds;
  readonly addressed: Pick<AddressedMessages, "encode">;
}

/** Whether all messages were accepted, and the notes too. */
interface Accepted {
  readonly accepted: boolean;
  readonly noted: boolean;
}

const UNSUPPORTED: PublishedOnce = { kind: "unsupported" };

/** Publishes what the API is asked to: to one channel or several, once for each id, with the positions of the messages. */
export class Publishing {
  readonly #options: PublishingOptions;
  /** By id, those that are not answered. */
  readonly #pending = new Map<string, Promise<PublishResult>>();

  constructor(options: PublishingOptions) {
    this.#options = options;
  }

  async publish(publication: Publication): Promise<PublishResult> {
    const result = await this.#publishUnlessPending(publication);
    if (result.kind === "repeated") this.#options.hub.stats.repeated++;
    return result;
  }

  async #publishUnlessPending(publication: Publication): Promise<PublishResult> {
    const { id } = publication;
    if (id === null) return this.#publish(publication);
    for (let pending = this.#pending.get(id); pending !== undefined; pending = this.#pending.get(id)) {
      const result = await pending;
      if (result.kind === "published") return { ...result, kind: "repeated" };
    }
    const publishing = this.#publishOnce(id, publication);
    this.#pending.set(id, publishing);
    try {
      return await publishing;
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Whether a publication is a repetition; `null` is no id. Counts it if it is. */
  async isRepeated(id: string | null): Promise<boolean> {
    const repeated = id !== null && (await this.#options.ids.has(id));
    if (repeated) this.#options.hub.stats.repeated++;
    return repeated;
  }

  async #publishOnce(id: string, publication: Publication): Promise<PublishResult> {
    const { ids } = this.#options;
    const note = this.#noteFor(publication);
    const result: PublishedOnce = (await ids.publish?.(id, this.#groupOf(publication, note))) ?? UNSUPPORTED;
    if (result.kind === "done") {
      return this.#published(publication, result.noted ? note : null, note, id);
    }
    note?.cancel();
    if (result.kind === "refused") return { kind: "away" };
    const claim = result.kind === "unsupported" ? await ids.claim(id) : result;
    if (claim.kind === "known") {
      return { kind: "repeated", positions: this.#positionsOf(publication, parse(claim.answer)) };
    }
    if (claim.kind === "full") return { kind: "too_many_ids" };
    if (claim.kind === "away") return { kind: "unknown_id" };
    const published = await this.#publish(publication, id);
    if (published.kind !== "published") ids.release(id);
    return published;
  }

  async #publish(publication: Publication, id: string | null = null): Promise<PublishResult> {
    const { bus } = this.#options;
    const note = this.#noteFor(publication);
    const group = this.#groupOf(publication, note);
    const isSingle = note === null && group.names.length === 1;
    const { accepted, noted } = await (isSingle || bus.publishGroup === undefined
      ? this.#oneByOne(group)
      : this.#atOnce(group));
    if (accepted) return this.#published(publication, noted ? note : null, note, id);
    note?.cancel();
    return { kind: "away" };
  }

  #atOnce(group: MessageGroup): Promise<Accepted> {
    return new Promise((resolve) => {
      this.#options.bus.publishGroup?.(group, {
        finished: (result, noted) => resolve({ accepted: result !== "not", noted }),
      });
    });
  }

  /** Messages of others may come between: positions are then of earlier messages, as in a cluster. */
  async #oneByOne({ names, payload, note }: MessageGroup): Promise<Accepted> {
    const acks: Promise<boolean>[] = [];
    const publish = (name: string, payload: string | Uint8Array): void => {
      acks.push(new Promise((settled) => this.#options.bus.publish(name, payload, { settled })));
    };
    if (note !== null) publish(note.name, note.payload);
    for (const name of names) publish(name, payload);
    if (note !== null) publish(note.name, note.payload);
    const accepted = (await Promise.all(acks)).every((each) => each);
    return { accepted, noted: accepted && note !== null };
  }

  /** @param noted the note, if it was published @param note waited for no longer, unless it was published */
  async #published(
    publication: Publication,
    noted: PositionNote | null,
    note: PositionNote | null,
    id: string | null,
  ): Promise<PublishResult> {
    if (noted === null) note?.cancel();
    const { channels } = publication;
    const found = (await noted?.positions(channels.length)) ?? [];
    const all = new Map(channels.map((channel, i) => [channel, found[i] ?? null]));
    const positions = this.#positionsOf(publication, all);
    if (id !== null && positions.size > 0) this.#options.ids.keep(id, JSON.stringify([...positions]));
    return { kind: "published", positions };
  }

  /** Only if a channel has history: other servers receive it too. */
  #noteFor(publication: Publication): PositionNote | null {
    return this.#keptOf(publication).length > 0 ? this.#options.notes.create() : null;
  }

  #positionsOf(publication: Publication, known: PublishedPositions): PublishedPositions {
    return new Map(this.#keptOf(publication).map((channel) => [channel, known.get(channel) ?? null]));
  }

  #keptOf({ channels, to }: Publication): readonly string[] {
    if (to !== null) return [];
    return channels.filter((channel) => (this.#options.hub.historyRules(channel)?.count ?? 0) > 0);
  }

  #groupOf({ channels, event, payload, to }: Publication, note: PositionNote | null): MessageGroup {
    if (to === null) return { names: channels.map((channel) => printTo(channel, event)), payload, note };
    const [channel = ""] = channels;
    const all = { except: [], connection: null, sender: null };
    const message = this.#options.addressed.encode({ ...all, channel, event, payload, ...to });
    return { names: [message.name], payload: message.payload, note: null };
  }
}

/** The positions that were kept with an id. */
function parse(answer: string): PublishedPositions {
  const positions = new Map<string, string | null>();
  let list: unknown;
  try {
    list = JSON.parse(answer);
  } catch {
    return positions;
  }
  for (const pair of Array.isArray(list) ? list : []) {
    const [channel, position]: unknown[] = Array.isArray(pair) ? pair : [];
    if (typeof channel === "string" && typeof position === "string") positions.set(channel, position);
  }
  return positions;
}
