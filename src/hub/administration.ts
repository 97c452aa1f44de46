import type { Channel, Member } from "./channel.ts";

/** Between two `channel.join` or `channel.leave` of one channel, in ms: at most four a second, wherever it begins. */
const PAUSE = 260;

/**
 * The most channel names in one event. Each opening tells the whole list: beyond this, a list that grows with every
 * opening would cost the square of it. `total` then says how many there are.
 */
const MAX_NAMES = 1000;

/** Where the events of the `admin` channel go: local members of `admin`, and backends. */
export type Announce = (event: string, payload: string) => void;

interface Turn {
  channel: Channel;
  /** When the next event of the channel may go out (`performance.now()`). */
  due: number;
  joined: string | null;
  left: string | null;
}

/** The events of the `admin` channel: which channels there are, and who is in them. */
export class Administration {
  readonly #channels: ReadonlyMap<string, Channel>;
  readonly #announce: Announce;
  /** By name: a channel that closes and opens again is still the same to those who read. */
  readonly #turns = new Map<string, Turn>();
  #timer: Timer | null = null;
  #names: string | null = null;
  /** The channels that `#names` names. */
  #listed: ReadonlySet<string> = new Set();

  constructor(channels: ReadonlyMap<string, Channel>, announce: Announce) {
    this.#channels = channels;
    this.#announce = announce;
  }

  opened(channel: Channel): void {
    if (this.#channels.size <= MAX_NAMES) this.#names = null;
    this.#announce("channel.add", this.#withNames(channel));
  }

  /** What waits for its turn is not told any more: that the channel is gone says it. */
  closed(channel: Channel): void {
    const turn = this.#turns.get(channel.name);
    if (turn !== undefined) {
      turn.joined = null;
      turn.left = null;
    }
    if (this.#listed.has(channel.name)) this.#names = null;
    this.#announce("channel.remove", this.#withNames(channel));
  }

  joined(member: Member): void {
    const turn = this.#turn(member.channel);
    turn.joined = member.agent;
    this.#take(turn);
  }

  left(member: Member): void {
    const turn = this.#turn(member.channel);
    turn.left = member.agent;
    this.#take(turn);
  }

  /** The payload of `channel.list` for one channel. */
  list(channel: Channel): string {
    return `{"channel":${JSON.stringify(channel.name)},"agents":${agents(channel)}}`;
  }

  /** Tells what still waits for its turn. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const turn of this.#turns.values()) this.#flush(turn);
  }

  #turn(channel: Channel): Turn {
    const turn = this.#turns.get(channel.name) ?? { channel, due: 0, joined: null, left: null };
    turn.channel = channel;
    this.#turns.set(channel.name, turn);
    return turn;
  }

  /** Speaks now if the channel's last event is long enough ago, else when it is. */
  #take(turn: Turn): void {
    if (turn.due <= performance.now()) this.#flush(turn);
    this.#timer ??= setTimeout(() => this.#next(), PAUSE);
  }

  #next(): void {
    this.#timer = null;
    const now = performance.now();
    for (const [name, turn] of this.#turns) {
      if (turn.due > now) continue;
      if (turn.joined === null && turn.left === null) this.#turns.delete(name);
      else this.#flush(turn);
    }
    if (this.#turns.size > 0) this.#timer = setTimeout(() => this.#next(), PAUSE);
  }

  #flush(turn: Turn): void {
    const { channel, joined, left } = turn;
    turn.joined = null;
    turn.left = null;
    if (joined === null && left === null) return;
    const both = joined !== null && left !== null;
    turn.due = performance.now() + (both ? 2 * PAUSE : PAUSE);
    const list = `"channel":${JSON.stringify(channel.name)},"agents":${agents(channel)}}`;
    if (joined !== null) this.#announce("channel.join", `{"agent":${JSON.stringify(joined)},${list}`);
    if (left !== null) this.#announce("channel.leave", `{"agent":${JSON.stringify(left)},${list}`);
  }

  #listNames(): string {
    const names: string[] = [];
    for (const name of this.#channels.keys()) {
      if (names.length === MAX_NAMES) break;
      names.push(name);
    }
    this.#listed = new Set(names);
    return JSON.stringify(names);
  }

  #withNames(channel: Channel): string {
    const total = this.#channels.size;
    this.#names ??= this.#listNames();
    const cut = total > MAX_NAMES ? `,"total":${total}` : "";
    return `{"channel":${JSON.stringify(channel.name)},"channels":${this.#names}${cut}}`;
  }
}

function agents(channel: Channel): string {
  let text = "";
  for (const member of channel.members) text += `${text === "" ? "[" : ","}${JSON.stringify(member.agent)}`;
  return text === "" ? "[]" : `${text}]`;
}
