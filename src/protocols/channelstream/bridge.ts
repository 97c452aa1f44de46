import type { JsonObject } from "../../auth/json-object.ts";
import { isChannelName, isEventName } from "../../bus/topics.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Message } from "../../hub/message.ts";
import { BridgeReceiver } from "./bridge-receiver.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";
import { type Audience, EVERYONE } from "./frame.ts";
import { isRecord, parseJson } from "./parse-json.ts";
import { RecentKeys } from "./recent-keys.ts";

/** Messages that are remembered, at least, so that none is delivered twice. */
const REMEMBERED = 10_000;

/** Channels with rules of their own: this protocol's channels of these names are not shared with the hub. */
const NOT_SHARED: ReadonlySet<string> = new Set(["admin", "phoenix"]);

/** A change of a message that another server was asked for. */
export interface Change {
  readonly uuid: string;
  /** The new values; `null`: the message was deleted. */
  readonly edit: JsonObject | null;
}

/** A message of the bus as clients of this protocol get it. */
export interface FromBus {
  readonly uuid: string | null;
  readonly text: string;
  readonly audience: Audience;
  /** See `Frame`. */
  readonly event: string | null;
  /** `null` for a message. */
  readonly change: Change | null;
}

/** Connects the channels of this protocol with the hub's channels, which all protocols share. */
export class Bridge {
  readonly #hub: Hub;
  readonly #deliver: (channel: ChannelstreamChannel, message: Message) => number;
  readonly #servers: { hasOthers(): boolean };
  readonly #recent = new RecentKeys(REMEMBERED);

  /** @param deliver delivers a message of the hub's channel of that name; returns the number of deliveries */
  constructor(
    hub: Hub,
    deliver: (channel: ChannelstreamChannel, message: Message) => number,
    servers: { hasOthers(): boolean },
  ) {
    this.#hub = hub;
    this.#servers = servers;
    this.#deliver = deliver;
  }

  /** From now on a channel receives the messages of the hub's channel of its name. */
  open(own: ChannelstreamChannel): void {
    if (own.bridge !== null || !isShared(own.name)) return;
    const channel = this.#hub.open(own.name);
    const receiver = new BridgeReceiver(own, this.#deliver);
    channel.addReceiver(receiver);
    own.bridge = { channel, receiver };
  }

  close(own: ChannelstreamChannel): void {
    if (own.bridge === null) return;
    const { channel, receiver } = own.bridge;
    own.bridge = null;
    channel.removeReceiver(receiver);
    this.#hub.release(channel);
  }

  /** Publishes a message to members of other protocols, other servers and backends. */
  publish(channel: string, named: Named, text: string): void {
    if (!isShared(channel)) return;
    this.#recent.add(keyOf(channel, named, text));
    this.#hub.publish(channel, named.type.replaceAll(":", "-"), text);
  }

  /** The same for a channel that is not open in this protocol: only if another protocol, or another server, may have subscribers in it. */
  publishElsewhere(channel: string, named: Named, text: string): void {
    const hasSubscribers = (this.#hub.channels.get(channel)?.receivers.length ?? 0) > 0;
    if (hasSubscribers || this.#servers.hasOthers()) this.publish(channel, named, text);
  }

  /** A message of the bus in this protocol's form; `null` for a duplicate, and for one that is not for this protocol. */
  read(
    channel: string,
    message: Message,
    timestamp: () => string,
    legacyDate: boolean,
  ): FromBus | "unsendable" | null {
    const { event, presence, sender } = message;
    if (presence || !isEventName(event)) return null;
    const json = message.checkedJson;
    if (json === null) return "unsendable";
    // A client could name another user, or edit and delete messages.
    const own = sender === null ? ownMessage(json, channel) : null;
    if (own !== null) {
      if (!this.#recent.add(keyOf(channel, own, json))) return null;
      const except = own.type === "presence" && typeof own.user === "string" ? new Set([own.user]) : null;
      return {
        uuid: own.type === "message" ? own.uuid : null,
        text: json.trim(),
        audience: except === null ? EVERYONE : { only: null, except },
        event: own.type === "message" ? own.type : null,
        change: changeOf(own),
      };
    }
    const uuid = crypto.randomUUID();
    const text = wrapped(uuid, channel, event, json, timestamp(), legacyDate);
    return { uuid, text, audience: EVERYONE, event, change: null };
  }

  /** A kept message in this protocol's form; `null` for one that a new member does not need: presence, edits, binary. */
  readValue(
    channel: string,
    { event, checkedJson: json, sender }: Message,
    timestamp: () => string,
    legacyDate: boolean,
  ): string | null {
    if (json === null) return null;
    const own = sender === null ? ownMessage(json, channel) : null;
    if (own !== null) return own.type === "message" ? json.trim() : null;
    return wrapped(crypto.randomUUID(), channel, event, json, timestamp(), legacyDate);
  }
}

/** What identifies a message of this protocol. */
export interface Named {
  readonly uuid: string;
  readonly type: string;
}

interface OwnMessage extends Named {
  readonly user: unknown;
  readonly fields: JsonObject;
}

/** A payload of a backend as a message of this protocol. */
export function wrapped(
  uuid: string,
  channel: string,
  event: string,
  json: string,
  time: string,
  legacyDate: boolean,
): string {
  const date = legacyDate ? `,"date":"${time}"` : "";
  const head = `{"uuid":"${uuid}","type":"message","channel":${JSON.stringify(channel)},"user":null,`;
  const body = `"message":{"event":${JSON.stringify(event)},"payload":${json}},`;
  return `${head}${body}"timestamp":"${time}"${date},"edited":null,"catchup":false}`;
}

/** Whether all protocols may share a channel of this name. */
function isShared(name: string): boolean {
  return isChannelName(name) && !NOT_SHARED.has(name);
}

/** A payload that is a message of this protocol, and of this channel; `null` for any other. */
function ownMessage(json: string, channel: string): OwnMessage | null {
  // Cheap check first: payloads of backends may be large, and are seldom such messages.
  if (!json.includes('"uuid"') || !json.includes('"channel"')) return null;
  const value = parseJson(json);
  if (!isRecord(value) || value.channel !== channel) return null;
  const { uuid, type, user } = value;
  return typeof uuid === "string" && typeof type === "string" ? { uuid, type, user, fields: value } : null;
}

function changeOf({ uuid, type, fields }: OwnMessage): Change | null {
  if (type === "message:delete") return { uuid, edit: null };
  return type === "message:edit" ? { uuid, edit: fields } : null;
}

/** The identity of a message: its uuid; for an edit, which has the uuid of its message, also the text. */
function keyOf(channel: string, { uuid, type }: Named, text: string): string {
  const edit = type === "message:edit" ? Bun.hash(text).toString(36) : "";
  return `${channel}\u0000${type}\u0000${uuid}\u0000${edit}`;
}
