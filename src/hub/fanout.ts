import type { ConflatedClient, ConflatedFanout } from "./conflation/conflated-client.ts";
import { HeldFrame } from "./conflation/lag-queue.ts";
import type { Backlogged, Connections } from "./connections.ts";
import type { Publisher } from "./publisher.ts";

/** Bytes of messages, and ms, between two probes of the clients that may lag. */
const PROBE_BYTES = 64 * 1024;
const PROBE_INTERVAL = 1_000;

/** How a protocol puts a message into one wire format. */
export interface Encoder<M> {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** The frame that all subscribers get; `null` for a message that this format leaves out. */
  encode(message: M): string | Buffer | null;
  /** Set where messages are left out for a client that does not keep up (`slow = "latest"`). */
  readonly conflation?: Conflation<M> | null;
}

/** Which messages replace each other for a client that does not keep up. */
export interface Conflation<M> {
  /** Messages with the same key replace each other; `null`: never left out. */
  keyOf(message: M): string | null;
  /** The notice for a client that messages were left out; `null` where the protocol has none. */
  skipped(count: number): string | Buffer | null;
  /** Counts messages left out. */
  count(leftOut: number): void;
}

/** A client as a fanout sees it. */
export interface Subscriber {
  /** Subscribes to a Bun topic; `false` where the transport cannot, and gets each frame by `send` instead. */
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
  send(frame: string | Buffer): void;
  /** Its state in fanouts with a `conflation`; `null` where its transport gets every message. */
  readonly conflated?: ConflatedClient | null;
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
export class Fanout<M, E extends Encoder<M> = Encoder<M>> implements ConflatedFanout {
  readonly encoder: E;
  readonly #topic: string;
  readonly #context: FanoutContext;
  readonly #backlogged: Backlogged;
  #sockets = 0;
  /** Subscribers whose transport has no Bun topics; `null` without any. */
  #others: Set<Subscriber> | null = null;
  /** Subscribers, of both kinds, that may lag; `null` without a `conflation`. */
  #keepingUp: Set<ConflatedClient> | null = null;
  /** Subscribers, of neither kind, that lag. */
  #lagging: Set<ConflatedClient> | null = null;
  /** Subscribers that are left out of what is delivered in this turn; `null` without any so far. */
  #paused: Set<Subscriber | ConflatedClient> | null = null;
  /** Bytes sent to `#keepingUp` since the last probe, and when that was. */
  #unprobed = 0;
  #probedAt = 0;

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
    return this.#sockets + (this.#others?.size ?? 0) + (this.#lagging?.size ?? 0);
  }

  get empty(): boolean {
    return this.listeners === 0 && !this.#paused?.size;
  }

  /** Adds a subscriber that is not in it. */
  add(subscriber: Subscriber): void {
    const client = this.#conflated(subscriber);
    if (client === null) return this.#subscribe(subscriber);
    client.add(this);
    if (client.lagging) this.#lag(client);
    else this.attach(client);
  }

  /** Removes a subscriber that is in it. */
  remove(subscriber: Subscriber): void {
    const client = this.#conflated(subscriber);
    client?.remove(this);
    if (!this.#paused?.delete(client ?? subscriber)) this.#takeOut(subscriber, client);
  }

  /** Leaves out a subscriber of what is delivered until `resume`, which must be called in the same turn of the event loop. */
  pause(subscriber: Subscriber): void {
    const client = this.#conflated(subscriber);
    this.#takeOut(subscriber, client);
    this.#paused ??= new Set();
    this.#paused.add(client ?? subscriber);
  }

  /** Does nothing for a subscriber that was removed meanwhile. */
  resume(subscriber: Subscriber): void {
    const client = this.#conflated(subscriber);
    if (!this.#paused?.delete(client ?? subscriber)) return;
    if (client === null) this.#subscribe(subscriber);
    else if (client.lagging) this.#lag(client);
    else this.attach(client);
  }

  isPaused(subscriber: Subscriber): boolean {
    return this.#paused?.has(this.#conflated(subscriber) ?? subscriber) ?? false;
  }

  /** Sends a frame to one subscriber, behind the messages that wait for it. */
  sendTo(subscriber: Subscriber, frame: string | Buffer): void {
    const client = this.#lagging?.size ? this.#conflated(subscriber) : null;
    if (client !== null && this.#lagging?.has(client)) client.putOwn(this, frame);
    else subscriber.send(frame);
  }

  /** Sends what waits for a subscriber that will be removed, and added to another fanout of the channel. */
  flush(subscriber: Subscriber): void {
    if (this.#lagging?.size) this.#conflated(subscriber)?.flush(this);
  }

  detach(client: ConflatedClient): void {
    if (this.#paused?.has(client)) return;
    this.#leaveTopic(client);
    this.#lag(client);
  }

  attach(client: ConflatedClient): void {
    if (this.#paused?.has(client)) return;
    this.#lagging?.delete(client);
    this.#keepingUp ??= new Set();
    this.#keepingUp.add(client);
    this.#subscribe(client.transport);
  }

  skipped(count: number): string | Buffer | null {
    return this.encoder.conflation?.skipped(count) ?? null;
  }

  /** Encodes a message and sends it. Returns the number of subscribers it went to. */
  deliver(message: M): number {
    if (this.listeners === 0) return 0;
    const frame = this.encoder.encode(message);
    if (frame === null) return 0;
    return this.listeners - this.#send(frame, this.encoder.conflation?.keyOf(message) ?? null);
  }

  /** Sends a frame to all subscribers. */
  send(frame: string | Buffer): void {
    this.#send(frame, null);
  }

  /** @returns the number of messages left out for it */
  #send(frame: string | Buffer, key: string | null): number {
    const backlog = this.#sockets > 0 && this.#publish(frame);
    if (this.#others !== null) for (const subscriber of this.#others) subscriber.send(frame);
    const { conflation } = this.encoder;
    return conflation ? this.#conflate(frame, key, conflation, backlog) : 0;
  }

  /**
   * Bun drops a frame for a socket whose backlog is full and does not say which: then all are checked.
   * @returns whether a socket has a backlog
   */
  #publish(frame: string | Buffer): boolean {
    const { publisher, connections } = this.#context;
    if (connections.watching) connections.expect(frame.length * this.#sockets);
    const sent = publisher.publish(this.#topic, frame);
    if (sent === -1) connections.noticeBacklog();
    else if (sent === 0) connections.noticeDrop(this.#backlogged);
    return sent === -1;
  }

  /** Queues a frame for those that lag, then checks whether more do. Returns the number of messages left out. */
  #conflate(frame: string | Buffer, key: string | null, conflation: Conflation<M>, backlog: boolean): number {
    const { conflated } = this.#context.connections;
    let leftOut = 0;
    if (this.#lagging?.size) {
      const held = new HeldFrame(frame, conflated.held);
      // One that is sent to now may keep up again, and leaves the set.
      for (const client of this.#lagging) leftOut += client.put(this, key, held);
      if (leftOut > 0) conflation.count(leftOut);
    }
    this.#unprobed += frame.length;
    if (this.#unprobed >= PROBE_BYTES) this.#probe();
    if (backlog || this.#others?.size) conflated.backlogged(frame.length);
    return leftOut;
  }

  #probe(): void {
    const now = performance.now();
    if (now - this.#probedAt < PROBE_INTERVAL) return;
    this.#probedAt = now;
    this.#unprobed = 0;
    for (const client of this.#keepingUp ?? []) client.probe(now);
  }

  /** A client makes its state when it is first asked for it: only where messages may be left out. */
  #conflated(subscriber: Subscriber): ConflatedClient | null {
    return this.encoder.conflation ? (subscriber.conflated ?? null) : null;
  }

  #subscribe(subscriber: Subscriber): void {
    if (subscriber.subscribe(this.#topic)) {
      this.#sockets++;
      return;
    }
    this.#others ??= new Set();
    this.#others.add(subscriber);
  }

  #unsubscribe(subscriber: Subscriber): void {
    if (this.#others?.delete(subscriber)) return;
    this.#sockets--;
    subscriber.unsubscribe(this.#topic);
  }

  #takeOut(subscriber: Subscriber, client: ConflatedClient | null): void {
    if (client === null) this.#unsubscribe(subscriber);
    else if (!this.#lagging?.delete(client)) this.#leaveTopic(client);
  }

  #leaveTopic(client: ConflatedClient): void {
    this.#keepingUp?.delete(client);
    this.#unsubscribe(client.transport);
  }

  #lag(client: ConflatedClient): void {
    this.#lagging ??= new Set();
    this.#lagging.add(client);
  }
}
