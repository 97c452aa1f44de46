import type { JsonObject } from "../../auth/json-object.ts";
import type { ChannelstreamSettings } from "../../config/config.ts";
import type { Hub } from "../../hub/hub.ts";
import { Message } from "../../hub/message.ts";
import type { ServerMessages } from "../../hub/server-messages.ts";
import { Bridge, type Change as KeptChange, wrapped } from "./bridge.ts";
import { type ChannelstreamChannel, listText } from "./channelstream-channel.ts";
import { type Audience, audienceOf, EVERYONE, Frame } from "./frame.ts";
import type { FrameLog } from "./frame-log.ts";
import type { Listener } from "./listener.ts";
import { type RestrictedCall, RestrictedCalls } from "./restricted-calls.ts";
import type { DeleteBody, Delivery, EditBody, MessageBody } from "./schemas.ts";
import { createMicroClock, printTimestamp } from "./timestamp.ts";
import { type Change, MAX_PRIVATE_FRAMES, type User } from "./user.ts";

/** A message as clients get it. */
interface Wire extends JsonObject {
  readonly uuid: string;
  readonly type: string;
  readonly timestamp?: string;
}

/** Users and channels that messages may be for. */
export interface Recipients {
  readonly users: ReadonlyMap<string, User>;
  readonly channels: ReadonlyMap<string, ChannelstreamChannel>;
  /** Records that a user was active just now. */
  touch(user: User): void;
}

/** Sends messages, and keeps them for clients that catch up. */
export class Dispatch {
  readonly bridge: Bridge;
  readonly totals = { messages: 0, unique: 0 };
  readonly micros = createMicroClock();
  readonly #settings: ChannelstreamSettings;
  readonly #hub: Hub;
  readonly #recipients: Recipients;
  readonly #restricted: RestrictedCalls;
  #seq = 0;

  constructor(settings: ChannelstreamSettings, hub: Hub, messages: ServerMessages, recipients: Recipients) {
    this.#settings = settings;
    this.#hub = hub;
    this.#recipients = recipients;
    this.#restricted = new RestrictedCalls(messages, (call) => this.#apply(call));
    this.bridge = new Bridge(hub, (channel, message) => this.#deliverFromBus(channel, message), {
      hasOthers: () => messages.hasOthers,
    });
  }

  /** The number of the last frame. */
  get seq(): number {
    return this.#seq;
  }

  /** The time of a message sent now. */
  timestamp(): string {
    return printTimestamp(this.micros());
  }

  /** The notice that messages were left out for a client that did not keep up. */
  skippedText(channel: string, count: number): string {
    const { legacyDate } = this.#settings;
    const payload = `{"count":${count}}`;
    return wrapped(crypto.randomUUID(), channel, "skipped", payload, this.timestamp(), legacyDate);
  }

  /** Sends a message, and keeps it for clients that catch up. */
  send(body: MessageBody, uuid: string, timestamp: string): void {
    this.totals.unique++;
    const audience = audienceOf(body);
    this.totals.messages += this.#sendHere(body, uuid, timestamp, audience);
    const call = { call: "message", body: { ...body, uuid, timestamp } } as const;
    if (isRestricted(body, audience)) this.#restricted.send(call, audience);
  }

  #sendHere(body: MessageBody, uuid: string, timestamp: string, audience: Audience): number {
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
    return this.#deliver(body, wire, audience);
  }

  /** Changes a message wherever it is kept, and sends the edit whether or not it is. */
  edit(body: EditBody, time: string): void {
    const audience = this.#edit(body, time, false);
    const call = { call: "edit", body: { ...body, edited: time } } as const;
    if (this.#concernsOthers(body, audience)) this.#restricted.send(call, audience ?? EVERYONE);
  }

  /** Returns who may see it; `null` if it is known as restricted, but not to whom: then only servers that keep it send it. */
  #edit(body: EditBody, time: string, fromOther: boolean): Audience | null {
    const { uuid, channel, user, message, timestamp } = body;
    const changes = {
      ...(user === null ? {} : { user }),
      ...(message === null ? {} : { message }),
      ...(timestamp === null ? {} : { timestamp }),
      edited: time,
    };
    let audience = audienceOf(body);
    const edited = new Map<Frame, Frame>();
    for (const [log, frame] of this.#kept(body)) {
      const changed = edited.get(frame) ?? frame.edited(changes);
      edited.set(frame, changed);
      log.replace(frame, changed);
      audience = narrower(audience, frame.audience);
    }
    const isHidden = this.#isHidden(body, audience, fromOther);
    if (!isHidden) this.#deliver(body, { uuid, type: "message:edit", channel, ...changes }, audience);
    return isHidden ? null : audience;
  }

  /** Removes a message wherever it is kept, and sends the deletion whether or not it is. */
  delete(body: DeleteBody): void {
    const audience = this.#delete(body, false);
    if (this.#concernsOthers(body, audience)) {
      this.#restricted.send({ call: "delete", body }, audience ?? EVERYONE);
    }
  }

  /** As `#edit`. */
  #delete(body: DeleteBody, fromOther: boolean): Audience | null {
    let audience = audienceOf(body);
    for (const [log, frame] of this.#kept(body)) {
      audience = narrower(audience, frame.audience);
      log.remove(frame);
    }
    const isHidden = this.#isHidden(body, audience, fromOther);
    const wire = { uuid: body.uuid, type: "message:delete", channel: body.channel };
    if (!isHidden) this.#deliver(body, wire, audience);
    return isHidden ? null : audience;
  }

  /** Does here what another server did. */
  #apply({ call, body }: RestrictedCall): void {
    if (call === "edit") this.#edit(body, body.edited ?? this.timestamp(), true);
    else if (call === "delete") this.#delete(body, true);
    else {
      const audience = audienceOf(body);
      if (!isRestricted(body, audience)) return;
      this.#sendHere(body, body.uuid ?? crypto.randomUUID(), body.timestamp ?? this.timestamp(), audience);
    }
  }

  /** Whether a change must not be delivered: to all, though its message was restricted, or comes from another server. */
  #isHidden(body: DeleteBody, audience: Audience, fromOther: boolean): boolean {
    return !isRestricted(body, audience) && (fromOther || this.#restricted.isRestricted(body.uuid));
  }

  #concernsOthers(body: DeleteBody, audience: Audience | null): boolean {
    return audience === null || isRestricted(body, audience);
  }

  /** To be called before a user joins and after one parts: users get no presence of their own. */
  sendPresence(channel: ChannelstreamChannel, user: User, action: "joined" | "parted"): void {
    if (!channel.config.notify_presence) return;
    const joined = action === "joined";
    const users: { readonly user: string; readonly state: unknown }[] = [];
    if (channel.config.broadcast_presence_with_user_lists) {
      const names = joined ? [...channel.users.keys(), user.name] : channel.users.keys();
      for (const name of names)
        users.push({ user: name, state: this.#recipients.users.get(name)?.publicState ?? {} });
    }
    const uuid = crypto.randomUUID();
    const wire = {
      uuid,
      type: "presence",
      channel: channel.name,
      user: user.name,
      message: { action },
      users,
      state: joined ? user.publicState : null,
      timestamp: this.timestamp(),
      catchup: false,
    };
    const others = { only: null, except: new Set([user.name]) };
    this.#send(channel, wire, this.#frame(wire, others), true);
  }

  sendState(user: User, changed: readonly Change[]): void {
    const joined = new Set<ChannelstreamChannel>();
    for (const { channels } of user.listeners) for (const channel of channels) joined.add(channel);
    for (const channel of joined) {
      if (!channel.config.notify_state) continue;
      const state = user.publicState;
      const wire = {
        uuid: crypto.randomUUID(),
        type: "user_state_change",
        channel: channel.name,
        user: user.name,
        message: { state, changed: changed.filter(({ key }) => Object.hasOwn(state, key)) },
        timestamp: this.timestamp(),
        catchup: false,
      };
      this.#send(channel, wire, this.#frame(wire, EVERYONE), true);
    }
  }

  #frame(wire: Wire, audience: Audience, delivery: Delivery | null = null): Frame {
    const dated = this.#settings.legacyDate && wire.timestamp !== undefined;
    const text = JSON.stringify(dated ? { ...wire, date: wire.timestamp } : wire);
    const isMessage = wire.type === "message";
    const event = isMessage ? wire.type : null;
    return new Frame(++this.#seq, isMessage ? wire.uuid : null, text, audience, delivery, event);
  }

  /** Where a message is kept, among the recipients that a call names. */
  #kept({ uuid, channel: name, pm_users }: DeleteBody): readonly (readonly [FrameLog, Frame])[] {
    const channel = name === null ? undefined : this.#recipients.channels.get(name);
    const logs =
      name === null
        ? pm_users.map((user) => this.#recipients.users.get(user)?.frames)
        : [channel?.history, channel?.frames];
    return logs.flatMap((log) => {
      const frame = log?.find(uuid);
      return log === undefined || frame === undefined ? [] : [[log, frame] as const];
    });
  }

  /** Delivers the message of a call. Returns the number of connections that it is for, live or not. */
  #deliver(delivery: Delivery, wire: Wire, audience: Audience): number {
    const { channel: name, pm_users, no_history } = delivery;
    const frame = this.#frame(wire, audience, delivery);
    if (name === null) return this.#deliverToUsers(pm_users, frame);
    const channel = this.#recipients.channels.get(name);
    if (channel === undefined) {
      if (!frame.restricted) this.bridge.publishElsewhere(name, wire, frame.text);
      return 0;
    }
    const { config } = channel;
    if (frame.uuid !== null && !no_history && config.store_history) {
      channel.history.add(frame, Math.min(config.history_size, this.#settings.maxHistory));
    }
    this.#send(channel, wire, frame, !frame.restricted);
    return channel.audience(frame);
  }

  #deliverToUsers(names: readonly string[], frame: Frame): number {
    let connections = 0;
    let sent = 0;
    const list = listText(frame.text);
    // A user named twice gets it twice, as with Channelstream.
    for (const name of names) {
      const user = this.#recipients.users.get(name);
      if (user === undefined) continue;
      this.#recipients.touch(user);
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
    this.#hub.stats.deliveries += sent;
    this.#hub.stats.deliveredBytes += sent * text.length;
  }

  /** Sends a frame to the channel's own members first, then, if it is for all, to the bus. */
  #send(channel: ChannelstreamChannel, wire: Wire, frame: Frame, toAll: boolean): void {
    channel.lastActive = this.micros();
    channel.keep(frame);
    this.#countDeliveries(toAll ? channel.sendToAll(frame) : channel.sendToSome(frame), frame);
    if (toAll) this.bridge.publish(channel.name, wire, frame.text);
  }

  /** Delivers a message that was sent to the hub's channel. The hub counts the deliveries. */
  #deliverFromBus(channel: ChannelstreamChannel, message: Message): number {
    const read = this.bridge.read(channel.name, message, () => this.timestamp(), this.#settings.legacyDate);
    if (read === "unsendable") {
      this.#hub.stats.unsendable += channel.totalConnections;
      return 0;
    }
    if (read === null) return 0;
    const audience = read.change === null ? read.audience : this.#change(channel, read.change);
    const frame = new Frame(++this.#seq, read.uuid, read.text, audience, null, read.event);
    channel.lastActive = this.micros();
    channel.keep(frame);
    return frame.restricted ? channel.sendToSome(frame) : channel.sendToAll(frame);
  }

  /** Delivers a message of the hub's channel to one connection. Returns whether it gets it. */
  deliverTo(listener: Listener, channel: ChannelstreamChannel, message: Message): boolean {
    const { client, live } = listener;
    const text = this.bridge.readValue(
      channel.name,
      message,
      () => this.timestamp(),
      this.#settings.legacyDate,
    );
    if (text === null) {
      if (!message.isJson) this.#hub.stats.unsendable++;
      return false;
    }
    const frame = new Frame(++this.#seq, null, text, EVERYONE, null, null);
    listener.keep(channel, frame);
    if (live && client !== null) channel.sendTo(client, frame);
    return true;
  }

  /** Changes a message where this server keeps it, as another server did. Returns who may see the change. */
  #change({ history, frames }: ChannelstreamChannel, { uuid, edit }: KeptChange): Audience {
    let audience = EVERYONE;
    for (const log of [history, frames]) {
      const frame = log.find(uuid);
      if (frame === undefined) continue;
      audience = narrower(audience, frame.audience);
      if (edit === null) log.remove(frame);
      else log.replace(frame, frame.edited(edit));
    }
    return audience;
  }

  /** JSON texts of the last values of a channel, up to the message with the number `seq`. */
  lastValues({ name }: ChannelstreamChannel, seq: number): string[] {
    const values = this.#hub.history?.lastValues(name).filter((value) => value.seq <= seq) ?? [];
    return values.flatMap(({ event, payload }) => {
      const message = new Message(event, payload, false);
      const { legacyDate } = this.#settings;
      return this.bridge.readValue(name, message, () => this.timestamp(), legacyDate) ?? [];
    });
  }

  /**
   * JSON texts of the frames that a connection missed: by channel in the order of their names, then private messages, each in
   * the order in which they were sent (Channelstream 0.7). Only the newest, up to `most` bytes.
   */
  missed(listener: Listener, most: number): string[] {
    const { channels, user, seen } = listener;
    const frames: Frame[] = [];
    for (const channel of [...channels].sort((a, b) => byCodePoints(a.name, b.name))) {
      frames.push(...listener.missed(channel));
    }
    for (const frame of user.frames.frames) if (frame.seq > seen) frames.push(frame);
    const newestFirst = [...frames.keys()].sort(
      (a, b) => (frames[b]?.seq ?? 0) - (frames[a]?.seq ?? 0) || b - a,
    );
    const texts = new Map<number, string>();
    let size = 0;
    for (const at of newestFirst) {
      const text = frames[at]?.catchupText ?? "";
      size += Buffer.byteLength(text);
      if (size > most) break;
      texts.set(at, text);
    }
    return [...frames.keys()].flatMap((at) => texts.get(at) ?? []);
  }
}

/** Whether only some users may see what a call sends. */
function isRestricted({ channel }: Delivery, { only, except }: Audience): boolean {
  return channel === null || only !== null || except !== null;
}

/** Python's order of strings. */
function byCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The audience of an edit or deletion: the users that the caller names, of those who may see the message. */
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
