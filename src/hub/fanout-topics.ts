/** Sockets of one topic. A frame for more of them is published topic by topic, which may be in several turns of the event loop. */
const MAX_SOCKETS = 250;

interface TopicSubscriber {
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
}

/** The Bun topics of one fanout: one, and more where it has more than `MAX_SOCKETS` sockets. Each socket is in one of them. */
export class FanoutTopics {
  /** The sockets in all topics. */
  sockets = 0;
  readonly #names: string[];
  readonly #most: number;
  /** The sockets in each topic. */
  #sizes: number[] = [0];
  /** The topic of each socket that is not in the first one; `null` while there is one topic. */
  #places: Map<TopicSubscriber, number> | null = null;

  /**
   * @param name the first topic; begins with a letter
   * @param single whether there is only one: for messages that are not sent in several turns
   */
  constructor(name: string, single: boolean) {
    this.#most = single ? Number.POSITIVE_INFINITY : MAX_SOCKETS;
    this.#names = [name];
  }

  /** How many topics there are. */
  get count(): number {
    return this.#sizes.length;
  }

  /** Indices of the topics that have sockets, ascending. */
  get used(): number[] {
    return [...this.#sizes.keys()].filter((index) => this.sizeOf(index) > 0);
  }

  sizeOf(index: number): number {
    return this.#sizes[index] ?? 0;
  }

  topicOf(index: number): string {
    this.#names[index] ??= `${index}\u0000${this.#names[0]}`;
    return this.#names[index];
  }

  /**
   * Adds a socket to the first topic with room that is not in `closed`. Returns false for a transport that has no topics.
   */
  add(subscriber: TopicSubscriber, closed: readonly number[]): boolean {
    const index = this.#placeFor(closed);
    if (!subscriber.subscribe(this.topicOf(index))) return false;
    this.#sizes[index] = this.sizeOf(index) + 1;
    this.sockets++;
    if (index > 0) {
      this.#places ??= new Map();
      this.#places.set(subscriber, index);
    }
    return true;
  }

  /** Removes a socket that was added. */
  remove(subscriber: TopicSubscriber): void {
    const index = this.#places?.get(subscriber) ?? 0;
    this.#places?.delete(subscriber);
    this.#sizes[index] = this.sizeOf(index) - 1;
    this.sockets--;
    subscriber.unsubscribe(this.topicOf(index));
    if (this.sockets > 0) return;
    this.#sizes = [0];
    this.#places = null;
  }

  #placeFor(closed: readonly number[]): number {
    if (this.count === 1 && this.sizeOf(0) < this.#most && closed.length === 0) return 0;
    const found = this.#sizes.findIndex((size, index) => size < this.#most && !closed.includes(index));
    return found < 0 ? this.#sizes.length : found;
  }
}
