import { globMatches } from "./glob.ts";

/** What is published. Both buffers are good until all subscribers have heard it. */
export interface Message {
  readonly name: Buffer;
  readonly payload: Buffer;
  /** What subscribers made of it for the wire, for the next one to use again. */
  readonly frames: Map<string, Buffer>;
}

/** One who subscribes at the embedded bus. */
export interface Subscriber {
  /** A message on a name that it subscribed to, or, with `pattern`, on one that its pattern matches. */
  hear(message: Message, pattern: Buffer | null): void;
}

interface Topic {
  readonly text: Buffer;
  readonly subscribers: Set<Subscriber>;
}

/** Names are bytes, which need not be UTF-8: as keys they are read as Latin-1, one character a byte. */
type Key = string;

/** Who hears what: channels by name and by pattern, with Redis' rules. */
export class Subscriptions {
  readonly #channels = new Map<Key, Topic>();
  readonly #patterns = new Map<Key, Topic>();

  /** False where it is subscribed already. */
  add(subscriber: Subscriber, name: Buffer, isPattern: boolean): boolean {
    const topics = isPattern ? this.#patterns : this.#channels;
    const key = keyOf(name);
    let topic = topics.get(key);
    if (topic === undefined) {
      // Copied: what arrived is part of a larger buffer, which would live as long as the subscription.
      topic = { text: Buffer.from(name), subscribers: new Set() };
      topics.set(key, topic);
    }
    if (topic.subscribers.has(subscriber)) return false;
    topic.subscribers.add(subscriber);
    return true;
  }

  remove(subscriber: Subscriber, name: Buffer, isPattern: boolean): void {
    const topics = isPattern ? this.#patterns : this.#channels;
    const key = keyOf(name);
    const topic = topics.get(key);
    if (topic?.subscribers.delete(subscriber) && topic.subscribers.size === 0) topics.delete(key);
  }

  /** Tells all who subscribed, in Redis' order: those by name, then those by pattern, each match once. Gives their number. */
  publish(name: Buffer, payload: Buffer): number {
    const message: Message = { name, payload, frames: new Map() };
    let heard = 0;
    for (const subscriber of this.#channels.get(keyOf(name))?.subscribers ?? []) {
      subscriber.hear(message, null);
      heard++;
    }
    for (const { text, subscribers } of this.#patterns.values()) {
      if (!globMatches(text, name)) continue;
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
    return pattern === null ? all : all.filter((text) => globMatches(pattern, text));
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

export function keyOf(name: Buffer): Key {
  return name.toString("latin1");
}
