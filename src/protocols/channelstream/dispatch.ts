import type { ChannelstreamSettings } from "../../config/config.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Message } from "../../hub/message.ts";
import { Bridge } from "./bridge.ts";
import { type ChannelstreamChannel, listText } from "./channelstream-channel.ts";
import { type Audience, audienceOf, EVERYONE, Frame } from "./frame.ts";
import type { FrameLog } from "./frame-log.ts";
import type { Listener } from "./listener.ts";
import type { JsonObject } from "./parse-json.ts";
import type { DeleteBody, Delivery, EditBody, MessageBody } from "./schemas.ts";
import { createMicroClock, printTimestamp } from "./timestamp.ts";
import { type Change, MAX_PRIVATE_FRAMES, type User } from "./user.ts";

/** A message as clients get it. */
interface Wire extends JsonObject {
  readonly uuid: string;
  readonly type: string;
  readonly timestamp?: string;
}

/** Those whom messages may be for. */
export interface People {
  readonly users: ReadonlyMap<string, User>;
  readonly rooms: ReadonlyMap<string, ChannelstreamChannel>;
  /** A user was active just now. */
  touch(user: User): void;
}

/** What is sent: to whom, and where it is kept for those who come later. */
export class Dispatch {
  readonly bridge: Bridge;
  readonly totals = { messages: 0, unique: 0 };
  readonly micros = createMicroClock();
  readonly #settings: ChannelstreamSettings;
  readonly #hub: Hub;
  readonly #people: People;
  #seq = 0;

  constructor(settings: ChannelstreamSettings, hub: Hub, people: People) {
    this.#settings = settings;
    this.#hub = hub;
    this.#people = people;
    this.bridge = new Bridge(hub, (room, message) => this.#takeFromBus(room, message));
  }

  /** The number of the last frame that was made. */
  get seq(): number {
    return this.#seq;
  }

  /** A message's time, now. */
  timestamp(): string {
    return printTimestamp(this.micros());
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
    this.totals.messages += this.#deliver(body, wire, audienceOf(body));
  }

  /** Changes a message where it is kept, and tells of it, kept or not. */
  edit(body: EditBody, time: string): void {
    const { uuid, channel, user, message, timestamp } = body;
    const changes = {
      ...(user === null ? {} : { user }),
      ...(message === null ? {} : { message }),
      ...(timestamp === null ? {} : { timestamp }),
      edited: time,
    };
    let audience = audienceOf(body);
    const edited = new Map<Frame, Frame>();
    for (const [shelf, frame] of this.#kept(body)) {
      const changed = edited.get(frame) ?? frame.edited(changes);
      edited.set(frame, changed);
      shelf.replace(frame, changed);
      audience = narrower(audience, frame.audience);
    }
    const wire = { uuid, type: "message:edit", channel, ...changes };
    this.#deliver(body, wire, audience);
  }

  /** Takes a message away where it is kept, and tells of it, kept or not. */
  delete(body: DeleteBody): void {
    let audience = audienceOf(body);
    for (const [shelf, frame] of this.#kept(body)) {
      audience = narrower(audience, frame.audience);
      shelf.remove(frame);
    }
    const wire = { uuid: body.uuid, type: "message:delete", channel: body.channel };
    this.#deliver(body, wire, audience);
  }

  /** Told before the one who joins is in, and after the one who parts is out: nobody hears of themselves. */
  tellPresence(room: ChannelstreamChannel, user: User, action: "joined" | "parted"): void {
    if (!room.config.notify_presence) return;
    const joined = action === "joined";
    const users: { readonly user: string; readonly state: unknown }[] = [];
    if (room.config.broadcast_presence_with_user_lists) {
      const names = joined ? [...room.users.keys(), user.name] : room.users.keys();
      for (const name of names)
        users.push({ user: name, state: this.#people.users.get(name)?.publicState ?? {} });
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
    this.#tell(room, wire, this.#frame(wire, others), true);
  }

  tellState(user: User, changed: readonly Change[]): void {
    const told = new Set<ChannelstreamChannel>();
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
      this.#tell(room, wire, this.#frame(wire, EVERYONE), true);
    }
  }

  #frame(wire: Wire, audience: Audience, delivery: Delivery | null = null): Frame {
    const dated = this.#settings.legacyDate && wire.timestamp !== undefined;
    const text = JSON.stringify(dated ? { ...wire, date: wire.timestamp } : wire);
    return new Frame(++this.#seq, wire.type === "message" ? wire.uuid : null, text, audience, delivery);
  }

  /** Where this message is kept, of the places that it was sent to. */
  #kept({ uuid, channel, pm_users }: DeleteBody): readonly (readonly [FrameLog, Frame])[] {
    const room = channel === null ? undefined : this.#people.rooms.get(channel);
    const shelves =
      channel === null
        ? pm_users.map((name) => this.#people.users.get(name)?.frames)
        : [room?.history, room?.frames];
    return shelves.flatMap((shelf) => {
      const frame = shelf?.find(uuid);
      return shelf === undefined || frame === undefined ? [] : [[shelf, frame] as const];
    });
  }

  /** Sends what a call says where it belongs. Returns for how many connections it is, listening now or not. */
  #deliver(delivery: Delivery, wire: Wire, audience: Audience): number {
    const { channel, pm_users, no_history } = delivery;
    const frame = this.#frame(wire, audience, delivery);
    if (channel === null) return this.#deliverToUsers(pm_users, frame);
    const room = this.#people.rooms.get(channel);
    if (room === undefined) {
      if (!frame.restricted) this.bridge.publishElsewhere(channel, wire, frame.text);
      return 0;
    }
    const { config } = room;
    if (frame.uuid !== null && !no_history && config.store_history) {
      room.history.add(frame, Math.min(config.history_size, this.#settings.maxHistory));
    }
    this.#tell(room, wire, frame, !frame.restricted);
    return room.audience(frame);
  }

  #deliverToUsers(names: readonly string[], frame: Frame): number {
    let connections = 0;
    let sent = 0;
    const list = listText(frame.text);
    // Who is named twice hears twice, as with Channelstream.
    for (const name of names) {
      const user = this.#people.users.get(name);
      if (user === undefined) continue;
      this.#people.touch(user);
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

  /** Our own members first, then, where all may hear of it, the bus. */
  #tell(room: ChannelstreamChannel, wire: Wire, frame: Frame, toAll: boolean): void {
    room.lastActive = this.micros();
    room.keep(frame);
    this.#countDeliveries(toAll ? room.sendToAll(frame) : room.sendToSome(frame), frame);
    if (toAll) this.bridge.publish(room.name, wire, frame.text);
  }

  /** A message that somebody else sent to the hub's channel. The hub counts the deliveries. */
  #takeFromBus(room: ChannelstreamChannel, message: Message): number {
    const read = this.bridge.read(room.name, message, () => this.timestamp(), this.#settings.legacyDate);
    if (read === "unsendable") {
      this.#hub.stats.unsendable += room.totalConnections;
      return 0;
    }
    if (read === null) return 0;
    const frame = new Frame(++this.#seq, read.uuid, read.text, read.audience);
    room.lastActive = this.micros();
    room.keep(frame);
    return frame.restricted ? room.sendToSome(frame) : room.sendToAll(frame);
  }

  /**
   * What a connection has not seen: channel by channel in the order of their names, then private messages, each in the order
   * in which they were sent (Channelstream 0.7). The newest where it is more than `most` bytes.
   */
  missed({ rooms, user, seen }: Listener, most: number): string[] {
    const frames: Frame[] = [];
    for (const room of [...rooms].sort((a, b) => byCodePoints(a.name, b.name))) {
      for (const frame of room.frames.frames) {
        if (frame.seq > seen && frame.visibleTo(user.name)) frames.push(frame);
      }
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

/** Python's order of strings. */
function byCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
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
