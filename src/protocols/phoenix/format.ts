import type { Channel, Outlet } from "../../hub/channel.ts";
import type { Audience, Connections } from "../../hub/connections.ts";
import type { Message } from "../../hub/message.ts";
import type { Publisher } from "../../hub/publisher.ts";
import type { Client } from "../../transports/client.ts";
import { binaryAsJson, type Codec, encodeBinary, type Ref, V1, V2 } from "./phoenix-codec.ts";

/** A wire format: everybody of one channel who has the same one gets the very same frame. */
export interface Format {
  /** Distinguishes the formats; part of the Bun topic's name. */
  readonly name: string;
  readonly codec: Codec;
  /** Whether binary payloads go out as binary frames; else as V1 clients get them. */
  readonly binary: boolean;
  /** Whether presence events go out. */
  readonly presence: boolean;
}

const FORMATS: readonly Format[] = [V1, V2].flatMap((codec) =>
  [true, false].flatMap((presence) =>
    [true, false].map((binary) => ({
      name: `phoenix${codec.version}${binary ? "b" : ""}${presence ? "p" : ""}`,
      codec,
      binary,
      presence,
    })),
  ),
);

/** The format of a member. V1 has no binary frames. */
export function formatOf(codec: Codec, binary: boolean, presence: boolean): Format {
  const wanted = binary && codec.version === 2;
  const format = FORMATS.find((f) => f.codec === codec && f.binary === wanted && f.presence === presence);
  if (format === undefined) throw new Error("every combination has its format");
  return format;
}

/** Characters from which on a frame for one member is kept for others who joined under the same ref, and how many are. */
const LARGE = 4096;
const MAX_KEPT = 16;

/** The members of one channel who share a format: one Bun topic, one encoding for each message. */
export class FormatOutlet implements Outlet, Audience {
  readonly protocol = "phoenix";
  readonly format: Format;
  readonly channel: Channel;
  /** The channel's name as JSON text. */
  readonly quotedTopic: string;
  readonly #topic: string;
  readonly #publisher: Publisher;
  readonly #connections: Connections;
  #sockets = 0;
  /** Clients whose transport hears no Bun topic. */
  readonly #others = new Set<Client>();
  // What stands before a payload, for the last event: a stream of one event makes it once.
  #event: string | null = null;
  #before = "";
  #plain = false;
  /** Frames of the last large event that went to single members, by join_ref: a state, until its diff. */
  readonly #kept = new Map<Ref, string>();
  #keptEvent = "";
  #keptPayload = "";

  constructor(channel: Channel, format: Format, publisher: Publisher, connections: Connections) {
    this.channel = channel;
    this.format = format;
    this.quotedTopic = JSON.stringify(channel.name);
    this.#topic = `${format.name}\u0000${channel.name}`;
    this.#publisher = publisher;
    this.#connections = connections;
  }

  /** Whether nobody is left. */
  get empty(): boolean {
    return this.listeners === 0;
  }

  get listeners(): number {
    return this.#sockets + this.#others.size;
  }

  add(client: Client): void {
    if (client.subscribe(this.#topic)) this.#sockets++;
    else this.#others.add(client);
  }

  remove(client: Client): void {
    if (this.#others.delete(client)) return;
    this.#sockets--;
    client.unsubscribe(this.#topic);
  }

  /** A frame for one member. Thousands who join at once get the same state, most of them under the same few refs. */
  frameFor(joinRef: Ref, event: string, payload: string): string {
    const same = event === this.#keptEvent && payload === this.#keptPayload;
    const known = same ? this.#kept.get(joinRef) : undefined;
    if (known !== undefined) return known;
    const frame = this.format.codec.push(joinRef, null, this.quotedTopic, JSON.stringify(event), payload);
    if (payload.length < LARGE) return frame;
    if (!same || this.#kept.size >= MAX_KEPT) this.#kept.clear();
    this.#keptEvent = event;
    this.#keptPayload = payload;
    this.#kept.set(joinRef, frame);
    return frame;
  }

  deliver(message: Message): number {
    if (message.presence) this.#forgetFrames();
    if (message.presence && !this.format.presence) return 0;
    const frame = this.#encode(message);
    if (this.#sockets > 0) {
      const sent = this.#publisher.publish(this.#topic, frame);
      if (sent === -1) this.#connections.noticeBacklog();
      else if (sent === 0) this.#connections.noticeDrop(this);
    }
    for (const client of this.#others) client.send(frame);
    return this.listeners;
  }

  checkBacklogs(): void {
    for (const { connection } of this.channel.members) connection.checkBacklog();
  }

  #forgetFrames(): void {
    this.#kept.clear();
    this.#keptPayload = "";
  }

  #encode(message: Message): string | Buffer {
    const { codec } = this.format;
    if (!message.isJson && this.format.binary)
      return encodeBinary(this.channel.name, message.event, message.bytes);
    if (message.event !== this.#event) {
      this.#event = message.event;
      this.#before = codec.beforePayload(this.quotedTopic, JSON.stringify(message.event));
      this.#plain = Buffer.byteLength(this.#before) === this.#before.length;
    }
    if (message.isJson) return message.framed(this.#before, codec.behindPayload, this.#plain);
    return this.#before + binaryAsJson(message.bytes) + codec.behindPayload;
  }
}
