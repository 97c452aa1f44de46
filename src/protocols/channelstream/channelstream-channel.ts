import type { Channel } from "../../hub/channel.ts";
import type { Audience, Connections } from "../../hub/connections.ts";
import type { Publisher } from "../../hub/publisher.ts";
import type { Client } from "../../transports/client.ts";
import type { BridgeOutlet } from "./bridge-receiver.ts";
import type { Frame } from "./frame.ts";
import { type FrameBudget, FrameLog } from "./frame-log.ts";
import type { Listener } from "./listener.ts";
import { type ChannelConfig, DEFAULT_CHANNEL_CONFIG } from "./schemas.ts";

/** The frames of one channel that are kept to catch up with. */
const MAX_FRAMES = 100;

/** One message on its way to one client, or to all of a channel: a frame is a list. */
export function listText(text: string): string {
  return `[${text}]`;
}

/** What this protocol knows of a channel. It outlives its connections, for its history's sake; the hub's channel does not. */
export class ChannelstreamChannel implements Audience {
  readonly uuid = crypto.randomUUID();
  readonly name: string;
  readonly history: FrameLog;
  readonly frames: FrameLog;
  /** Who is in it, by user. No set is empty. */
  readonly users = new Map<string, Set<Listener>>();
  config: ChannelConfig = DEFAULT_CHANNEL_CONFIG;
  /** Microseconds since 1970. */
  lastActive: number;
  /** The way from the hub's channel of this name; `null` while nobody is here, or where the name is for this protocol alone. */
  bridge: { readonly channel: Channel; readonly outlet: BridgeOutlet } | null = null;
  readonly #topic: string;
  readonly #publisher: Publisher;
  readonly #connections: Connections;
  #sockets = 0;
  #connected = 0;
  /** Clients whose transport hears no Bun topic. */
  readonly #others = new Set<Client>();

  constructor(name: string, store: FrameBudget, publisher: Publisher, connections: Connections, now: number) {
    this.name = name;
    this.history = new FrameLog(store);
    this.frames = new FrameLog(store);
    this.lastActive = now;
    this.#topic = `channelstream\u0000${name}`;
    this.#publisher = publisher;
    this.#connections = connections;
  }

  /** Connections in it, whether or not a client listens. */
  get totalConnections(): number {
    return this.#connected;
  }

  /** Takes a connection in; `false` if it was in already. */
  add(listener: Listener): boolean {
    if (listener.rooms.has(this)) return false;
    const { name } = listener.user;
    const listeners = this.users.get(name);
    if (listeners === undefined) this.users.set(name, new Set([listener]));
    else listeners.add(listener);
    listener.rooms.add(this);
    this.#connected++;
    if (listener.live) this.hook(listener);
    return true;
  }

  /** Lets a connection go; `false` if it was not in. */
  remove(listener: Listener): boolean {
    if (!listener.rooms.delete(this)) return false;
    this.#connected--;
    if (listener.live) this.unhook(listener);
    const { name } = listener.user;
    const listeners = this.users.get(name);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.users.delete(name);
    return true;
  }

  /** From now on the client of this connection hears what is sent to all. */
  hook({ client }: Listener): void {
    if (client === null) return;
    if (client.subscribe(this.#topic)) this.#sockets++;
    else this.#others.add(client);
  }

  unhook({ client }: Listener): void {
    if (client === null || this.#others.delete(client)) return;
    client.unsubscribe(this.#topic);
    this.#sockets--;
  }

  /** How many connections a frame is for. */
  audience(frame: Frame): number {
    if (!frame.restricted) return this.#connected;
    let total = 0;
    for (const [user, { size }] of this.users) if (frame.visibleTo(user)) total += size;
    return total;
  }

  /** Keeps a frame for those who will catch up. */
  keep(frame: Frame): void {
    if (this.config.store_frames) this.frames.add(frame, MAX_FRAMES);
  }

  /** Sends a frame to all who listen now. Returns to how many. */
  sendToAll(frame: Frame): number {
    const list = listText(frame.text);
    if (this.#sockets > 0) {
      const sent = this.#publisher.publish(this.#topic, list);
      if (sent === -1) this.#connections.noticeBacklog();
      else if (sent === 0) this.#connections.noticeDrop(this);
    }
    for (const client of this.#others) client.send(list);
    return this.#sockets + this.#others.size;
  }

  /** Sends a frame to those of its audience who listen now. Returns to how many. */
  sendToSome(frame: Frame): number {
    const list = listText(frame.text);
    let sent = 0;
    for (const [user, listeners] of this.users) {
      if (!frame.visibleTo(user)) continue;
      for (const { client, live } of listeners) {
        if (!live || client === null) continue;
        client.send(list);
        sent++;
      }
    }
    return sent;
  }

  checkBacklogs(): void {
    for (const listeners of this.users.values()) for (const { client } of listeners) client?.checkBacklog();
  }
}
