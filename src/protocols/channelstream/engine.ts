import type { ChannelstreamSettings } from "../../config/config.ts";
import type { HttpCode } from "../../error-codes.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Publisher } from "../../hub/publisher.ts";
import type { Client } from "../../transports/client.ts";
import { ChannelstreamChannel, listText } from "./channelstream-channel.ts";
import { Dispatch } from "./dispatch.ts";
import { FrameBudget } from "./frame-log.ts";
import { Listener } from "./listener.ts";
import type { ChannelConfig, Connect, State, UserState } from "./schemas.ts";
import { type Change, User } from "./user.ts";

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
  | { readonly code: HttpCode; readonly sentence: string };

/** How a client went: on its own, by our doing, or lost on the way. */
export type Departure = "left" | "ended" | "lost";

/** Users, their connections and channels: the protocol without its transports. */
export class Engine {
  readonly settings: ChannelstreamSettings;
  readonly hub: Hub;
  readonly users = new Map<string, User>();
  readonly listeners = new Map<string, Listener>();
  readonly rooms = new Map<string, ChannelstreamChannel>();
  readonly store: FrameBudget;
  /** What is sent to them. */
  readonly dispatch: Dispatch;
  readonly #publisher: Publisher;
  readonly #maxConnections: number;
  /** Connections without a client, or between two polls. */
  readonly #waiting = new Set<Listener>();
  /** Users without a connection, the one longest inactive in front. */
  readonly #resting = new Set<User>();
  /** Rooms in which nobody is, the one longest empty in front. */
  readonly #empty = new Set<ChannelstreamChannel>();

  constructor(options: EngineOptions) {
    this.settings = options.settings;
    this.hub = options.hub;
    this.#publisher = options.publisher;
    this.#maxConnections = options.maxConnections;
    this.store = new FrameBudget(options.settings.maxStored);
    this.dispatch = new Dispatch(options.settings, options.hub, {
      users: this.users,
      rooms: this.rooms,
      touch: (user) => this.#touch(user),
    });
  }

  connect(body: Connect): { readonly listener: Listener; readonly user: User } | Refusal {
    const id = body.conn_id ?? crypto.randomUUID();
    const known = this.listeners.get(id);
    if (known !== undefined && known.user.name !== body.username) {
      return { problems: { conn_id: ["Connection of another user"] } };
    }
    if (known === undefined && this.listeners.size >= this.#maxConnections) {
      return {
        code: "too_many_connections",
        sentence: "There are as many connections as this server takes (limits.max_connections).",
      };
    }
    const user = this.users.get(body.username) ?? this.#newUser(body.username);
    if (user === null) {
      return {
        code: "too_many_users",
        sentence: "There are as many users as this server remembers (channelstream.max_users).",
      };
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
    if (changed.length > 0) this.dispatch.tellState(user, changed);
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
    const missed = this.dispatch.missed(listener, client.context.maxBuffered / 2);
    if (missed.length > 0) client.send(listText(missed.join(",")));
    for (const room of listener.rooms) room.hook(listener);
  }

  /**
   * The client listens no more, but may be back: its poll is over. Returns what is to be called when the answer to it was
   * written; else what was sent until now is missed.
   */
  pause(listener: Listener): () => void {
    this.#silence(listener);
    this.#touch(listener.user);
    this.#wait(listener, this.settings.gcConnsAfter);
    const { seq } = this.dispatch;
    return () => {
      listener.seen = Math.max(listener.seen, seq);
      if (!listener.live && this.listeners.get(listener.id) === listener) {
        this.#wait(listener, this.settings.gcConnsAfter);
      }
    };
  }

  /** The client is gone. Nothing happens where another took its place. */
  detach(listener: Listener, client: Client, departure: Departure): void {
    if (listener.client !== client) return;
    if (listener.live) listener.seen = this.dispatch.seq;
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
    const listener = new Listener(id, user, this.dispatch.seq, 0);
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
        return {
          code: "too_many_channels",
          sentence: "There are as many channels as this server keeps (channelstream.max_channels).",
        };
      }
      for (const room of spare) this.#close(room);
    }
    for (const name of missing) {
      const room = new ChannelstreamChannel(
        name,
        this.store,
        this.#publisher,
        this.hub.connections,
        this.dispatch.micros(),
      );
      room.config = configs.get(name) ?? room.config;
      this.rooms.set(name, room);
      this.#empty.add(room);
    }
    return null;
  }

  #close(room: ChannelstreamChannel): void {
    this.rooms.delete(room.name);
    this.#empty.delete(room);
    room.history.trim(0);
    room.frames.trim(0);
  }

  #join(listener: Listener, name: string): boolean {
    const room = this.rooms.get(name);
    if (room === undefined || listener.rooms.has(room)) return false;
    if (!room.users.has(listener.user.name)) this.dispatch.tellPresence(room, listener.user, "joined");
    room.add(listener);
    this.#empty.delete(room);
    this.dispatch.bridge.open(room);
    return true;
  }

  #part(listener: Listener, room: ChannelstreamChannel): boolean {
    if (!room.remove(listener)) return false;
    if (!room.users.has(listener.user.name)) this.dispatch.tellPresence(room, listener.user, "parted");
    if (room.users.size === 0) {
      this.#empty.add(room);
      this.dispatch.bridge.close(room);
    }
    return true;
  }
}
