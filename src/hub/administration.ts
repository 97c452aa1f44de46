import type { Channel, Member } from "./channel.ts";

/**
 * Between two times that a channel's members are told of, in ms. Each time there may be a `channel.join` and a
 * `channel.leave`: at most four a second, wherever the second begins.
 */
const PAUSE = 520;

/**
 * The most channel names in one event. Each opening tells the whole list: beyond this, a list that grows with every
 * opening would cost the square of it. `total` then says how many there are.
 */
const MAX_NAMES = 1000;

/** Where the events of the `admin` channel go: local members of `admin`, and backends. */
export type Announce = (event: string, payload: string) => void;

/** What is to be told of one channel's members, and from when on it may be. */
interface Turn {
  channel: Channel;
  /** `performance.now()`. */
  due: number;
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

/**
 * The events of the `admin` channel: which channels there are, and who is in them. They are told when the present turn
 * of the event loop ends, in their order, each with its list as it is then.
 */
export class Administration {
  /** The names of channels that have members, and of those that always exist. */
  readonly #open: Set<string>;
  readonly #permanent: readonly string[];
  readonly #announce: Announce;
  #queue: (Change | Turn)[] = [];
  /** By name: a channel that closes and opens again is still the same to those who read. */
  readonly #turns = new Map<string, Turn>();
  #telling: NodeJS.Immediate | null = null;
  #timer: Timer | null = null;

  constructor(permanent: readonly string[], announce: Announce) {
    this.#open = new Set(permanent);
    this.#permanent = permanent;
    this.#announce = announce;
  }

  /** Whether a channel has members, or always exists. */
  knows(channel: Channel): boolean {
    return this.#open.has(channel.name);
  }

  /** A channel has a member. Told when it is the first. */
  opened(channel: Channel): void {
    if (this.#open.has(channel.name)) return;
    this.#open.add(channel.name);
    this.#change("channel.add", channel);
  }

  /**
   * A channel has no member. Who left last is told first, if it is the channel's turn; else what waits is not told any
   * more: that the channel is gone says it.
   */
  closed(channel: Channel): void {
    if (this.#permanent.includes(channel.name) || !this.#open.delete(channel.name)) return;
    const due = performance.now() + PAUSE;
    this.#turns.set(channel.name, { channel, due, joined: null, left: null, queued: false });
    this.#change("channel.remove", channel);
  }

  joined(member: Member): void {
    const turn = this.#turn(member.channel);
    turn.joined = member;
    this.#take(turn);
  }

  left(member: Member): void {
    const turn = this.#turn(member.channel);
    turn.left = member;
    this.#take(turn);
  }

  /** The payload of `channel.list` for one channel. */
  list(channel: Channel): string {
    return `{"channel":${JSON.stringify(channel.name)},"agents":${agents(channel)}}`;
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
    const turn = known ?? { channel, due: 0, joined: null, left: null, queued: false };
    turn.channel = channel;
    this.#turns.set(channel.name, turn);
    return turn;
  }

  /** Lets a channel speak if its last event is long enough ago, else when it is. */
  #take(turn: Turn): void {
    if (turn.due <= performance.now()) this.#enqueue(turn);
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
      if (turn.due > now) continue;
      if (turn.joined === null && turn.left === null) this.#turns.delete(name);
      else this.#enqueue(turn);
    }
    if (this.#turns.size > 0) this.#timer = setTimeout(() => this.#next(), PAUSE / 2);
  }

  #tell(): void {
    if (this.#telling !== null) clearImmediate(this.#telling);
    this.#telling = null;
    const queue = this.#queue;
    this.#queue = [];
    let names: string | null = null;
    for (const item of queue) {
      if ("queued" in item) {
        this.#tellMembers(item);
        continue;
      }
      names ??= this.#names();
      this.#announce(item.event, `{"channel":${JSON.stringify(item.name)},${names}}`);
    }
  }

  #tellMembers(turn: Turn): void {
    const { channel, joined, left } = turn;
    turn.queued = false;
    turn.joined = null;
    turn.left = null;
    if (joined === null && left === null) return;
    turn.due = performance.now() + PAUSE;
    const list = `"channel":${JSON.stringify(channel.name)},"agents":${agents(channel)}}`;
    if (joined !== null) this.#announce("channel.join", `{"agent":${JSON.stringify(joined.agent)},${list}`);
    if (left !== null) this.#announce("channel.leave", `{"agent":${JSON.stringify(left.agent)},${list}`);
  }

  #names(): string {
    const names: string[] = [];
    for (const name of this.#open) {
      if (names.length === MAX_NAMES) break;
      names.push(name);
    }
    const cut = this.#open.size > MAX_NAMES ? `,"total":${this.#open.size}` : "";
    return `"channels":${JSON.stringify(names)}${cut}`;
  }
}

function agents(channel: Channel): string {
  let text = "";
  for (const member of channel.members) text += `${text === "" ? "[" : ","}${JSON.stringify(member.agent)}`;
  return text === "" ? "[]" : `${text}]`;
}
