import type { Channel, Receiver } from "../../hub/channel.ts";
import type { Backlogged } from "../../hub/connections.ts";
import { type Conflation, type Encoder, Fanout, type FanoutContext } from "../../hub/fanout.ts";
import type { Client } from "../../transports/client.ts";
import type { Frame } from "./frame.ts";
import { type FrameBudget, FrameLog } from "./frame-log.ts";
import { type ChannelConfig, DEFAULT_CHANNEL_CONFIG } from "./schemas.ts";

/** Frames of one channel that are kept for clients that catch up. */
const MAX_FRAMES = 100;

/** Clients get lists of messages: JSON texts, separated by commas, as one list. */
export function listText(texts: string): string {
  return `[${texts}]`;
}

const LIST: Encoder<Frame> = {
  protocol: "channelstream",
  encode: ({ text }) => listText(text),
};

/** A connection as a channel sees it. */
export interface ChannelMember {
  readonly user: { readonly name: string };
  /** `null` without a transport at the moment. */
  readonly client: Client | null;
  /** Whether frames are sent to the client now; otherwise it catches up later. */
  readonly live: boolean;
}

/** A channel of this protocol. It outlives its connections, to keep its history; the hub's channel of the same name does not. */
export class ChannelstreamChannel implements Backlogged {
  readonly uuid = crypto.randomUUID();
  readonly name: string;
  readonly history: FrameLog;
  readonly frames: FrameLog;
  /** The connections in it, by user. No set is empty. */
  readonly users = new Map<string, Set<ChannelMember>>();
  config: ChannelConfig = DEFAULT_CHANNEL_CONFIG;
  /** Microseconds since 1970. */
  lastActive: number;
  /** What receives the messages of the hub's channel; `null` without connections, or where the hub's name is not shared. */
  bridge: { readonly channel: Channel; readonly receiver: Receiver } | null = null;
  readonly #fanout: Fanout<Frame>;
  #connected = 0;

  /** @param skipped the notice that messages were left out for a client; `null` where none are */
  constructor(
    name: string,
    budget: FrameBudget,
    fanouts: FanoutContext,
    now: number,
    skipped: ((count: number) => string) | null = null,
  ) {
    this.name = name;
    this.history = new FrameLog(budget);
    this.frames = new FrameLog(budget);
    this.lastActive = now;
    const encoder = skipped === null ? LIST : { ...LIST, conflation: this.#conflation(skipped) };
    this.#fanout = new Fanout(`channelstream\u0000${name}`, encoder, this, fanouts);
  }

  /** Connections in it, live or not. */
  get totalConnections(): number {
    return this.#connected;
  }

  /** Adds a connection that is not in it. */
  add(member: ChannelMember): void {
    const { name } = member.user;
    const members = this.users.get(name);
    if (members === undefined) this.users.set(name, new Set([member]));
    else members.add(member);
    this.#connected++;
    if (member.live) this.subscribe(member);
  }

  /** Removes a connection that is in it. */
  remove(member: ChannelMember): void {
    this.#connected--;
    if (member.live) this.unsubscribe(member);
    const { name } = member.user;
    const members = this.users.get(name);
    members?.delete(member);
    if (members?.size === 0) this.users.delete(name);
  }

  /** From now on the client of this connection gets what is sent to all. */
  subscribe({ client }: ChannelMember): void {
    if (client !== null) this.#fanout.add(client);
  }

  unsubscribe({ client }: ChannelMember): void {
    if (client !== null) this.#fanout.remove(client);
  }

  /** Leaves out a connection of what is sent until `resume`. */
  pause({ client, live }: ChannelMember): void {
    if (live && client !== null) this.#fanout.pause(client);
  }

  resume({ client }: ChannelMember): void {
    if (client !== null) this.#fanout.resume(client);
  }

  /** Sends a frame to one live connection. */
  sendTo(client: Client, { text }: Frame): void {
    this.#fanout.sendTo(client, listText(text));
  }

  /** The number of connections that may see a frame. */
  audience(frame: Frame): number {
    if (!frame.restricted) return this.#connected;
    let total = 0;
    for (const [user, { size }] of this.users) if (frame.visibleTo(user)) total += size;
    return total;
  }

  /** Keeps a frame for clients that catch up. */
  keep(frame: Frame): void {
    if (this.config.store_frames) this.frames.add(frame, MAX_FRAMES);
  }

  /** Sends a frame to all live connections. Returns their number. */
  sendToAll(frame: Frame): number {
    return this.#fanout.deliver(frame);
  }

  /** Sends a frame to the live connections that may see it. Returns their number. */
  sendToSome(frame: Frame): number {
    const list = listText(frame.text);
    let sent = 0;
    for (const [user, members] of this.users) {
      if (!frame.visibleTo(user)) continue;
      for (const { client, live } of members) {
        if (!live || client === null || this.#fanout.isPaused(client)) continue;
        this.#fanout.sendTo(client, list);
        sent++;
      }
    }
    return sent;
  }

  #conflation(skipped: (count: number) => string): Conflation<Frame> {
    return {
      keyOf: ({ event }) => event,
      skipped: (count) => listText(skipped(count)),
      count: (leftOut) => {
        if (this.bridge !== null) this.bridge.channel.traffic.leftOut += leftOut;
      },
    };
  }

  checkBacklogs(): void {
    for (const members of this.users.values()) for (const { client } of members) client?.checkBacklog();
  }
}
