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
  readonly #name: string;
  /** The sockets in each topic. */
  #sizes: number[] = [0];
  /** The topic of each socket that is not in the first one; `null` while there is one topic. */
  #places: Map<TopicSubscriber, number> | null = null;

  /** @param name the first topic; begins with a letter */
  constructor(name: string) {
    this.#name = name;
  }

  get several(): boolean {
    return this.#sizes.length > 1;
  }

  /** Indices of the topics that have sockets, ascending. */
  get used(): number[] {
    return [...this.#sizes.keys()].filter((index) => this.sizeOf(index) > 0);
  }

  sizeOf(index: number): number {
    return this.#sizes[index] ?? 0;
  }

  topicOf(index: number): string {
    return index === 0 ? this.#name : `${index}\u0000${this.#name}`;
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
    if (!this.several && this.sizeOf(0) < MAX_SOCKETS && closed.length === 0) return 0;
    const found = this.#sizes.findIndex((size, index) => size < MAX_SOCKETS && !closed.includes(index));
    return found < 0 ? this.#sizes.length : found;
  }
}
