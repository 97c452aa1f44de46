import type { Backlogged, Connections } from "./connections.ts";
import type { Publisher } from "./publisher.ts";

/** How a protocol puts a message into one wire format. */
export interface Encoder<M> {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** The frame that all subscribers get; `null` for a message that this format leaves out. */
  encode(message: M): string | Buffer | null;
}

/** A client as a fanout sees it. */
export interface Subscriber {
  /** Subscribes to a Bun topic; `false` where the transport cannot, and gets each frame by `send` instead. */
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
  send(frame: string | Buffer): void;
}

/** What the fanouts of a server share. */
export interface FanoutContext {
  readonly publisher: Publisher;
  readonly connections: Connections;
}

/**
 * The subscribers of one channel (or of one of its events) that share a wire format. A message is encoded once, and only
 * while there are subscribers; Bun copies it to the sockets of one topic, other transports get it by `send`.
 */
export class Fanout<M, E extends Encoder<M> = Encoder<M>> {
  readonly encoder: E;
  readonly #topic: string;
  readonly #context: FanoutContext;
  readonly #backlogged: Backlogged;
  #sockets = 0;
  /** Subscribers whose transport has no Bun topics; `null` without any. */
  #others: Set<Subscriber> | null = null;

  /**
   * @param topic the Bun topic, unique in the server
   * @param backlogged checks at least the subscribers of this fanout when Bun dropped a frame
   */
  constructor(topic: string, encoder: E, backlogged: Backlogged, context: FanoutContext) {
    this.#topic = topic;
    this.encoder = encoder;
    this.#backlogged = backlogged;
    this.#context = context;
  }

  get protocol(): string {
    return this.encoder.protocol;
  }

  /** The number of subscribers. */
  get listeners(): number {
    return this.#sockets + (this.#others?.size ?? 0);
  }

  get empty(): boolean {
    return this.listeners === 0;
  }

  /** Adds a subscriber that is not in it. */
  add(subscriber: Subscriber): void {
    if (subscriber.subscribe(this.#topic)) {
      this.#sockets++;
      return;
    }
    this.#others ??= new Set();
    this.#others.add(subscriber);
  }

  /** Removes a subscriber that is in it. */
  remove(subscriber: Subscriber): void {
    if (this.#others?.delete(subscriber)) return;
    this.#sockets--;
    subscriber.unsubscribe(this.#topic);
  }

  /** Encodes a message and sends it. Returns the number of subscribers it went to. */
  deliver(message: M): number {
    if (this.empty) return 0;
    const frame = this.encoder.encode(message);
    if (frame === null) return 0;
    this.send(frame);
    return this.listeners;
  }

  /** Sends a frame to all subscribers. */
  send(frame: string | Buffer): void {
    if (this.#sockets > 0) this.#publish(frame);
    if (this.#others !== null) for (const subscriber of this.#others) subscriber.send(frame);
  }

  /** Bun drops a frame for a socket whose backlog is full and does not say which: then all are checked. */
  #publish(frame: string | Buffer): void {
    const { publisher, connections } = this.#context;
    if (connections.watching) connections.expect(frame.length * this.#sockets);
    const sent = publisher.publish(this.#topic, frame);
    if (sent === -1) connections.noticeBacklog();
    else if (sent === 0) connections.noticeDrop(this.#backlogged);
  }
}
