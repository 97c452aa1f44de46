/** Sockets of one topic. A frame for more of them is published topic by topic, which may be in several turns of the event loop. */
const MAX_SOCKETS = 250;

/** Of each topic, by its index. */
interface SeveralTopics {
  readonly sizes: number[];
  readonly names: string[];
  /** The topic of each socket that is not in the first one. */
  readonly places: Map<TopicSubscriber, number>;
}

interface TopicSubscriber {
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
}

/** The Bun topics of one fanout: one, and more where it has more than `MAX_SOCKETS` sockets. Each socket is in one of them. */
export class FanoutTopics {
  /** The sockets in all topics. */
  sockets = 0;
  readonly #name: string;
  readonly #most: number;
  /** `null` while there is one topic. */
  #several: SeveralTopics | null = null;

  /**
   * @param name the first topic; begins with a letter
   * @param single whether there is only one: for messages that are not sent in several turns
   */
  constructor(name: string, single: boolean) {
    this.#most = single ? Number.POSITIVE_INFINITY : MAX_SOCKETS;
    this.#name = name;
  }

  /** How many topics there are. */
  get count(): number {
    return this.#several?.sizes.length ?? 1;
  }

  /** Indices of the topics that have sockets, ascending. */
  get used(): number[] {
    return Array.from({ length: this.count }, (_, index) => index).filter((index) => this.sizeOf(index) > 0);
  }

  sizeOf(index: number): number {
    if (this.#several !== null) return this.#several.sizes[index] ?? 0;
    return index === 0 ? this.sockets : 0;
  }

  /** The index of the topic of a socket that was added. */
  indexOf(subscriber: TopicSubscriber): number {
    return this.#several?.places.get(subscriber) ?? 0;
  }

  topicOf(index: number): string {
    if (index === 0) return this.#name;
    const topic = this.#several?.names[index] ?? `${index}\u0000${this.#name}`;
    if (this.#several !== null) this.#several.names[index] = topic;
    return topic;
  }

  /**
   * Adds a socket to the first topic with room whose index is not in `closed`. Returns false for a transport that has no topics.
   */
  add(subscriber: TopicSubscriber, closed: ReadonlyMap<number, unknown> | null): boolean {
    const index = this.#placeFor(closed);
    if (!subscriber.subscribe(this.topicOf(index))) return false;
    if (index > 0) this.#several ??= { sizes: [this.sockets], names: [this.#name], places: new Map() };
    this.sockets++;
    if (this.#several === null) return true;
    this.#several.sizes[index] = this.sizeOf(index) + 1;
    if (index > 0) this.#several.places.set(subscriber, index);
    return true;
  }

  /** Removes a socket that was added. */
  remove(subscriber: TopicSubscriber): void {
    const index = this.indexOf(subscriber);
    if (this.#several !== null) {
      const { sizes, places } = this.#several;
      places.delete(subscriber);
      sizes[index] = this.sizeOf(index) - 1;
    }
    subscriber.unsubscribe(this.topicOf(index));
    this.sockets--;
    if (this.sockets === 0) this.#several = null;
  }

  #placeFor(closed: ReadonlyMap<number, unknown> | null): number {
    if (this.#several === null && this.sockets < this.#most && closed === null) return 0;
    for (let index = 0; index < this.count; index++) {
      if (this.sizeOf(index) < this.#most && !closed?.has(index)) return index;
    }
    return this.count;
  }
}
