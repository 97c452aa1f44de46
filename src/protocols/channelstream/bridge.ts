import { isChannelName, isEventName } from "../../bus/topics.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Message } from "../../hub/message.ts";
import { BridgeOutlet } from "./bridge-receiver.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";
import { type Audience, EVERYONE } from "./frame.ts";
import { isObject, parseJson } from "./parse-json.ts";
import { Recent } from "./recent-keys.ts";

/** How many messages of the bus are remembered, at least, so that none is told twice. */
const REMEMBERED = 10_000;

/** Channels of ours that have rules of their own: rooms of these names are for this protocol alone. */
const PRIVATE: ReadonlySet<string> = new Set(["admin", "phoenix"]);

/** A message of the bus as clients of this protocol get it. */
export interface FromBus {
  readonly uuid: string | null;
  readonly text: string;
  readonly audience: Audience;
}

/** Between the rooms of this protocol and the channels of the hub, which all protocols share. */
export class Bridge {
  readonly #hub: Hub;
  readonly #take: (room: ChannelstreamChannel, message: Message) => number;
  readonly #told = new Recent(REMEMBERED);

  constructor(hub: Hub, take: (room: ChannelstreamChannel, message: Message) => number) {
    this.#hub = hub;
    this.#take = take;
  }

  /** From now on the room hears what is sent to the hub's channel of its name. */
  open(room: ChannelstreamChannel): void {
    if (room.bridge !== null || !isShared(room.name)) return;
    const channel = this.#hub.open(room.name);
    const outlet = new BridgeOutlet(room, this.#take);
    channel.addOutlet(outlet);
    room.bridge = { channel, outlet };
  }

  close(room: ChannelstreamChannel): void {
    if (room.bridge === null) return;
    const { channel, outlet } = room.bridge;
    room.bridge = null;
    channel.removeOutlet(outlet);
    this.#hub.release(channel);
  }

  /** Tells everybody else: members of other protocols, other servers, backends. */
  publish(channel: string, named: Named, text: string): void {
    if (!isShared(channel)) return;
    this.#told.add(keyOf(channel, named, text));
    this.#hub.publish(channel, named.type.replaceAll(":", "-"), text);
  }

  /** The same for a channel that nobody opened in this protocol: only where members of another are in it. */
  publishElsewhere(channel: string, named: Named, text: string): void {
    if ((this.#hub.channels.get(channel)?.outlets.length ?? 0) > 0) this.publish(channel, named, text);
  }

  /** A message of the bus in this protocol's words; `null` for one that was told already, or that is not for it. */
  read(
    channel: string,
    message: Message,
    timestamp: () => string,
    legacyDate: boolean,
  ): FromBus | "unsendable" | null {
    const { event, json, presence } = message;
    if (presence || !isEventName(event)) return null;
    if (json === null) return "unsendable";
    const own = ownMessage(json, channel);
    if (own !== null) {
      if (!this.#told.add(keyOf(channel, own, json))) return null;
      const except = own.type === "presence" && typeof own.user === "string" ? new Set([own.user]) : null;
      return {
        uuid: own.type === "message" ? own.uuid : null,
        text: json.trim(),
        audience: except === null ? EVERYONE : { only: null, except },
      };
    }
    const uuid = crypto.randomUUID();
    const time = timestamp();
    const date = legacyDate ? `,"date":"${time}"` : "";
    const head = `{"uuid":"${uuid}","type":"message","channel":${JSON.stringify(channel)},"user":null,`;
    const body = `"message":{"event":${JSON.stringify(event)},"payload":${json}},`;
    return {
      uuid,
      text: `${head}${body}"timestamp":"${time}"${date},"edited":null,"catchup":false}`,
      audience: EVERYONE,
    };
  }
}

/** What every message of this protocol has. */
export interface Named {
  readonly uuid: string;
  readonly type: string;
}

interface OwnMessage extends Named {
  readonly user: unknown;
}

/** Whether all protocols may share a channel of this name. */
function isShared(name: string): boolean {
  return isChannelName(name) && !PRIVATE.has(name);
}

/** A payload that is a message of this protocol, and of this channel; `null` for any other. */
function ownMessage(json: string, channel: string): OwnMessage | null {
  // A look that costs little: payloads of backends may be large, and are hardly ever such.
  if (!json.includes('"uuid"') || !json.includes('"channel"')) return null;
  const value = parseJson(json);
  if (!isObject(value) || value.channel !== channel) return null;
  const { uuid, type, user } = value;
  return typeof uuid === "string" && typeof type === "string" ? { uuid, type, user } : null;
}

/** What makes a message one: its uuid; of edits, which share that of their message, the text too. */
function keyOf(channel: string, { uuid, type }: Named, text: string): string {
  const edit = type === "message:edit" ? Bun.hash(text).toString(36) : "";
  return `${channel}\u0000${type}\u0000${uuid}\u0000${edit}`;
}
