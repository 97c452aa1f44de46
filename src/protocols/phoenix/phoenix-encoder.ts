import type { Channel } from "../../hub/channel.ts";
import type { Encoder, Fanout } from "../../hub/fanout.ts";
import type { Message } from "../../hub/message.ts";
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
  // The frame up to the payload, cached for the last event.
  #event: string | null = null;
  #prefix = "";
  /** Frames of the last large event sent to single members (a presence state), by join_ref. */
  readonly #cached = new Map<Ref, string>();
  #cachedEvent = "";
  #cachedPayload = "";

  constructor(channel: Channel, format: Format) {
    this.channel = channel;
    this.format = format;
    this.quotedTopic = JSON.stringify(channel.name);
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

  encode(message: Message): string | Buffer | null {
    if (message.presence) {
      this.#clearCache();
      if (!this.format.presence) return null;
    }
    const { codec } = this.format;
    if (!message.isJson && this.format.binary) {
      return encodeBinary(this.channel.name, message.event, message.bytes);
    }
    if (message.event !== this.#event) {
      this.#event = message.event;
      this.#prefix = codec.beforePayload(this.quotedTopic, JSON.stringify(message.event));
    }
    return this.#prefix + (message.json ?? binaryAsJson(message.bytes)) + codec.behindPayload;
  }

  #clearCache(): void {
    this.#cached.clear();
    this.#cachedPayload = "";
  }
}
