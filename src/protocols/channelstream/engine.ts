import type { ChannelstreamSettings } from "../../config.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Message } from "../../hub/message.ts";
import type { Client } from "../client.ts";
import type { Publisher } from "../publisher.ts";
import type {
  ChannelConfig,
  Connect,
  DeleteBody,
  Delivery,
  EditBody,
  MessageBody,
  State,
  UserState,
} from "./bodies.ts";
import { Bridge } from "./bridge.ts";
import { type Audience, audienceOf, EVERYONE, Frame } from "./frame.ts";
import type { JsonObject } from "./json.ts";
import { Listener } from "./listener.ts";
import { listText, Room } from "./room.ts";
import { Store } from "./store.ts";
import { createMicroClock, printTimestamp } from "./timestamp.ts";
import { type Change, MAX_PRIVATE_FRAMES, User } from "./user.ts";

/** How long a connection whose client took its leave may come back, in ms: a page that is loaded anew does. */
const GOODBYE = 1000;

export interface EngineOptions {
  readonly settings: ChannelstreamSettings;
  readonly hub: Hub;
  readonly publisher: Publisher;
  /** Connections that the server takes, attached or not. */
  readonly maxConnections: number;
}

/** Why a call was not done: for whoever made it. */
export type Refusal =
  | { readonly problems: Readonly<Record<string, readonly string[]>> }
  | { readonly sentence: string };

/** How a client went: on its own, by our doing, or lost on the way. */
export type Departure = "left" | "ended" | "lost";

/** Users, their connections and channels, and what is sent to them: the protocol without its transports. */
export class Engine {
  readonly settings: ChannelstreamSettings;
  readonly hub: Hub;
  readonly users = new Map<string, User>();
  readonly listeners = new Map<string, Listener>();
  readonly rooms = new Map<string, Room>();
  readonly store: Store;
  readonly totals = { messages: 0, unique: 0 };
  readonly micros = createMicroClock();
  readonly #publisher: Publisher;
  readonly #maxConnections: number;
  readonly #bridge: Bridge;
  /** Connections without a client, or between two polls. */
  readonly #waiting = new Set<Listener>();
  /** Users without a connection, the one longest inactive in front. */
  readonly #resting = new Set<User>();
  /** Rooms in which nobody is, the one longest empty in front. */
  readonly #empty = new Set<Room>();
  #seq = 0;

  constructor(options: EngineOptions) {
    this.settings = options.settings;
    this.hub = options.hub;
    this.#publisher = options.publisher;
    this.#maxConnections = options.maxConnections;
    this.store = new Store(options.settings.maxStored);
    this.#bridge = new Bridge(options.hub, (room, message) => this.#takeFromBus(room, message));
  }

  /** A message's time, now. */
  timestamp(): string {
    return printTimestamp(this.micros());
  }

  connect(body: Connect): { readonly listener: Listener; readonly user: User } | Refusal {
    const id = body.conn_id ?? crypto.randomUUID();
    const known = this.listeners.get(id);
    if (known !== undefined && known.user.name !== body.username) {
      return { problems: { conn_id: ["Connection of another user"] } };
    }
    if (known === undefined && this.listeners.size >= this.#maxConnections) {
      return { sentence: "There are as many connections as this server takes (limits.max_connections)." };
    }
    const user = this.users.get(body.username) ?? this.#newUser(body.username);
    if (user === null) {
      return { sentence: "There are as many users as this server remembers (channelstream.max_users)." };
    }
    const isNew = !this.users.has(user.name);
    const given: State = isNew ? new Map([...body.fresh_user_state, ...body.user_state]) : body.user_state;
    const tooLarge = this.#stateProblem(user, given);
    if (tooLarge !== null) return tooLarge;
    const refused = this.#openAll(body.channels, body.channel_configs);
    if (refused !== null) return refused;

    if (isNew) {
      this.users.set(user.name, user);
      user.merge(body.fresh_user_state);
    }
    user.publicKeys = body.state_public_keys;
    user.merge(body.user_state);
    const listener = known ?? this.#newListener(id, user);
    if (!listener.live) this.#wait(listener, this.settings.gcConnsAfter);
    for (const name of body.channels) this.#join(listener, name);
    return { listener, user };
  }

  /** Returns the channels that the connection was not in. */
  subscribe(
    listener: Listener,
    channels: readonly string[],
    configs: ReadonlyMap<string, ChannelConfig>,
  ): readonly string[] | Refusal {
    return this.#openAll(channels, configs) ?? channels.filter((name) => this.#join(listener, name));
  }

  /** Returns the channels that the connection was in. */
  unsubscribe(listener: Listener, channels: readonly string[]): readonly string[] {
    return channels.filter((name) => {
      const room = this.rooms.get(name);
      return room !== undefined && this.#part(listener, room);
    });
  }

  changeState(user: User, body: UserState): readonly Change[] | Refusal {
    const tooLarge = this.#stateProblem(user, body.user_state);
    if (tooLarge !== null) return tooLarge;
    if (body.state_public_keys !== null) user.publicKeys = body.state_public_keys;
    const changed = user.merge(body.user_state);
    this.#touch(user);
    if (changed.length > 0) this.#tellState(user, changed);
    return changed;
  }

  /** Sets how channels behave, and opens those that are not there. */
  configure(configs: ReadonlyMap<string, ChannelConfig>): Refusal | null {
    const refused = this.#openAll([...configs.keys()], configs);
    if (refused !== null) return refused;
    for (const [name, config] of configs) {
      const room = this.rooms.get(name);
      // A history that has to be shorter now is shortened by the next message, as there.
      if (room !== undefined) room.config = config;
    }
    return null;
  }

  /** Sends a message, and keeps it for those who come later. */
  send(body: MessageBody, uuid: string, timestamp: string): void {
    this.totals.unique++;
    const { channel, user, message } = body;
    const wire = {
      uuid,
      type: "message",
      channel,
      user,
      ...(message === null ? {} : { message }),
      timestamp,
      edited: null,
      catchup: false,
    };
    this.totals.messages += this.#deliver(body, this.#frame(uuid, wire, audienceOf(body), body));
  }

  /** Changes a message where it is kept, and tells of it, kept or not. */
  edit(body: EditBody, edited: string): void {
    const { uuid, channel, user, message, timestamp } = body;
    const changes = {
      ...(user === null ? {} : { user }),
      ...(message === null ? {} : { message }),
      ...(timestamp === null ? {} : { timestamp }),
      edited,
    };
    let audience = audienceOf(body);
    for (const frame of this.#kept(body)) {
      this.store.change(frame, (kept) => kept.edit(changes));
      audience = narrower(audience, frame.audience);
    }
    const wire = { uuid, type: "message:edit", channel, ...changes };
    this.#deliver(body, this.#frame(null, wire, audience, body));
  }

  /** Takes a message away where it is kept, and tells of it, kept or not. */
  delete(body: DeleteBody): void {
    let audience = audienceOf(body);
    for (const frame of this.#kept(body)) {
      audience = narrower(audience, frame.audience);
      for (const home of [...frame.homes]) home.remove(frame);
    }
    const wire = { uuid: body.uuid, type: "message:delete", channel: body.channel };
    this.#deliver(body, this.#frame(null, wire, audience, body));
  }

  /** Forgets a connection for good; `false` where there is none. */
  disconnect(id: string): boolean {
    const listener = this.listeners.get(id);
    if (listener !== undefined) this.#forget(listener);
    return listener !== undefined;
  }

  /** Gives a connection its client, in place of the one that it may have. What was missed is sent at once. */
  attach(listener: Listener, client: Client): void {
    const before = listener.client;
    if (before !== null && before !== client) {
      this.#silence(listener);
      listener.client = null;
      before.close(1000, "replaced by a newer connection");
    }
    listener.client = client;
    this.#waiting.delete(listener);
    this.#touch(listener.user);
    if (listener.live) return;
    listener.live = true;
    const missed = this.#missed(listener, client.house.maxBuffered / 2);
    if (missed.length > 0) client.send(listText(missed.join(",")));
    for (const room of listener.rooms) room.hook(listener);
  }

  /** The client listens no more, but may be back: a poll was answered, or the one who asked hung up (`lost`). */
  pause(listener: Listener, departure: "answered" | "lost"): void {
    this.#silence(listener);
    if (departure === "answered") listener.seen = this.#seq;
    this.#touch(listener.user);
    this.#wait(listener, this.settings.gcConnsAfter);
  }

  /** The client is gone. Nothing happens where another took its place. */
  detach(listener: Listener, client: Client, departure: Departure): void {
    if (listener.client !== client) return;
    if (listener.live) listener.seen = this.#seq;
    this.#silence(listener);
    listener.client = null;
    this.#touch(listener.user);
    if (departure === "ended") this.#forget(listener);
    else this.#wait(listener, departure === "left" ? GOODBYE : this.settings.gcConnsAfter);
  }

  /** Something came from a client. */
  active(listener: Listener): void {
    this.#touch(listener.user);
  }

  /** To be called about once a second: forgets what has waited for too long. */
  sweep(now = performance.now()): void {
    for (const listener of this.#waiting) if (listener.expiresAt <= now) this.#forget(listener);
    for (const user of this.#resting) {
      if (now - user.lastActive < this.settings.gcUsersAfter) break;
      this.#forgetUser(user);
    }
  }

  #newUser(name: string): User | null {
    if (this.users.size >= this.settings.maxUsers) {
      const [oldest] = this.#resting;
      if (oldest === undefined) return null;
      this.#forgetUser(oldest);
    }
    return new User(name, this.store, performance.now());
  }

  #forgetUser(user: User): void {
    this.#resting.delete(user);
    this.users.delete(user.name);
    user.frames.trim(0);
  }

  #newListener(id: string, user: User): Listener {
    const listener = new Listener(id, user, this.#seq, 0);
    this.listeners.set(id, listener);
    user.listeners.add(listener);
    this.#touch(user);
    return listener;
  }

  #forget(listener: Listener): void {
    const { client, user } = listener;
    this.#waiting.delete(listener);
    this.listeners.delete(listener.id);
    for (const room of [...listener.rooms]) this.#part(listener, room);
    user.listeners.delete(listener);
    this.#touch(user);
    listener.live = false;
    listener.client = null;
    client?.close(1000, "disconnected");
  }

  #wait(listener: Listener, ms: number): void {
    listener.expiresAt = performance.now() + ms;
    this.#waiting.add(listener);
  }

  #silence(listener: Listener): void {
    if (!listener.live) return;
    for (const room of listener.rooms) room.unhook(listener);
    listener.live = false;
  }

  /** A user was active just now. */
  #touch(user: User): void {
    user.lastActive = performance.now();
    this.#resting.delete(user);
    if (user.listeners.size === 0 && this.users.has(user.name)) this.#resting.add(user);
  }

  #stateProblem(user: User, more: State): Refusal | null {
    const most = this.settings.maxUserState;
    if (user.stateBytes(more) <= most) return null;
    return { problems: { user_state: [`State is larger than ${most} bytes.`] } };
  }

  /** Opens the channels that are not open, all of them or, where there is no room for all, none. */
  #openAll(names: readonly string[], configs: ReadonlyMap<string, ChannelConfig>): Refusal | null {
    const missing = new Set(names.filter((name) => !this.rooms.has(name)));
    const over = this.rooms.size + missing.size - this.settings.maxChannels;
    if (over > 0) {
      const spare = [...this.#empty].filter(({ name }) => !names.includes(name)).slice(0, over);
      if (spare.length < over) {
        return { sentence: "There are as many channels as this server keeps (channelstream.max_channels)." };
      }
      for (const room of spare) this.#close(room);
    }
    for (const name of missing) {
      const room = new Room(name, this.store, this.#publisher, this.hub.connections, this.micros());
      room.config = configs.get(name) ?? room.config;
      this.rooms.set(name, room);
      this.#empty.add(room);
    }
    return null;
  }

  #close(room: Room): void {
    this.rooms.delete(room.name);
    this.#empty.delete(room);
    room.history.trim(0);
    room.frames.trim(0);
  }

  #join(listener: Listener, name: string): boolean {
    const room = this.rooms.get(name);
    if (room === undefined || listener.rooms.has(room)) return false;
    if (!room.users.has(listener.user.name)) this.#tellPresence(room, listener.user, "joined");
    room.add(listener);
    this.#empty.delete(room);
    this.#bridge.open(room);
    return true;
  }

  #part(listener: Listener, room: Room): boolean {
    if (!room.remove(listener)) return false;
    if (!room.users.has(listener.user.name)) this.#tellPresence(room, listener.user, "parted");
    if (room.users.size === 0) {
      this.#empty.add(room);
      this.#bridge.close(room);
    }
    return true;
  }

  /** Told before the one who joins is in, and after the one who parts is out: nobody hears of themselves. */
  #tellPresence(room: Room, user: User, action: "joined" | "parted"): void {
    if (!room.config.notify_presence) return;
    const joined = action === "joined";
    const users: { readonly user: string; readonly state: unknown }[] = [];
    if (room.config.broadcast_presence_with_user_lists) {
      const names = joined ? [...room.users.keys(), user.name] : room.users.keys();
      for (const name of names) users.push({ user: name, state: this.users.get(name)?.publicState ?? {} });
    }
    const uuid = crypto.randomUUID();
    const wire = {
      uuid,
      type: "presence",
      channel: room.name,
      user: user.name,
      message: { action },
      users,
      state: joined ? user.publicState : null,
      timestamp: this.timestamp(),
      catchup: false,
    };
    const others = { only: null, except: new Set([user.name]) };
    this.#tell(room, this.#frame(null, wire, others), true);
  }

  #tellState(user: User, changed: readonly Change[]): void {
    const told = new Set<Room>();
    for (const { rooms } of user.listeners) for (const room of rooms) told.add(room);
    for (const room of told) {
      if (!room.config.notify_state) continue;
      const state = user.publicState;
      const wire = {
        uuid: crypto.randomUUID(),
        type: "user_state_change",
        channel: room.name,
        user: user.name,
        message: { state, changed: changed.filter(({ key }) => Object.hasOwn(state, key)) },
        timestamp: this.timestamp(),
        catchup: false,
      };
      this.#tell(room, this.#frame(null, wire, EVERYONE), true);
    }
  }

  #frame(uuid: string | null, wire: JsonObject, audience: Audience, delivery: Delivery | null = null): Frame {
    const dated = this.settings.legacyDate && Object.hasOwn(wire, "timestamp");
    const content = dated ? { ...wire, date: wire.timestamp } : wire;
    return new Frame(++this.#seq, uuid, content, audience, delivery);
  }

  /** The frames of this message that are kept where it was sent to. */
  #kept({ uuid, channel, pm_users }: DeleteBody): Set<Frame> {
    const found = new Set<Frame>();
    const shelves =
      channel === null
        ? pm_users.map((name) => this.users.get(name)?.frames)
        : [this.rooms.get(channel)].flatMap((room) => [room?.history, room?.frames]);
    for (const shelf of shelves) {
      const frame = shelf?.find(uuid);
      if (frame !== undefined) found.add(frame);
    }
    return found;
  }

  /** Sends a call's frame where it belongs. Returns for how many connections it is, listening now or not. */
  #deliver({ channel, pm_users, no_history }: Delivery, frame: Frame): number {
    if (channel === null) return this.#deliverToUsers(pm_users, frame);
    const room = this.rooms.get(channel);
    if (room === undefined) {
      if (!frame.restricted) this.#bridge.publishElsewhere(channel, frame);
      return 0;
    }
    const { config } = room;
    if (frame.uuid !== null && !no_history && config.store_history) {
      room.history.add(frame, Math.min(config.history_size, this.settings.maxHistory));
    }
    this.#tell(room, frame, !frame.restricted);
    return room.audience(frame);
  }

  #deliverToUsers(names: readonly string[], frame: Frame): number {
    let connections = 0;
    let sent = 0;
    const list = listText(frame.text);
    for (const name of new Set(names)) {
      const user = this.users.get(name);
      if (user === undefined) continue;
      this.#touch(user);
      user.frames.add(frame, MAX_PRIVATE_FRAMES);
      connections += user.listeners.size;
      for (const { client, live } of user.listeners) {
        if (!live || client === null) continue;
        client.send(list);
        sent++;
      }
    }
    this.#countDeliveries(sent, frame);
    return connections;
  }

  #countDeliveries(sent: number, { text }: Frame): void {
    this.hub.stats.deliveries += sent;
    this.hub.stats.deliveredBytes += sent * text.length;
  }

  /** Our own members first, then, where all may hear of it, the bus. */
  #tell(room: Room, frame: Frame, toAll: boolean): void {
    room.lastActive = this.micros();
    room.keep(frame);
    this.#countDeliveries(toAll ? room.sendToAll(frame) : room.sendToSome(frame), frame);
    if (toAll) this.#bridge.publish(room.name, frame);
  }

  /** A message that somebody else sent to the hub's channel. The hub counts the deliveries. */
  #takeFromBus(room: Room, message: Message): number {
    const read = this.#bridge.read(room.name, message, () => this.timestamp(), this.settings.legacyDate);
    if (read === "unsendable") {
      this.hub.stats.unsendable += room.totalConnections;
      return 0;
    }
    if (read === null) return 0;
    const frame = new Frame(++this.#seq, read.uuid, read.text, read.audience);
    room.lastActive = this.micros();
    room.keep(frame);
    return frame.restricted ? room.sendToSome(frame) : room.sendToAll(frame);
  }

  /** What a connection has not seen, in the order in which it was sent; the newest where it is more than `most` bytes. */
  #missed({ rooms, user, seen }: Listener, most: number): string[] {
    const frames = user.frames.frames.filter(({ seq }) => seq > seen);
    for (const room of rooms) {
      for (const frame of room.frames.frames) {
        if (frame.seq > seen && frame.visibleTo(user.name)) frames.push(frame);
      }
    }
    const texts: string[] = [];
    let size = 0;
    for (const frame of frames.sort((a, b) => b.seq - a.seq)) {
      const text = frame.catchupText;
      size += Buffer.byteLength(text);
      if (size > most) break;
      texts.push(text);
    }
    return texts.reverse();
  }
}

/** Who may hear of a change: those whom the caller names, and only they who may see what is changed. */
function narrower(asked: Audience, kept: Audience): Audience {
  const only =
    asked.only === null || kept.only === null
      ? (asked.only ?? kept.only)
      : asked.only.intersection(kept.only);
  const except =
    asked.except === null || kept.except === null
      ? (asked.except ?? kept.except)
      : asked.except.union(kept.except);
  return { only, except };
}
