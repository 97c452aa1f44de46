import type { Bus, BusState, PublishAck } from "../bus/bus.ts";
import { isChannelName, isEventName, parseTo, printFrom, printPush, printTo } from "../bus/topics.ts";
import { atMostOncePer, type Log } from "../log.ts";
import type { AddressedBus, Listening, ReceivedAddressed } from "./addressed.ts";
import { AdminEvents } from "./admin-events.ts";
import { BusTargets } from "./bus-targets.ts";
import type { CallRules } from "./calls/call-rules.ts";
import type { Caller, Calls } from "./calls/calls.ts";
import { Channel, type ChannelRules, type Member } from "./channel.ts";
import { ChannelLists } from "./channel-lists.ts";
import { sharedSize, stamped } from "./client-events.ts";
import type { Connections } from "./connections.ts";
import { createExports, type Exports } from "./exports.ts";
import type { History, HistoryRules } from "./history/history.ts";
import { Positions } from "./history/positions.ts";
import { jsonMessage, Message } from "./message.ts";
import { PresenceCounts } from "./presence/presence-counts.ts";
import { PresenceEvents } from "./presence/presence-events.ts";
import { nextMeta } from "./presence/presence-info.ts";
import type { PresenceFigures, PresenceStore } from "./presence/presence-store.ts";
import { type Pushed, pushEnvelope } from "./push-envelope.ts";
import type { DropReason, Stats } from "./stats.ts";
import { startClock } from "./system-clock.ts";

/** Channels that always exist. */
const PERMANENT = ["phoenix", "admin", "system"] as const;

/** Minimum time between two warnings about reserved events, in ms. */
const WARN_INTERVAL = 60_000;

/** Is notified of the members of all channels. Neither method may throw. */
export interface MembershipObserver {
  joined(member: Member): void;
  left(member: Member): void;
  /** Messages of the bus were lost. */
  gap(): void;
  /** From now on members leave because this server stops. */
  drain(): void;
}

export interface HubOptions {
  readonly bus: Bus;
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  readonly presence: PresenceStore;
  /** Carries messages that not all members of a channel get; absent: there are none. */
  readonly addressed?: AddressedBus;
  /** Notified of members and lost messages, for webhooks; absent: there are none. */
  readonly memberships?: MembershipObserver;
  /** Messages of clients that a backend answers; `null` where no rules have any. */
  readonly calls?: Calls | null;
  /** Keeps the messages of channels whose rules say so; `null` where no rules do. */
  readonly history: History | null;
  /** Is notified of channels that may have listeners from now on, and of those that have none any more. */
  readonly interest?: { add(channel: string): void; remove(channel: string): void } | undefined;
  /** This server's id: random, new at each start. */
  readonly node: string;
  /** ms for which the changes of a channel are collected, longer under load (`PresenceWindows`). */
  readonly presenceWindow: number;
  /** Maximum payload of a backend's message, in bytes; a larger one is dropped. */
  readonly maxPayload: number;
  /** Whether `datetime` is sent on `system` once a second. */
  readonly datetime: boolean;
  /** Whether backends get the events of the `admin` channel. Its members on this server always do. */
  readonly adminEvents: boolean;
  /** Whether backends get `presence_diff`. Members of the channel always do. */
  readonly presenceEvents: boolean;
  /** The rules of a channel: the same object for all of one pattern. */
  rulesFor(channel: string): ChannelRules;
}

/** The channels with their members, and the delivery of messages to them. Knows no wire format and no broker. */
export class Hub {
  /** Of the messages on `to:`, delivered or not. */
  readonly positions = new Positions();
  readonly #options: HubOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #targets: BusTargets;
  readonly #adminEvents: AdminEvents;
  readonly #channelLists: ChannelLists;
  readonly #exports: Exports;
  readonly #presence: PresenceEvents;
  readonly #counts: PresenceCounts;
  /** Counts the messages of this server itself that the bus did not accept. */
  readonly #ownAck: PublishAck;
  #stopClock: (() => void) | null = null;
  #time = Date.now();
  /** Whether no marker was received since the subscription was lost, or since the start. */
  #inGap = true;

  constructor(options: HubOptions) {
    const { bus, log, stats, adminEvents } = options;
    this.#options = options;
    this.#targets = new BusTargets(this.#channels, warnReserved(log));
    this.#ownAck = { settled: (accepted) => void (accepted || stats.unpublished++) };
    this.#exports = createExports(bus, this.#ownAck, options);
    this.#presence = new PresenceEvents({
      window: options.presenceWindow,
      deliver: (channel, message) => this.#deliver(channel, message),
      export: this.#exports.presenceDiff,
    });
    this.#counts = new PresenceCounts({
      deliver: (channel, message) => this.#deliver(channel, message),
      elsewhere: (channel) => options.presence.elsewhere(channel),
    });
    this.#adminEvents = new AdminEvents(
      PERMANENT,
      (event, payload) => {
        this.broadcast("admin", jsonMessage(event, payload));
        this.#exports.adminEvent?.(event, payload);
      },
      () => adminEvents || (this.#channels.get("admin")?.receivers.length ?? 0) > 0,
      () => !options.presence.shared,
    );
    this.#channelLists = new ChannelLists({
      list: (channel) => (this.#isListed(channel) ? this.#adminEvents.list(channel) : null),
      export: this.#exports.adminEvent,
    });
    for (const name of PERMANENT) this.open(name);
    options.addressed?.receive((message) => this.#deliverAddressed(message));
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

  get calls(): Calls | null {
    return this.#options.calls ?? null;
  }

  get history(): History | null {
    return this.#options.history;
  }

  /** What is kept of a channel, open or not; `null`: nothing. */
  historyRules(channel: string): HistoryRules | null {
    return this.#options.history === null ? null : this.#options.rulesFor(channel).history;
  }

  /** Presence of other servers. */
  get presenceFigures(): PresenceFigures {
    return this.#options.presence.figures();
  }

  get node(): string {
    return this.#options.node;
  }

  /** Whether a client of a channel that does not keep up gets only the newest message of each event. */
  conflates(channel: string): boolean {
    return this.#options.rulesFor(channel).conflates ?? false;
  }

  /** Starts the clock and the stores. */
  start(): void {
    this.history?.start?.(this.positions);
    if (this.#options.datetime) {
      this.#stopClock = startClock((payload) => this.broadcast("system", jsonMessage("datetime", payload)));
    }
    this.#options.presence.start({
      changed: (name) => this.#ifOpen(name, (channel) => this.#presence.changedElsewhere(channel)),
      countChanged: (name) => this.#ifOpen(name, (channel) => this.#counts.changed(channel)),
      export: this.#exports.presenceDiff,
      announce: (event, channel, open) => this.#adminEvents.announce(event, channel, open),
      announced: (event, payload) => void this.broadcast("admin", jsonMessage(event, payload)),
      renewRefs: () => this.#renewRefs(),
    });
  }

  /** Updates the time of `Traffic.lastAt`, and frees messages that are too old. To be called several times a second. */
  tick(): void {
    this.#time = Date.now();
    this.#options.history?.tick(this.#time);
  }

  /**
   * To be called before all clients are disconnected: from now on only backends get the leaves. To send each leave to
   * thousands of members that leave next would take longer than their leaves.
   */
  drain(): void {
    this.#options.presence.drain();
    this.#options.memberships?.drain();
    this.#presence.drain();
  }

  /** Sends presence diffs and admin events that wait, then stops all timers. Bus and presence store are stopped by their owner. */
  stop(): void {
    this.#stopClock?.();
    this.#channelLists.stop();
    this.#presence.stop();
    this.#counts.stop();
    this.#adminEvents.stop();
    this.calls?.stop();
  }

  /** The channel of this name, opened if it was not. The caller must join it or call `release`. */
  open(name: string): Channel {
    const known = this.#channels.get(name);
    if (known !== undefined) return known;
    this.#options.interest?.add(name);
    const channel = this.#create(name);
    this.#channels.set(name, channel);
    return channel;
  }

  /** Closes a channel that has no members and no receivers. Does nothing for one that has members. */
  release(channel: Channel): void {
    if (channel.members.size > 0 || this.#channels.get(channel.name) !== channel) return;
    this.#presence.flush(channel);
    this.#adminEvents.closed(channel);
    if (channel.receivers.length > 0 || PERMANENT.some((name) => name === channel.name)) return;
    this.#channels.delete(channel.name);
    this.#options.interest?.remove(channel.name);
    this.#counts.forget(channel);
    if (channel.presence !== null) this.#options.presence.unload(channel.name);
    this.#targets.forget(channel);
  }

  /**
   * Adds a member. Its join was answered and its fanout has it already. It gets the state now, or together with those that join
   * in the same window, but before the next message of the channel.
   */
  join(member: Member): void {
    const { channel } = member;
    channel.members.add(member);
    this.stats.joins.accepted++;
    this.#adminEvents.opened(channel);
    this.#presence.joined(member);
    this.#membersChanged(channel, 1);
    this.#adminEvents.joined(member);
    this.#options.memberships?.joined(member);
    if (channel.name !== "admin") return;
    this.#presence.flush(channel);
    this.#channelLists.start(member, this.#channels.values());
  }

  /** To be called when `member.seesPresence` has changed. A member that sees presence now gets the state. */
  presenceVisibilityChanged(member: Member): void {
    this.#presence.visibilityChanged(member);
    if (member.channel.counted) this.#counts.changed(member.channel);
  }

  /** Replaces the metadata that presence shows of a member; `info` as in `Meta`. */
  updatePresence(member: Member, info: string): void {
    this.#presence.replaced(member, nextMeta(member, member.meta, info));
  }

  /** Removes a member, whose fanout does not have it any more. The last one closes the channel, unless it `rejoins`. */
  leave(member: Member, rejoins = false): void {
    const { channel } = member;
    if (!channel.members.delete(member)) return;
    this.stats.joins.left++;
    this.#presence.left(member);
    this.#membersChanged(channel, 0);
    this.#adminEvents.left(member);
    this.#options.memberships?.left(member);
    if (!rejoins) this.release(channel);
  }

  /** Publishes a client's message to backends. `ack` is settled with whether the bus accepted it. */
  push(pushed: Pushed, ack?: PublishAck): void {
    const { event, payload } = pushed;
    const { name, namesSender } = pushed.member.channel;
    this.#countPush(pushed);
    const { bus } = this.#options;
    if (namesSender) bus.publish(printPush(name, event), pushEnvelope(pushed), this.#ownAck);
    bus.publish(printFrom(name, event), payload, ack);
  }

  /** Sends a client's message to a backend that answers it. Returns false where too many wait for their answers. */
  call(pushed: Pushed, rules: CallRules, caller: Caller): boolean {
    if (this.calls?.start(pushed, rules, caller) !== true) return false;
    this.#countPush(pushed);
    return true;
  }

  #countPush({ member, event, payload }: Pushed): void {
    const { pushes } = this.stats;
    pushes.messages++;
    pushes.bytes += payload.length;
    const { traffic, observer } = member.channel;
    traffic.pushed++;
    traffic.pushedBytes += payload.length;
    traffic.lastAt = this.#time;
    observer?.pushed(member, event, payload);
  }

  /** Whether the bus can carry a client's message by its name. */
  mayName(channel: string, event: string): boolean {
    const { maxName } = this.#options.bus;
    return maxName === undefined || Buffer.byteLength(channel) + Buffer.byteLength(event) < maxName;
  }

  /** Bytes of the payload of a client's message as `share` sends it; `null` if it is too large for that. */
  sharedBytes({ member: { channel, user }, payload }: Pushed): number | null {
    const bytes = sharedSize(channel.clientEvents?.namesUser ? user : null, payload);
    return bytes > this.#options.maxPayload ? null : bytes;
  }

  /** Sends a client's message to the other members of its channel, on all servers. */
  share({ member, event, payload }: Pushed): void {
    const { channel, user, connection } = member;
    const { id } = connection;
    this.stats.clientEvents++;
    const sent = channel.clientEvents?.namesUser ? stamped(user, payload) : payload;
    const addressed = {
      channel: channel.name,
      event,
      payload: sent,
      except: [id],
      connection: null,
      sender: id,
    };
    this.#options.addressed?.publish(addressed, this.#ownAck);
  }

  /** Publishes a notice of this server to backends: a join, a leave or a heartbeat. One that the bus does not accept is counted. */
  notify(channel: string, event: string, payload: string): void {
    this.#channels.get(channel)?.observer?.pushed(null, event, payload);
    this.#options.bus.publish(printFrom(channel, event), payload, this.#ownAck);
  }

  /**
   * Publishes to a channel as a backend does: members on this server get the message when it comes back from the bus. Not
   * for reserved events.
   */
  publish(channel: string, event: string, payload: string): void {
    this.#options.bus.publish(printTo(channel, event), payload, this.#ownAck);
  }

  /** Sends a message to all listeners of a channel on this server. Returns the number of them. */
  broadcast(name: string, message: Message): number {
    const channel = this.#channels.get(name);
    return channel === undefined ? 0 : this.#deliver(channel, message);
  }

  /** A message of the bus on a `to:` name, as for `BusListener.message`. */
  message(name: Buffer, payload: Buffer, room = 0): void {
    const { stats } = this;
    const seq = this.positions.advance();
    stats.received.messages++;
    stats.received.bytes += payload.length;
    const target = this.#targets.resolve(name);
    if (target === "malformed" || target === "reserved" || target === "own") return this.#drop(target);
    if (payload.length > this.#options.maxPayload) return this.#drop("too_large");
    if (typeof target === "string") {
      if (target === "unheard") this.#keepUnheard(name, payload, seq);
      return this.#drop(payload.length === 0 ? "empty" : target);
    }
    const { channel, event } = target;
    if (channel.history !== null) this.#keep(channel.name, channel.history, event, payload, seq);
    if (payload.length === 0) return this.#drop("empty");
    if (channel.receivers.length === 0) return this.#drop("unheard");
    stats.delivered++;
    this.#deliver(channel, new Message(event, payload, false, seq, null, channel.trustsJson, room));
  }

  /** As `message`, for one that came when its channel had no listeners here: it is counted. */
  unheard(name: Buffer, bytes: number): void {
    this.positions.advance();
    this.stats.received.messages++;
    this.stats.received.bytes += bytes;
    const target = this.#targets.resolve(name);
    if (target === "malformed" || target === "reserved" || target === "own") return this.#drop(target);
    this.#drop(bytes > this.#options.maxPayload ? "too_large" : "unheard");
  }

  /** A marker of this or another server, in the order of the messages. Returns whether it is the newest now. */
  marker(id: string): boolean {
    const isNewest = this.positions.mark(id);
    if (isNewest) this.history?.marked?.();
    if (this.#inGap && this.positions.current !== null) this.#endGap();
    return isNewest;
  }

  #endGap(): void {
    this.#inGap = false;
    for (const channel of this.#channels.values()) {
      if (channel.history !== null) for (const receiver of channel.receivers) receiver.resubscribed?.();
    }
  }

  /** The subscription was lost: messages until the next one are missed. */
  lost(): void {
    this.positions.gap();
    this.history?.lost?.();
    this.#options.memberships?.gap();
    this.#inGap = true;
  }

  changed({ live, detail, gaps }: BusState): void {
    // The bus logs this for the operator.
    this.#options.log.debug(live ? "bus up" : "bus down", { detail, gaps });
    this.#options.presence.connectionChanged(live);
  }

  #ifOpen(name: string, run: (channel: Channel) => void): void {
    const channel = this.#channels.get(name);
    if (channel !== undefined) run(channel);
  }

  /** @param notable the number of members that other servers are notified of, if the channel is not counted */
  #membersChanged(channel: Channel, notable: number): void {
    const { name, members, counted } = channel;
    if (counted) this.#counts.changed(channel);
    if (counted || members.size === notable)
      this.#options.presence.membersChanged(name, members.size, counted);
  }

  #renewRefs(): void {
    for (const channel of this.#channels.values()) {
      for (const member of channel.members) this.updatePresence(member, member.meta.info ?? "");
    }
  }

  #create(name: string): Channel {
    const { rulesFor, presence } = this.#options;
    const rules = rulesFor(name);
    return new Channel(name, rules.presence === true ? presence.load(name) : null, rules);
  }

  /** Keeps a message; an empty one removes the last value of its event. */
  #keep(channel: string, rules: HistoryRules, event: string, payload: Buffer, seq: number): void {
    const { history } = this.#options;
    if (payload.length === 0) history?.removeLastValue(channel, event);
    else history?.append(channel, rules, { seq, event, payload: Buffer.from(payload), at: this.#time });
  }

  /** Keeps a message of a channel without listeners, which may not be open. */
  #keepUnheard(name: Buffer, payload: Buffer, seq: number): void {
    if (this.#options.history === null) return;
    const topic = parseTo(name);
    if (topic === null || !isChannelName(topic.channel) || !isEventName(topic.event)) return;
    const rules = this.#options.rulesFor(topic.channel).history;
    if (rules !== null) this.#keep(topic.channel, rules, topic.event, payload, seq);
  }

  /** A message of a server to some listeners of a channel, in the order of those on `to:`. */
  #deliverAddressed({ channel: name, event, payload, except, connection, sender }: ReceivedAddressed): void {
    const channel = this.#channels.get(name);
    if (channel === undefined || channel.receivers.length === 0) return;
    if (payload.length === 0 || payload.length > this.#options.maxPayload) return;
    // Before anybody is left out: the diff is for all.
    this.#flushJoins(channel);
    const message = new Message(event, payload, false, 0, sender);
    if (connection === null) this.#deliverExcept(channel, message, except);
    else if (this.connections.get(connection)?.listening(name)?.deliver(message)) {
      this.#count(channel, message, 1);
    }
  }

  #deliverExcept(channel: Channel, message: Message, except: readonly string[]): void {
    const paused: Listening[] = [];
    for (const id of new Set(except)) {
      const listening = this.connections.get(id)?.listening(channel.name) ?? null;
      if (listening !== null) paused.push(listening);
    }
    for (const each of paused) each.pause(message.event);
    this.#deliver(channel, message);
    for (const each of paused) each.resume(message.event);
  }

  #drop(reason: DropReason): void {
    this.stats.dropped[reason]++;
    if (reason === "malformed") this.#options.log.debug("ignored message: name is not to:<channel>:<event>");
  }

  #deliver(channel: Channel, message: Message): number {
    // A member that just joined gets the state, then the diff, then messages. This costs no more than the message itself.
    if (!message.presence) this.#flushJoins(channel);
    let deliveries = 0;
    for (const receiver of channel.receivers) deliveries += receiver.deliver(message);
    this.#count(channel, message, deliveries);
    return deliveries;
  }

  #flushJoins(channel: Channel): void {
    const { presence, awaitingState } = channel;
    if (presence !== null && (presence.hasJoins || awaitingState.length > 0)) this.#presence.flush(channel);
  }

  #count({ traffic }: Channel, message: Message, deliveries: number): void {
    traffic.sent++;
    traffic.sentBytes += message.size;
    traffic.lastAt = this.#time;
    this.stats.deliveries += deliveries;
    this.stats.deliveredBytes += deliveries * message.size;
  }

  #isListed(channel: Channel): boolean {
    return this.#adminEvents.isOpen(channel) && this.#channels.get(channel.name) === channel;
  }
}

/** Logs at most one warning in each `WARN_INTERVAL`, with the last name. */
function warnReserved(log: Log): (name: string) => void {
  let last = "";
  const warn = atMostOncePer(WARN_INTERVAL, (times) => {
    log.warn("ignored reserved events published by a backend", { times, last });
  });
  return (name) => {
    last = name;
    warn();
  };
}
