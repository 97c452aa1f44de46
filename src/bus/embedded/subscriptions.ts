import { compileGlob, type Glob } from "./glob.ts";

/** What is published. Both buffers are good until all subscribers have heard it. */
export interface Message {
  readonly name: Buffer;
  readonly payload: Buffer;
  /** What subscribers made of it for the wire, for the next one to use again. */
  readonly frames: Map<string, Buffer>;
  /** The payload and what ends it, in memory of its own, once a subscriber made it: all share it. */
  tail: Buffer | null;
}

/** One who subscribes at the embedded bus. */
export interface Subscriber {
  /** A message on a name that it subscribed to, or, with `pattern`, on one that its pattern matches. */
  hear(message: Message, pattern: Buffer | null): void;
}

interface Topic {
  readonly text: Buffer;
  readonly subscribers: Set<Subscriber>;
  /** `null` for a channel. */
  readonly glob: Glob | null;
}

/** Why there can't be one more subscription: a sentence for the one who asked. */
export class SubscriptionRefusal {
  readonly sentence: string;

  constructor(sentence: string) {
    this.sentence = sentence;
  }
}

/** Bytes of a channel's name or a pattern. The longest name that the hub knows has 516. */
export const MAX_SUBSCRIBED_NAME = 1024;
/** Different patterns, of all subscribers: each is looked at for each message. */
const MAX_PATTERNS = 1000;
/** Bytes of all of them in units of 32, each begun one counted: the time that one message takes is in proportion. */
const MAX_PATTERN_UNITS = 4096;
/** Bytes that all subscriptions together may hold. */
const MAX_COST = 16 * 1024 * 1024;

// Made once: a client may be refused a million times a second.
const NAME_TOO_LONG = new SubscriptionRefusal(`a name of more than ${MAX_SUBSCRIBED_NAME} bytes`);
const TOO_MANY = new SubscriptionRefusal("too many subscriptions of all clients");
const TOO_MANY_PATTERNS = new SubscriptionRefusal(`more than ${MAX_PATTERNS} patterns of all clients`);
const TOO_LONG_PATTERNS = new SubscriptionRefusal("too many long patterns of all clients");

/** About what a subscription holds in memory, in bytes. */
export function costOf(name: Buffer, isPattern: boolean): number {
  return isPattern ? 1000 + 40 * name.length : 400 + 4 * name.length;
}

/** Names are bytes, which need not be UTF-8: as keys they are read as Latin-1, one character a byte. */
type Key = string;

/** Who hears what: channels by name and by pattern, with Redis' rules. */
export class Subscriptions {
  readonly #channels = new Map<Key, Topic>();
  readonly #patterns = new Map<Key, Topic>();
  #cost = 0;
  #patternUnits = 0;

  /** The name in memory that may be kept, or `null` where it is subscribed already. */
  add(subscriber: Subscriber, name: Buffer, isPattern: boolean): Buffer | SubscriptionRefusal | null {
    const topics = isPattern ? this.#patterns : this.#channels;
    const key = keyOf(name);
    let topic = topics.get(key);
    if (topic?.subscribers.has(subscriber)) return null;
    if (name.length > MAX_SUBSCRIBED_NAME) {
      return NAME_TOO_LONG;
    }
    const cost = costOf(name, isPattern);
    if (this.#cost + cost > MAX_COST) return TOO_MANY;
    if (topic === undefined) {
      if (isPattern && topics.size >= MAX_PATTERNS) {
        return TOO_MANY_PATTERNS;
      }
      if (isPattern && this.#patternUnits + unitsOf(name) > MAX_PATTERN_UNITS) {
        return TOO_LONG_PATTERNS;
      }
      if (isPattern) this.#patternUnits += unitsOf(name);
      // Copied: what arrived is part of a larger buffer, which would live as long as the subscription.
      const glob = isPattern ? compileGlob(name) : null;
      topic = { text: Buffer.from(name), subscribers: new Set(), glob };
      topics.set(key, topic);
    }
    topic.subscribers.add(subscriber);
    this.#cost += cost;
    return topic.text;
  }

  remove(subscriber: Subscriber, name: Buffer, isPattern: boolean): void {
    const topics = isPattern ? this.#patterns : this.#channels;
    const key = keyOf(name);
    const topic = topics.get(key);
    if (topic === undefined || !topic.subscribers.delete(subscriber)) return;
    this.#cost -= costOf(name, isPattern);
    if (topic.subscribers.size > 0) return;
    topics.delete(key);
    if (isPattern) this.#patternUnits -= unitsOf(name);
  }

  /** Tells all who subscribed, in Redis' order: those by name, then those by pattern, each match once. Gives their number. */
  publish(name: Buffer, payload: Buffer): number {
    const message: Message = { name, payload, frames: new Map(), tail: null };
    let heard = 0;
    for (const subscriber of this.#channels.get(keyOf(name))?.subscribers ?? []) {
      subscriber.hear(message, null);
      heard++;
    }
    for (const { text, subscribers, glob } of this.#patterns.values()) {
      if (glob?.matches(name) !== true) continue;
      for (const subscriber of subscribers) {
        subscriber.hear(message, text);
        heard++;
      }
    }
    return heard;
  }

  /** Channels with a subscriber by name, those that match `pattern` only. */
  channels(pattern: Buffer | null): Buffer[] {
    const all = [...this.#channels.values()].map(({ text }) => text);
    if (pattern === null) return all;
    const glob = compileGlob(pattern);
    return all.filter((text) => glob.matches(text));
  }

  /** Subscribers by name of one channel. */
  count(name: Buffer): number {
    return this.#channels.get(keyOf(name))?.subscribers.size ?? 0;
  }

  /** Different patterns subscribed to. */
  get patterns(): number {
    return this.#patterns.size;
  }
}

function unitsOf(pattern: Buffer): number {
  return Math.floor(pattern.length / 32) + 1;
}

export function keyOf(name: Buffer): Key {
  return name.toString("latin1");
}
