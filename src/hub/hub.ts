import type { Bus, BusListener, BusState, PublishAck } from "../bus/bus.ts";
import { isEventName, isExport, parseTo, printFrom, printTo, RESERVED_EVENTS } from "../bus/topics.ts";
import { atMostOncePer, type Log } from "../log.ts";
import { AdminEvents } from "./admin-events.ts";
import { Channel, type ChannelRules, type Member } from "./channel.ts";
import type { Connections } from "./connections.ts";
import { createExports, type Exports } from "./exports.ts";
import { jsonMessage, Message } from "./message.ts";
import type { ChannelPresence, PresenceStore } from "./presence/presence-store.ts";
import { PresenceWindows } from "./presence/presence-windows.ts";
import { count, type DropReason, type Stats } from "./stats.ts";
import { startClock } from "./system-clock.ts";

/** Channels that always exist. */
const PERMANENT = ["phoenix", "admin", "system"] as const;

/** Up to so many users a state is sent to each joiner at once: it is cheap then, and a page should not wait for it. */
const SMALL_STATE = 50;

/**
 * Names of the bus that are kept with what they mean: of open channels only, so many for each and in all, and none longer
 * than this. One that is not kept is parsed each time, which costs little: no number of names makes a cliff.
 */
const MAX_NAMES_EACH = 16;
const MAX_NAMES = 1_000_000;
const MAX_NAME_LENGTH = 255;

/** How many members are told of changes in each ms, at the most: each costs one write. */
const DIFFS_PER_MS = 10;

/** Between two warnings about reserved events, in ms. */
const WARN_PAUSE = 60_000;

export interface HubOptions {
  readonly bus: Bus;
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  readonly presence: PresenceStore;
  /** This server's id: random, new at each start. */
  readonly node: string;
  /** ms for which the changes of a channel are collected, or longer in a storm (`PresenceWindows`). */
  readonly presenceWindow: number;
  /** Bytes; a larger message of a backend is dropped. */
  readonly maxPayload: number;
  /** Whether `system` has its clock. */
  readonly datetime: boolean;
  /** Whether backends are sent the events of the `admin` channel; its members here always are. */
  readonly adminEvents: boolean;
  /** What holds for a channel; asked once, when it is opened. */
  rulesFor(channel: string): ChannelRules;
}

/** What a name of the bus means. */
interface Target {
  readonly channel: Channel;
  readonly event: string;
}

/** Who is in which channel, and what reaches them. Knows no wire format and no Redis. */
export class Hub implements BusListener {
  readonly #options: HubOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #administration: AdminEvents;
  readonly #states: PresenceWindows;
  readonly #diffs: PresenceWindows;
  #parting = false;
  /** By the bytes of the name, as latin1 text. */
  readonly #targets = new Map<string, Target>();
  readonly #exports: Exports;
  readonly #exported: PublishAck;
  readonly #warnReserved: () => void;
  #lastReserved = "";
  #stopClock: (() => void) | null = null;
  #time = Date.now();

  constructor(options: HubOptions) {
    this.#options = options;
    this.#exported = { settled: (taken) => void (taken || options.stats.unpublished++) };
    this.#warnReserved = atMostOncePer(WARN_PAUSE, (times) => {
      options.log.warn("ignored reserved events published by a backend", { times, last: this.#lastReserved });
    });
    const { bus, adminEvents } = options;
    this.#exports = createExports(bus, this.#exported, adminEvents);
    const receivesHere = (): boolean => (this.#channels.get("admin")?.receivers.length ?? 0) > 0;
    this.#administration = new AdminEvents(
      PERMANENT,
      (event, payload) => {
        this.broadcast("admin", jsonMessage(event, payload));
        this.#exports.adminEvent?.(event, payload);
      },
      () => adminEvents || receivesHere(),
    );
    const { presenceWindow } = options;
    this.#states = new PresenceWindows(presenceWindow, Number.MAX_SAFE_INTEGER, sendStates);
    this.#diffs = new PresenceWindows(presenceWindow, DIFFS_PER_MS, (channel) => this.#sendDiff(channel));
    for (const name of PERMANENT) this.#channels.set(name, this.#create(name));
  }

  get channels(): ReadonlyMap<string, Channel> {
    return this.#channels;
  }

  get connections(): Connections {
    return this.#options.connections;
  }

  get stats(): Stats {
    return this.#options.stats;
  }

  get node(): string {
    return this.#options.node;
  }

  /** Starts the clock, and the bus; resolves as `Bus.start` does. */
  async start(): Promise<void> {
    if (this.#options.datetime) {
      this.#stopClock = startClock((payload) => this.broadcast("system", jsonMessage("datetime", payload)));
    }
    this.#options.presence.start((name) => this.#presenceChanged(name));
    await this.#options.bus.start(this);
  }

  /** Sets the clock by which channels know when they were last used: to be called several times a second. */
  tick(): void {
    this.#time = Date.now();
  }

  /**
   * To be called when all clients are about to be sent away: from then on only backends hear who left. To tell thousands
   * who leave of thousands who left before them would take longer than their leave.
   */
  partAll(): void {
    this.#parting = true;
  }

  /** Sends what still waits to be told, then stops the clock and all timers. The bus is its owner's to stop. */
  stop(): void {
    this.#stopClock?.();
    this.#diffs.stop();
    this.#states.stop();
    this.#administration.stop();
    this.#options.presence.stop();
  }

  /** The channel of this name, opened if it was not. Whoever opens one must join it or call `release`. */
  open(name: string): Channel {
    const known = this.#channels.get(name);
    if (known !== undefined) return known;
    const channel = this.#create(name);
    this.#channels.set(name, channel);
    return channel;
  }

  /** Closes a channel in which nobody is left; backends are told when its last member left. */
  release(channel: Channel): void {
    if (channel.members.size > 0) return;
    this.#diffs.close(channel);
    this.#administration.closed(channel);
    if (channel.receivers.length > 0 || PERMANENT.some((name) => name === channel.name)) return;
    this.#channels.delete(channel.name);
    if (channel.presence !== null) this.#options.presence.unload(channel.name);
    for (const name of channel.names) this.#targets.delete(name);
  }

  /**
   * Takes a member in. Its join was answered already, and it is subscribed to the channel's messages; it gets the state now, or with those who
   * join in the same window, and in any case before the next message of the channel.
   */
  join(member: Member): void {
    const { channel } = member;
    channel.members.add(member);
    this.stats.joins.accepted++;
    this.#administration.opened(channel);
    const { presence } = channel;
    if (presence !== null) {
      presence.put(member);
      if (member.seesPresence) this.#awaitState(channel, presence, member);
      this.#diffs.open(channel);
    }
    this.#administration.joined(member);
    if (channel.name === "admin") {
      this.#diffs.close(channel);
      this.#listChannels(member);
    }
  }

  #awaitState(channel: Channel, presence: ChannelPresence, member: Member): void {
    channel.awaiting.push(member);
    if (this.#diffs.isOpen(channel) && presence.users > SMALL_STATE) this.#states.open(channel);
    else sendStates(channel);
  }

  /** A member may see who is there from now on, and gets the state; or may not any more. */
  presenceAllowed(member: Member): void {
    const { channel } = member;
    if (channel.presence === null) return;
    if (member.seesPresence) this.#awaitState(channel, channel.presence, member);
    else channel.awaiting = channel.awaiting.filter((each) => each !== member);
  }

  /** Lets a member go; it is no longer subscribed to its messages. The last one closes it, unless it is about to rejoin. */
  leave(member: Member, rejoins = false): void {
    const { channel } = member;
    if (!channel.members.delete(member)) return;
    this.stats.joins.left++;
    if (channel.presence !== null) {
      channel.presence.remove(member);
      if (channel.awaiting.length > 0) channel.awaiting = channel.awaiting.filter((each) => each !== member);
      this.#diffs.open(channel);
    }
    this.#administration.left(member);
    if (!rejoins) this.release(channel);
  }

  /** A client's message to the backends. The receipt tells whether the bus took it. */
  push(member: Member, event: string, payload: string | Uint8Array, receipt?: PublishAck): void {
    const { pushes } = this.stats;
    pushes.messages++;
    pushes.bytes += payload.length;
    const { name, traffic, watcher } = member.channel;
    traffic.pushed++;
    traffic.pushedBytes += payload.length;
    traffic.lastAt = this.#time;
    watcher?.pushed(member.agent, event, payload);
    this.#options.bus.publish(printFrom(name, event), payload, receipt);
  }

  /** A notice of ours to the backends (joins, leaves, heartbeats): told if the bus is there, else counted. */
  notify(channel: string, event: string, payload: string): void {
    this.#channels.get(channel)?.watcher?.pushed("", event, payload);
    this.#options.bus.publish(printFrom(channel, event), payload, this.#exported);
  }

  /**
   * Speaks to a channel as a backend does: members here hear it when the bus brings it back. Not for the protocol's own
   * events.
   */
  publish(channel: string, event: string, payload: string): void {
    this.#options.bus.publish(printTo(channel, event), payload, this.#exported);
  }

  /** Sends a message to all who listen to a channel here. Returns to how many. */
  broadcast(name: string, message: Message): number {
    const channel = this.#channels.get(name);
    return channel === undefined ? 0 : this.#deliver(channel, message);
  }

  message(name: Buffer, payload: Buffer, room: number): void {
    const { stats } = this;
    stats.received.messages++;
    stats.received.bytes += payload.length;
    const bytes = name.toString("latin1");
    const target = this.#targets.get(bytes) ?? this.#find(name, bytes);
    if (target === "malformed" || target === "reserved" || target === "own") return this.#drop(target);
    if (payload.length === 0) return this.#drop("empty");
    if (payload.length > this.#options.maxPayload) return this.#drop("too_large");
    if (typeof target === "string") return this.#drop(target);
    const { channel, event } = target;
    if (channel.receivers.length === 0) return this.#drop("unheard");
    stats.delivered++;
    this.#deliver(channel, new Message(event, payload, room, false));
  }

  /** What a name means that is not kept, or why it means nothing; kept where its channel is open. */
  #find(name: Buffer, bytes: string): Target | DropReason {
    const parsed = parseTo(name);
    if (parsed === null) return "malformed";
    const { event } = parsed;
    if (isExport(parsed)) return "own";
    if (RESERVED_EVENTS.has(event)) return this.#reserved(parsed.channel, event);
    const channel = this.#channels.get(parsed.channel);
    if (channel === undefined || channel.receivers.length === 0) return "unheard";
    if (!isEventName(event)) return "invalid_name";
    const target = { channel, event };
    const kept = channel.names.length < MAX_NAMES_EACH && this.#targets.size < MAX_NAMES;
    if (kept && bytes.length <= MAX_NAME_LENGTH) {
      channel.names.push(bytes);
      this.#targets.set(bytes, target);
    }
    return target;
  }

  changed({ live, detail, gaps }: BusState): void {
    // The bus itself tells the operator, once.
    this.#options.log.debug(live ? "bus is live" : "bus is away", { detail, gaps });
  }

  #create(name: string): Channel {
    return new Channel(
      name,
      this.#options.rulesFor(name).presence ? this.#options.presence.load(name) : null,
    );
  }

  #drop(reason: DropReason): void {
    this.stats.dropped[reason]++;
    if (reason === "malformed")
      this.#options.log.debug("ignored a message whose name is not to:<channel>:<event>");
  }

  #reserved(channel: string, event: string): "reserved" {
    this.#lastReserved = printTo(channel, event);
    this.#warnReserved();
    return "reserved";
  }

  #deliver(channel: Channel, message: Message): number {
    // Who just joined gets the state, then the diff, then messages. Costs no more than the message itself does: all
    // three go to, or speak of, every member once.
    if (!message.presence && channel.presence?.hasJoins) this.#diffs.close(channel);
    let deliveries = 0;
    for (const receiver of channel.receivers) deliveries += receiver.deliver(message);
    const { traffic } = channel;
    traffic.sent++;
    traffic.sentBytes += message.size;
    traffic.lastAt = this.#time;
    this.stats.deliveries += deliveries;
    this.stats.deliveredBytes += deliveries * message.size;
    return deliveries;
  }

  #listChannels(member: Member): void {
    for (const channel of this.#channels.values()) {
      if (!this.#administration.knows(channel)) continue;
      const list = this.#administration.list(channel);
      member.send("channel.list", list);
      this.#exports.adminEvent?.("channel.list", list);
    }
  }

  /** Members on other servers became known, or changed. */
  #presenceChanged(name: string): void {
    const channel = this.#channels.get(name);
    if (channel !== undefined && channel.presence !== null) this.#diffs.open(channel);
  }

  /** Sends the state to the members that wait for it, then the diff to all: no member gets a diff before its state. */
  #sendDiff(channel: Channel): void {
    const { presence } = channel;
    if (presence === null) return;
    // The store calls `changed` when the members are loaded, which opens the window again.
    if (!presence.loaded && channel.members.size > 0) return;
    this.#states.close(channel);
    sendStates(channel);
    const diff = presence.takeDiff();
    if (diff === null) return;
    if (!this.#parting) this.#deliver(channel, jsonMessage("presence_diff", diff.members, true));
    if (diff.backends !== null) this.#exports.presenceDiff(channel.name, diff.backends);
  }
}

/** Sends the state to the members that wait for it, once the members on other servers are known. */
function sendStates(channel: Channel): void {
  const { presence, awaiting } = channel;
  if (presence === null || !presence.loaded || awaiting.length === 0) return;
  channel.awaiting = [];
  for (const member of awaiting) member.send("presence_state", presence.state());
}

/** Counts a refusal under the reason that the client is told. */
export function countRefusal(stats: Stats, reason: string): void {
  count(stats.refused, reason.replaceAll(" ", "_"));
}
