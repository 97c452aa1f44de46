import type { Channel, Member } from "./channel.ts";

/** The least time between two notices about a channel's members, in ms. A notice is a `channel.join` and a `channel.leave`. */
const PAUSE = 520;

/** At most `MAX_NOTICES` of these events for one channel in so many ms: four a second, wherever the second begins. */
const WINDOW = 1040;
const MAX_NOTICES = 4;

/**
 * A list is complete while it holds at most so many names, and so many bytes of JSON. A list that grows with every join
 * costs the square of the joins, and Redis cuts off a subscriber that cannot read that fast.
 */
const MAX_NAMES = 100;
const MAX_LIST_BYTES = 4096;

/** Where the events of the `admin` channel go: local members of `admin`, and backends. */
export type Announce = (event: string, payload: string) => void;

/** What is to be told of one channel's members, and from when on it may be. */
interface Turn {
  channel: Channel;
  /** `performance.now()`. */
  due: number;
  /** When its last events were sent, at most `MAX_NOTICES` of them, the newest last. Shared by all turns of a name. */
  readonly sent: number[];
  joined: Member | null;
  left: Member | null;
  /** Whether it stands among what is to be told at the end of this turn of the event loop. */
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
 * The events of the `admin` channel: which channels there are, and who is in them. They are told when the present turn
 * of the event loop ends, in their order, each with its list as it is then.
 */
export class AdminEvents {
  /** The names of channels that have members, and of those that always exist. */
  readonly #open: Set<string>;
  /** The length of their list as JSON text, in bytes. */
  #openBytes = 1;
  readonly #permanent: readonly string[];
  readonly #announce: Announce;
  readonly #wanted: () => boolean;
  #queue: (Change | LastLeave | Turn)[] = [];
  /** By name: a channel that closes and opens again is still the same to those who read. */
  readonly #turns = new Map<string, Turn>();
  #telling: NodeJS.Immediate | null = null;
  #timer: Timer | null = null;

  /** @param wanted whether anybody receives the events; without a receiver none is made. */
  constructor(permanent: readonly string[], announce: Announce, wanted: () => boolean = () => true) {
    this.#open = new Set(permanent);
    for (const name of permanent) this.#openBytes += listed(name);
    this.#permanent = permanent;
    this.#announce = announce;
    this.#wanted = wanted;
  }

  /** Whether a channel has members, or always exists. */
  knows(channel: Channel): boolean {
    return this.#open.has(channel.name);
  }

  /** A channel has a member. Told when it is the first. */
  opened(channel: Channel): void {
    if (this.#open.has(channel.name)) return;
    this.#open.add(channel.name);
    this.#openBytes += listed(channel.name);
    if (this.#wanted()) this.#change("channel.add", channel);
  }

  /** A channel has no member. Its last leave is sent before its removal, unless it had four events within the second. */
  closed(channel: Channel): void {
    const { name } = channel;
    if (this.#permanent.includes(name) || !this.#open.delete(name)) return;
    this.#openBytes -= listed(name);
    const turn = this.#turns.get(name);
    if (turn !== undefined) {
      if (!turn.queued && turn.left !== null) {
        this.#queue.push({ name, agent: turn.left.agent, sent: turn.sent });
      }
      const due = performance.now() + PAUSE;
      this.#turns.set(name, { channel, due, sent: turn.sent, joined: null, left: null, queued: false });
    }
    if (this.#wanted()) this.#change("channel.remove", channel);
  }

  joined(member: Member): void {
    if (!this.#wanted()) return;
    const turn = this.#turn(member.channel);
    turn.joined = member;
    this.#take(turn);
  }

  left(member: Member): void {
    if (!this.#wanted()) return;
    const turn = this.#turn(member.channel);
    turn.left = member;
    this.#take(turn);
  }

  /** The payload of `channel.list` for one channel. */
  list(channel: Channel): string {
    return `{"channel":${JSON.stringify(channel.name)},${agents(channel, null)}}`;
  }

  /** Tells all that is not yet told. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const turn of this.#turns.values()) this.#enqueue(turn);
    this.#tell();
  }

  #change(event: string, channel: Channel): void {
    this.#queue.push({ event, name: channel.name });
    this.#telling ??= setImmediate(() => this.#tell());
  }

  #turn(channel: Channel): Turn {
    const known = this.#turns.get(channel.name);
    const turn = known ?? { channel, due: 0, sent: [], joined: null, left: null, queued: false };
    turn.channel = channel;
    this.#turns.set(channel.name, turn);
    return turn;
  }

  /** Lets a channel speak if its last event is long enough ago, else when it is. */
  #take(turn: Turn): void {
    if (dueAt(turn) <= performance.now()) this.#enqueue(turn);
    this.#timer ??= setTimeout(() => this.#next(), PAUSE / 2);
  }

  #enqueue(turn: Turn): void {
    if (turn.queued) return;
    turn.queued = true;
    this.#queue.push(turn);
    this.#telling ??= setImmediate(() => this.#tell());
  }

  #next(): void {
    this.#timer = null;
    const now = performance.now();
    for (const [name, turn] of this.#turns) {
      if (turn.joined !== null || turn.left !== null) {
        if (dueAt(turn) <= now) this.#enqueue(turn);
      } else if (turn.due <= now && (turn.sent.at(-1) ?? 0) + WINDOW <= now) {
        this.#turns.delete(name);
      }
    }
    if (this.#turns.size > 0) this.#timer = setTimeout(() => this.#next(), PAUSE / 2);
  }

  #tell(): void {
    if (this.#telling !== null) clearImmediate(this.#telling);
    this.#telling = null;
    const queue = this.#queue;
    this.#queue = [];
    const all = this.#all();
    for (const item of queue) {
      if ("queued" in item) this.#tellMembers(item);
      else if ("agent" in item) this.#tellLastLeave(item);
      else {
        const list = all ?? this.#cut(item.name);
        this.#announce(item.event, `{"channel":${JSON.stringify(item.name)},${list}}`);
      }
    }
  }

  #tellMembers(turn: Turn): void {
    const { channel, joined, left } = turn;
    turn.queued = false;
    turn.joined = null;
    turn.left = null;
    if (joined === null && left === null) return;
    turn.due = performance.now() + PAUSE;
    const name = JSON.stringify(channel.name);
    if (joined !== null) {
      noteSent(turn.sent);
      const list = agents(channel, joined);
      this.#announce("channel.join", `{"agent":${JSON.stringify(joined.agent)},"channel":${name},${list}}`);
    }
    if (left !== null) {
      noteSent(turn.sent);
      const list = agents(channel, left);
      this.#announce("channel.leave", `{"agent":${JSON.stringify(left.agent)},"channel":${name},${list}}`);
    }
  }

  #tellLastLeave({ name, agent, sent }: LastLeave): void {
    const fourth = sent.length < MAX_NOTICES ? undefined : sent[0];
    if (fourth !== undefined && fourth + WINDOW > performance.now()) return;
    noteSent(sent);
    const about = `"agent":${JSON.stringify(agent)},"channel":${JSON.stringify(name)}`;
    this.#announce("channel.leave", `{${about},"agents":[]}`);
  }

  /** The list of all open channels; `null` where it is too long. */
  #all(): string | null {
    if (this.#open.size > MAX_NAMES || this.#openBytes > MAX_LIST_BYTES) return null;
    return `"channels":${JSON.stringify([...this.#open])}`;
  }

  /** The same list, cut down to one name, which stands there if that channel is open. */
  #cut(name: string): string {
    const names = this.#open.has(name) ? JSON.stringify([name]) : "[]";
    return `"channels":${names},"total":${this.#open.size}`;
  }
}

/** When a turn may send two more events. */
function dueAt({ due, sent }: Turn): number {
  const third = sent.at(1 - MAX_NOTICES);
  return third === undefined ? due : Math.max(due, third + WINDOW);
}

function noteSent(sent: number[]): void {
  if (sent.length === MAX_NOTICES) sent.shift();
  sent.push(performance.now());
}

/** What a name takes in a list: its JSON text and a comma, in bytes. */
function listed(name: string): number {
  return Buffer.byteLength(JSON.stringify(name)) + 1;
}

/** The members of a channel; where they are too many, `about` alone if it is among them, and how many there are. */
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
