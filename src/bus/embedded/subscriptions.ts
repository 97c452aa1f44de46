import { compileGlob, type Glob } from "./glob.ts";

/** A published message. Both buffers are valid until all subscribers have received it. */
export interface Message {
  readonly name: Buffer;
  readonly payload: Buffer;
  /** Encoded frames, shared by subscribers with the same protocol version and pattern. */
  readonly frames: Map<string, Buffer>;
  /** A copy of the payload with its line end, made once and shared by all subscribers. */
  tail: Buffer | null;
}

/** A subscriber of the embedded bus. */
export interface Subscriber {
  /** A message on a subscribed name, or, with `pattern`, on a name that matches it. */
  receive(message: Message, pattern: Buffer | null): void;
}

interface Topic {
  readonly text: Buffer;
  readonly subscribers: Set<Subscriber>;
  /** `null` for a channel. */
  readonly glob: Glob | null;
}

/** Why a subscription is refused, as a sentence for the client. */
export class SubscriptionRefusal {
  readonly sentence: string;

  constructor(sentence: string) {
    this.sentence = sentence;
  }
}

/** Longest name or pattern, in bytes. The longest name of the hub has 516 without the prefix. */
export const MAX_SUBSCRIBED_NAME = 1024;
/** Different patterns of all subscribers: each is matched against each message. */
const MAX_PATTERNS = 1000;
/** Total length of the patterns, in units of 32 bytes, rounded up: the time of a message is proportional to it. */
const MAX_PATTERN_UNITS = 4096;
/** Memory of all subscriptions, in bytes. */
const MAX_COST = 16 * 1024 * 1024;

// Created once: a client may be refused a million times a second.
const NAME_TOO_LONG = new SubscriptionRefusal(`a name of more than ${MAX_SUBSCRIBED_NAME} bytes`);
const TOO_MANY = new SubscriptionRefusal("too many subscriptions of all clients");
const TOO_MANY_PATTERNS = new SubscriptionRefusal(`more than ${MAX_PATTERNS} patterns of all clients`);
const TOO_LONG_PATTERNS = new SubscriptionRefusal("too many long patterns of all clients");

/** Estimated memory of a subscription, in bytes. */
export function costOf(name: Buffer, isPattern: boolean): number {
  return isPattern ? 1000 + 40 * name.length : 400 + 4 * name.length;
}

/** A name as latin1 text: names are bytes and need not be UTF-8. */
type Key = string;

/** The subscriptions by name and by pattern, with the rules of Redis. */
export class Subscriptions {
  readonly #channels = new Map<Key, Topic>();
  readonly #patterns = new Map<Key, Topic>();
  #cost = 0;
  #patternUnits = 0;

  /** Returns a copy of the name that may be kept, or `null` if already subscribed. */
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
      // Copied: `name` is part of a larger buffer, which would live as long as the subscription.
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

  /** Delivers in the order of Redis: subscribers by name, then by pattern, each match once. Returns how many received it. */
  publish(name: Buffer, payload: Buffer): number {
    const message: Message = { name, payload, frames: new Map(), tail: null };
    let receivers = 0;
    for (const subscriber of this.#channels.get(keyOf(name))?.subscribers ?? []) {
      subscriber.receive(message, null);
      receivers++;
    }
    for (const { text, subscribers, glob } of this.#patterns.values()) {
      if (glob?.matches(name) !== true) continue;
      for (const subscriber of subscribers) {
        subscriber.receive(message, text);
        receivers++;
      }
    }
    return receivers;
  }

  /** Names with a subscriber by name; with a `pattern`, those that match it. */
  channels(pattern: Buffer | null): Buffer[] {
    const all = [...this.#channels.values()].map(({ text }) => text);
    if (pattern === null) return all;
    const glob = compileGlob(pattern);
    return all.filter((text) => glob.matches(text));
  }

  /** Number of subscribers by name. */
  count(name: Buffer): number {
    return this.#channels.get(keyOf(name))?.subscribers.size ?? 0;
  }

  /** Number of different patterns. */
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
