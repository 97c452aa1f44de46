import type { Channel } from "../../hub/channel.ts";
import { conflationOf } from "../../hub/conflation/conflation-of.ts";
import type { Conflation, Encoder, Fanout } from "../../hub/fanout.ts";
import type { Lost } from "../../hub/history/history.ts";
import type { Positions } from "../../hub/history/positions.ts";
import { jsonMessage, type Message } from "../../hub/message.ts";
import type { Format } from "./format.ts";
import { binaryAsJson, encodeBinary, type Ref } from "./phoenix-codec.ts";

/** The members of one channel that share a format. */
export type PhoenixFanout = Fanout<Message, PhoenixEncoder>;

/** Characters of a payload from which its frames are cached by join_ref, and the most that are cached. */
const CACHED_LENGTH = 4096;
const MAX_CACHED = 16;

/** Encodes the messages of one channel in one format. */
export class PhoenixEncoder implements Encoder<Message> {
  readonly protocol = "phoenix";
  readonly channel: Channel;
  readonly format: Format;
  /** The channel's name as JSON text. */
  readonly quotedTopic: string;
  readonly conflation: Conflation<Message> | null;
  /** Whether the newest frame is not for members that catch up: they get what is in the history in its own order. */
  liveOnly = false;
  readonly #positions: Positions;
  // The frame up to the payload, cached for the last event.
  #event: string | null = null;
  #prefix = "";
  /** Frames of the last large event sent to single members (a presence state), by join_ref. */
  readonly #cached = new Map<Ref, string>();
  #cachedEvent = "";
  #cachedPayload = "";

  constructor(channel: Channel, format: Format, positions: Positions) {
    this.channel = channel;
    this.format = format;
    this.#positions = positions;
    this.quotedTopic = JSON.stringify(channel.name);
    this.conflation = conflationOf(channel, (count) =>
      this.encode(jsonMessage("skipped", `{"count":${count}}`)),
    );
  }

  /** A frame for one member. When thousands join at once, most get the same state under the same few join_refs. */
  frameFor(joinRef: Ref, event: string, payload: string): string {
    const same = event === this.#cachedEvent && payload === this.#cachedPayload;
    const cached = same ? this.#cached.get(joinRef) : undefined;
    if (cached !== undefined) return cached;
    const frame = this.format.codec.push(joinRef, null, this.quotedTopic, JSON.stringify(event), payload);
    if (payload.length < CACHED_LENGTH) return frame;
    if (!same || this.#cached.size >= MAX_CACHED) this.#cached.clear();
    this.#cachedEvent = event;
    this.#cachedPayload = payload;
    this.#cached.set(joinRef, frame);
    return frame;
  }

  /** A diff of a large channel may take longer than any other message should wait. */
  isGradual({ presence }: Message): boolean {
    return presence;
  }

  encode(message: Message): string | Buffer | null {
    if (message.presence) {
      this.#clearCache();
      if (!this.format.presence) return null;
    }
    if (this.format.positions) {
      this.liveOnly = message.seq > 0;
      if (this.liveOnly) return this.encodeKept(message, null);
    }
    const { codec } = this.format;
    if (!message.isJson && this.format.binary) {
      return encodeBinary(this.channel.name, message.event, message.bytes);
    }
    if (message.event !== this.#event) {
      this.#event = message.event;
      this.#prefix = codec.beforePayload(this.quotedTopic, JSON.stringify(message.event));
    }
    const { behindPayload } = codec;
    const frame = message.between(this.#prefix, behindPayload);
    return frame ?? this.#prefix + binaryAsJson(message.bytes) + behindPayload;
  }

  /** The frame of a message of the history, with its position where the format has positions. */
  encodeKept(message: Message, joinRef: Ref): string | Buffer {
    const { codec, binary, positions } = this.format;
    if (!message.isJson && binary) {
      return encodeBinary(this.channel.name, message.event, message.bytes, String(joinRef ?? ""));
    }
    const position = positions ? this.#positions.at(message.seq) : null;
    const payload = message.json ?? binaryAsJson(message.bytes);
    return codec.push(joinRef, position, this.quotedTopic, JSON.stringify(message.event), payload);
  }

  /** The event `position`: how far a member is that got binary frames, which have no place for it. */
  positionFrame(joinRef: Ref, position: string): string {
    const payload = `{"position":"${position}"}`;
    return this.format.codec.push(joinRef, position, this.quotedTopic, '"position"', payload);
  }

  /** The event `gap`: messages before a position are missing. */
  gapFrame(joinRef: Ref, position: string, reason: Lost): string {
    const payload = `{"position":"${position}","reason":"${reason}"}`;
    return this.format.codec.push(joinRef, position, this.quotedTopic, '"gap"', payload);
  }

  #clearCache(): void {
    this.#cached.clear();
    this.#cachedPayload = "";
  }
}
