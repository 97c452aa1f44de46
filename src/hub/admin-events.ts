import type { Channel, Member } from "./channel.ts";
import type { OpenChannels } from "./presence/presence-store.ts";

/** Minimum time between two notices about a channel's members, in ms. A notice is a `channel.join` and a `channel.leave`. */
const NOTICE_INTERVAL = 520;

/** At most `RATE_LIMIT` of these events for one channel within `RATE_WINDOW` ms: four in any second. */
const RATE_WINDOW = 1040;
const RATE_LIMIT = 4;

/**
 * Above `MAX_NAMES` names or `MAX_LIST_BYTES` bytes of JSON a list is truncated. A list that grows with every join costs the
 * square of the joins, and Redis disconnects a subscriber that cannot read that fast.
 */
export const MAX_NAMES = 100;
const MAX_LIST_BYTES = 4096;

/** Sends an event of the `admin` channel, to local members of `admin` and to backends. */
export type SendAdminEvent = (event: string, payload: string) => void;

/** The notices about one channel's members that wait to be sent: the newest join and the newest leave. */
interface Notices {
  channel: Channel;
  /** When the next may be sent (`performance.now()`). */
  due: number;
  /** When the last events were sent, at most `RATE_LIMIT` of them, newest last. Kept when a channel of this name opens again. */
  readonly sent: number[];
  joined: Member | null;
  left: Member | null;
  /** Whether it is in the queue for the end of this turn of the event loop. */
  queued: boolean;
}

/** `channel.add` or `channel.remove`. */
interface Change {
  readonly event: string;
  readonly name: string;
}

/** The leave that empties a channel. */
interface LastLeave {
  readonly name: string;
  readonly agent: string;
  readonly sent: number[];
}

/**
 * The events of the `admin` channel: which channels are open, and their members. Events are sent at the end of the current turn
 * of the event loop, in order, each with its list as of then.
 */
export class AdminEvents {
  /** The names of channels that have members, and of those that always exist. */
  readonly #open: Set<string>;
  /** The length of the list of these names as JSON text, in bytes. */
  #openBytes = 1;
  readonly #permanent: readonly string[];
  readonly #send: SendAdminEvent;
  readonly #hasReceiver: () => boolean;
  readonly #alone: () => boolean;
  #queue: (Change | LastLeave | Notices)[] = [];
  /** By name: the rate limit holds for a channel that closes and opens again. */
  readonly #notices = new Map<string, Notices>();
  #flushing: NodeJS.Immediate | null = null;
  #timer: Timer | null = null;

  /**
   * @param hasReceiver whether a member of `admin` or a backend receives the events; without a receiver none is made
   * @param alone whether channels open and close with the members of this server; otherwise `announce` says so
   */
  constructor(
    permanent: readonly string[],
    send: SendAdminEvent,
    hasReceiver: () => boolean = () => true,
    alone: () => boolean = () => true,
  ) {
    this.#alone = alone;
    this.#open = new Set(permanent);
    for (const name of permanent) this.#openBytes += listedBytes(name);
    this.#permanent = permanent;
    this.#send = send;
    this.#hasReceiver = hasReceiver;
  }

  /** Whether a channel has members, or is permanent. */
  isOpen(channel: Channel): boolean {
    return this.#open.has(channel.name);
  }

  /** A channel has a member. Sends `channel.add` if it was not open. */
  opened(channel: Channel): void {
    if (this.#open.has(channel.name)) return;
    this.#open.add(channel.name);
    this.#openBytes += listedBytes(channel.name);
    if (this.#alone() && this.#hasReceiver()) this.#change("channel.add", channel);
  }

  /**
   * Sends `channel.add` or `channel.remove` now; `open`: the channels that have members on any server. Returns the payload;
   * `null` for a channel that is always open.
   */
  announce(event: string, channel: string, { names, total }: OpenChannels): string | null {
    if (this.#permanent.includes(channel)) return null;
    const all = names === null ? null : [...new Set([...this.#permanent, ...names])];
    const complete = all !== null && all.length <= MAX_NAMES && bytesOf(all) <= MAX_LIST_BYTES;
    const listed = complete ? all : event === "channel.add" ? [channel] : [];
    const count = complete ? "" : `,"total":${total + this.#permanent.length}`;
    const payload = `{"channel":${JSON.stringify(channel)},"channels":${JSON.stringify(listed)}${count}}`;
    this.#send(event, payload);
    return payload;
  }

  /** A channel has no members. Sends `channel.remove`, after its last leave unless the rate limit drops that one. */
  closed(channel: Channel): void {
    const { name } = channel;
    if (this.#permanent.includes(name) || !this.#open.delete(name)) return;
    this.#openBytes -= listedBytes(name);
    const notices = this.#notices.get(name);
    if (notices !== undefined) {
      const { queued, left, sent } = notices;
      if (!queued && left !== null) this.#queue.push({ name, agent: left.agent, sent });
      const due = performance.now() + NOTICE_INTERVAL;
      this.#notices.set(name, { channel, due, sent, joined: null, left: null, queued: false });
    }
    if (this.#alone() && this.#hasReceiver()) this.#change("channel.remove", channel);
  }

  joined(member: Member): void {
    if (!this.#hasReceiver()) return;
    const notices = this.#noticesOf(member.channel);
    notices.joined = member;
    this.#schedule(notices);
  }

  left(member: Member): void {
    if (!this.#hasReceiver()) return;
    const notices = this.#noticesOf(member.channel);
    notices.left = member;
    this.#schedule(notices);
  }

  /** The payload of `channel.list` for one channel. */
  list(channel: Channel): string {
    return `{"channel":${JSON.stringify(channel.name)},${agents(channel, null)}}`;
  }

  /** Sends everything that waits. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const notices of this.#notices.values()) this.#enqueue(notices);
    this.#flush();
  }

  #change(event: string, channel: Channel): void {
    this.#queue.push({ event, name: channel.name });
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  #noticesOf(channel: Channel): Notices {
    const known = this.#notices.get(channel.name);
    const notices = known ?? { channel, due: 0, sent: [], joined: null, left: null, queued: false };
    notices.channel = channel;
    this.#notices.set(channel.name, notices);
    return notices;
  }

  /** Queues a channel's notices now, or when they are due. */
  #schedule(notices: Notices): void {
    if (dueAt(notices) <= performance.now()) this.#enqueue(notices);
    this.#timer ??= setTimeout(() => this.#queueDue(), NOTICE_INTERVAL / 2);
  }

  #enqueue(notices: Notices): void {
    if (notices.queued) return;
    notices.queued = true;
    this.#queue.push(notices);
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  #queueDue(): void {
    this.#timer = null;
    const now = performance.now();
    for (const [name, notices] of this.#notices) {
      if (notices.joined !== null || notices.left !== null) {
        if (dueAt(notices) <= now) this.#enqueue(notices);
      } else if (notices.due <= now && (notices.sent.at(-1) ?? 0) + RATE_WINDOW <= now) {
        this.#notices.delete(name);
      }
    }
    if (this.#notices.size > 0) this.#timer = setTimeout(() => this.#queueDue(), NOTICE_INTERVAL / 2);
  }

  #flush(): void {
    if (this.#flushing !== null) clearImmediate(this.#flushing);
    this.#flushing = null;
    const queue = this.#queue;
    this.#queue = [];
    const all = this.#completeList();
    for (const item of queue) {
      if ("queued" in item) this.#sendNotices(item);
      else if ("agent" in item) this.#sendLastLeave(item);
      else {
        const list = all ?? this.#truncatedList(item.name);
        this.#send(item.event, `{"channel":${JSON.stringify(item.name)},${list}}`);
      }
    }
  }

  #sendNotices(notices: Notices): void {
    const { channel, joined, left, sent } = notices;
    notices.queued = false;
    notices.joined = null;
    notices.left = null;
    if (joined === null && left === null) return;
    notices.due = performance.now() + NOTICE_INTERVAL;
    const name = JSON.stringify(channel.name);
    if (joined !== null) {
      noteSent(sent);
      const list = agents(channel, joined);
      this.#send("channel.join", `{"agent":${JSON.stringify(joined.agent)},"channel":${name},${list}}`);
    }
    if (left !== null) {
      noteSent(sent);
      const list = agents(channel, left);
      this.#send("channel.leave", `{"agent":${JSON.stringify(left.agent)},"channel":${name},${list}}`);
    }
  }

  #sendLastLeave({ name, agent, sent }: LastLeave): void {
    const fourthLast = sent.length < RATE_LIMIT ? undefined : sent[0];
    if (fourthLast !== undefined && fourthLast + RATE_WINDOW > performance.now()) return;
    noteSent(sent);
    const about = `"agent":${JSON.stringify(agent)},"channel":${JSON.stringify(name)}`;
    this.#send("channel.leave", `{${about},"agents":[]}`);
  }

  /** The list of all open channels; `null` where it is too long. */
  #completeList(): string | null {
    if (this.#open.size > MAX_NAMES || this.#openBytes > MAX_LIST_BYTES) return null;
    return `"channels":${JSON.stringify([...this.#open])}`;
  }

  /** The same list with this name only, if that channel is open, and the number of open channels. */
  #truncatedList(name: string): string {
    const names = this.#open.has(name) ? JSON.stringify([name]) : "[]";
    return `"channels":${names},"total":${this.#open.size}`;
  }
}

/** When two more events may be sent. */
function dueAt({ due, sent }: Notices): number {
  const thirdLast = sent.at(1 - RATE_LIMIT);
  return thirdLast === undefined ? due : Math.max(due, thirdLast + RATE_WINDOW);
}

function noteSent(sent: number[]): void {
  if (sent.length === RATE_LIMIT) sent.shift();
  sent.push(performance.now());
}

/** The length of a list of names as JSON text, in bytes. */
function bytesOf(names: readonly string[]): number {
  return names.reduce((bytes, name) => bytes + listedBytes(name), 1);
}

/** The length of a name in a list, in bytes: its JSON text and a comma. */
function listedBytes(name: string): number {
  return Buffer.byteLength(JSON.stringify(name)) + 1;
}

/** The agents of a channel; where they are too many, only `about` if it is a member, and the number of members. */
function agents(channel: Channel, about: Member | null): string {
  const { members } = channel;
  if (members.size <= MAX_NAMES) {
    let text = "";
    for (const member of members) text += `${text === "" ? "" : ","}${JSON.stringify(member.agent)}`;
    if (Buffer.byteLength(text) + 2 <= MAX_LIST_BYTES) return `"agents":[${text}]`;
  }
  const names = about !== null && members.has(about) ? JSON.stringify([about.agent]) : "[]";
  return `"agents":${names},"total":${members.size}`;
}
