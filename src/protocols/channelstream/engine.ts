import { Rejection } from "../../auth/rejection.ts";
import type { ChannelstreamSettings } from "../../config/config.ts";
import type { FanoutContext } from "../../hub/fanout.ts";
import type { Hub } from "../../hub/hub.ts";
import type { ServerMessages } from "../../hub/server-messages.ts";
import type { Client } from "../../transports/client.ts";
import { ChannelstreamChannel, listText } from "./channelstream-channel.ts";
import { Dispatch } from "./dispatch.ts";
import { FrameBudget } from "./frame-log.ts";
import { Listener } from "./listener.ts";
import { parseJson } from "./parse-json.ts";
import {
  type ChannelConfig,
  type Connect,
  readChannelConfigs,
  type State,
  type UserState,
} from "./schemas.ts";
import { type Change, User } from "./user.ts";

/** Time (ms) for a client that closed its connection to come back, as a reloaded page does. */
const RELOAD_TIMEOUT = 1000;

export interface EngineOptions {
  readonly settings: ChannelstreamSettings;
  readonly hub: Hub;
  readonly fanouts: FanoutContext;
  /** To and from the other servers. */
  readonly messages: ServerMessages;
  /** The same, for the settings of channels. */
  readonly configMessages: ServerMessages;
  /** The most connections, attached or not. */
  readonly maxConnections: number;
  readonly isBanned: (user: string) => boolean;
}

/** Why a call failed: a body that breaks a rule, by field, or a rejection. */
export type Failure = { readonly problems: Readonly<Record<string, readonly string[]>> } | Rejection;

/** How a client disconnected: on its own, ended by this server, or lost by the network. */
export type Departure = "left" | "ended" | "lost";

/** Users, their connections and their channels: the protocol without its transports. */
export class Engine {
  readonly settings: ChannelstreamSettings;
  readonly hub: Hub;
  readonly users = new Map<string, User>();
  readonly listeners = new Map<string, Listener>();
  readonly channels = new Map<string, ChannelstreamChannel>();
  readonly budget: FrameBudget;
  readonly dispatch: Dispatch;
  readonly #fanouts: FanoutContext;
  readonly #maxConnections: number;
  readonly #isBanned: (user: string) => boolean;
  readonly #configMessages: ServerMessages;
  /** Connections without a client, or between two polls. */
  readonly #waiting = new Set<Listener>();
  /** Users without a connection, the longest inactive first. */
  readonly #inactive = new Set<User>();
  /** Channels without connections, the longest empty first. */
  readonly #empty = new Set<ChannelstreamChannel>();

  constructor(options: EngineOptions) {
    this.settings = options.settings;
    this.hub = options.hub;
    this.#fanouts = options.fanouts;
    this.#maxConnections = options.maxConnections;
    this.#isBanned = options.isBanned;
    this.#configMessages = options.configMessages;
    this.#configMessages.receive((text) => {
      const configs = decodeConfigs(text);
      if (configs !== null) this.#configure(configs);
    });
    this.budget = new FrameBudget(options.settings.maxStored);
    this.dispatch = new Dispatch(options.settings, options.hub, options.messages, {
      users: this.users,
      channels: this.channels,
      touch: (user) => this.#touch(user),
    });
  }

  connect(body: Connect): { readonly listener: Listener; readonly user: User } | Failure {
    if (this.#isBanned(body.username)) {
      return new Rejection(403, "user_banned", "This user is banned.");
    }
    const id = body.conn_id ?? crypto.randomUUID();
    const known = this.listeners.get(id);
    if (known !== undefined && known.user.name !== body.username) {
      return { problems: { conn_id: ["Connection of another user"] } };
    }
    if (known === undefined && this.listeners.size >= this.#maxConnections) {
      return new Rejection(
        503,
        "too_many_connections",
        "Connection limit of the server reached (limits.max_connections).",
      );
    }
    const user = this.users.get(body.username) ?? this.#newUser(body.username);
    if (user === null) {
      return new Rejection(
        503,
        "too_many_users",
        "User limit of the server reached (channelstream.max_users).",
      );
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
  ): readonly string[] | Failure {
    return this.#openAll(channels, configs) ?? channels.filter((name) => this.#join(listener, name));
  }

  /** Returns the channels that the connection was in. */
  unsubscribe(listener: Listener, channels: readonly string[]): readonly string[] {
    return channels.filter((name) => {
      const channel = this.channels.get(name);
      return channel !== undefined && this.#part(listener, channel);
    });
  }

  changeState(user: User, body: UserState): readonly Change[] | Failure {
    const tooLarge = this.#stateProblem(user, body.user_state);
    if (tooLarge !== null) return tooLarge;
    if (body.state_public_keys !== null) user.publicKeys = body.state_public_keys;
    const changed = user.merge(body.user_state);
    this.#touch(user);
    if (changed.length > 0) this.dispatch.sendState(user, changed);
    return changed;
  }

  /** Sets the settings of channels on all servers, and opens those that are not open. */
  configure(configs: ReadonlyMap<string, ChannelConfig>): Failure | null {
    const refused = this.#configure(configs);
    if (refused === null) this.#configMessages.send(JSON.stringify(Object.fromEntries(configs)));
    return refused;
  }

  #configure(configs: ReadonlyMap<string, ChannelConfig>): Failure | null {
    const refused = this.#openAll([...configs.keys()], configs);
    if (refused !== null) return refused;
    for (const [name, config] of configs) {
      const channel = this.channels.get(name);
      // A history that is now too long is cut by the next message, as in Channelstream.
      if (channel !== undefined) channel.config = config;
    }
    return null;
  }

  /** Removes a connection for good; `false` if there is none. */
  disconnect(id: string): boolean {
    const listener = this.listeners.get(id);
    if (listener !== undefined) this.#remove(listener);
    return listener !== undefined;
  }

  /** Removes the connections of a user that have no client now. Returns how many there were. */
  endUser(name: string): number {
    const ids = [...(this.users.get(name)?.listeners ?? [])].map(({ id }) => id);
    return ids.filter((id) => this.listeners.get(id)?.client === null && this.disconnect(id)).length;
  }

  /** Attaches a client to a connection, in place of its present one, and sends it the messages that it missed. */
  attach(listener: Listener, client: Client): void {
    const before = listener.client;
    if (before !== null && before !== client) {
      this.#unsubscribe(listener);
      listener.client = null;
      before.close(1000, "replaced by a newer connection");
    }
    listener.client = client;
    this.#waiting.delete(listener);
    this.#touch(listener.user);
    if (listener.live) return;
    listener.live = true;
    this.#sendValues(listener, client);
    const missed = this.dispatch.missed(listener, client.context.maxBuffered / 2);
    if (missed.length > 0) client.send(listText(missed.join(",")));
    for (const channel of listener.channels) channel.subscribe(listener);
  }

  /**
   * The poll of a connection ended, and its client may poll again. Returns a function to be called when the answer was
   * written; without that call all messages since the poll before count as missed.
   */
  pause(listener: Listener): () => void {
    this.#unsubscribe(listener);
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

  /** Detaches a client that is gone. Does nothing if another one has replaced it. */
  detach(listener: Listener, client: Client, departure: Departure): void {
    if (listener.client !== client) return;
    if (listener.live) listener.seen = this.dispatch.seq;
    this.#unsubscribe(listener);
    listener.client = null;
    this.#touch(listener.user);
    if (departure === "ended") this.#remove(listener);
    else this.#wait(listener, departure === "left" ? RELOAD_TIMEOUT : this.settings.gcConnsAfter);
  }

  /** A client sent something. */
  active(listener: Listener): void {
    this.#touch(listener.user);
  }

  /** To be called about once a second: removes connections and users whose time is over. */
  sweep(now = performance.now()): void {
    for (const listener of this.#waiting) if (listener.expiresAt <= now) this.#remove(listener);
    for (const user of this.#inactive) {
      if (now - user.lastActive < this.settings.gcUsersAfter) break;
      this.#removeUser(user);
    }
  }

  #newUser(name: string): User | null {
    if (this.users.size >= this.settings.maxUsers) {
      const [oldest] = this.#inactive;
      if (oldest === undefined) return null;
      this.#removeUser(oldest);
    }
    return new User(name, this.budget, performance.now());
  }

  #removeUser(user: User): void {
    this.#inactive.delete(user);
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

  #remove(listener: Listener): void {
    const { client, user } = listener;
    this.#waiting.delete(listener);
    this.listeners.delete(listener.id);
    for (const channel of [...listener.channels]) this.#part(listener, channel);
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

  #unsubscribe(listener: Listener): void {
    if (!listener.live) return;
    for (const channel of listener.channels) channel.unsubscribe(listener);
    listener.live = false;
  }

  /** Records that a user was active just now. */
  #touch(user: User): void {
    user.lastActive = performance.now();
    this.#inactive.delete(user);
    if (user.listeners.size === 0 && this.users.has(user.name)) this.#inactive.add(user);
  }

  #stateProblem(user: User, more: State): Failure | null {
    const most = this.settings.maxUserState;
    if (user.stateBytes(more) <= most) return null;
    return { problems: { user_state: [`State is larger than ${most} bytes.`] } };
  }

  /** Opens the channels that are not open: all, or none if the limit does not allow all. */
  #openAll(names: readonly string[], configs: ReadonlyMap<string, ChannelConfig>): Failure | null {
    const missing = new Set(names.filter((name) => !this.channels.has(name)));
    const over = this.channels.size + missing.size - this.settings.maxChannels;
    if (over > 0) {
      const spare = [...this.#empty].filter(({ name }) => !names.includes(name)).slice(0, over);
      if (spare.length < over) {
        return new Rejection(
          503,
          "too_many_channels",
          "Channel limit of the server reached (channelstream.max_channels).",
        );
      }
      for (const channel of spare) this.#close(channel);
    }
    for (const name of missing) {
      const channel = this.#newChannel(name);
      channel.config = configs.get(name) ?? channel.config;
      this.channels.set(name, channel);
      this.#empty.add(channel);
    }
    return null;
  }

  #newChannel(name: string): ChannelstreamChannel {
    const { hub, dispatch, budget } = this;
    const skipped = hub.conflates(name) ? (count: number) => dispatch.skippedText(name, count) : null;
    return new ChannelstreamChannel(name, budget, this.#fanouts, dispatch.micros(), skipped);
  }

  #close(channel: ChannelstreamChannel): void {
    this.channels.delete(channel.name);
    this.#empty.delete(channel);
    channel.history.trim(0);
    channel.frames.trim(0);
  }

  #join(listener: Listener, name: string): boolean {
    const channel = this.channels.get(name);
    if (channel === undefined || listener.channels.has(channel)) return false;
    if (!channel.users.has(listener.user.name)) this.dispatch.sendPresence(channel, listener.user, "joined");
    listener.join(channel);
    this.#empty.delete(channel);
    this.dispatch.bridge.open(channel);
    if (channel.bridge?.channel.history?.lastValue) {
      listener.awaitingValues.set(channel, this.hub.positions.seq);
    }
    if (listener.live && listener.client !== null) this.#sendValues(listener, listener.client);
    return true;
  }

  /** Sends a client the last values of channels that it joined. Later ones are among the messages that it missed. */
  #sendValues({ awaitingValues }: Listener, client: Client): void {
    if (awaitingValues.size === 0) return;
    const texts = [...awaitingValues].flatMap(([channel, seq]) => this.dispatch.lastValues(channel, seq));
    awaitingValues.clear();
    if (texts.length > 0) client.send(listText(texts.join(",")));
  }

  #part(listener: Listener, channel: ChannelstreamChannel): boolean {
    if (!listener.leave(channel)) return false;
    if (!channel.users.has(listener.user.name)) this.dispatch.sendPresence(channel, listener.user, "parted");
    if (channel.users.size === 0) {
      this.#empty.add(channel);
      this.dispatch.bridge.close(channel);
    }
    return true;
  }
}

function decodeConfigs(text: string): ReadonlyMap<string, ChannelConfig> | null {
  try {
    const read = readChannelConfigs(parseJson(text));
    return read.ok ? read.value : null;
  } catch {
    return null;
  }
}
