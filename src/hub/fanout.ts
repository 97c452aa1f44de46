import type { ConflatedClient, ConflatedFanout } from "./conflation/conflated-client.ts";
import { HeldFrame } from "./conflation/lag-queue.ts";
import type { Backlogged, Connections } from "./connections.ts";
import { FanoutTopics } from "./fanout-topics.ts";
import type { Publisher } from "./publisher.ts";

/** Bytes of messages, and ms, between two probes of the clients that may lag. */
const PROBE_BYTES = 64 * 1024;
const PROBE_INTERVAL = 1_000;

/** Sockets from which every message is gradual: to write to more in one turn of the event loop would delay other channels. */
const LARGE = 2_000;

/**
 * What is published of gradual messages in one turn of the event loop, in bytes: some 10 ms. A write to a socket counts as
 * `WRITE_OVERHEAD` bytes more.
 */
const TURN_BYTES = 8 * 1024 * 1024;
const WRITE_OVERHEAD = 8 * 1024;

/** Frames that may wait for one topic, and their bytes. With more all are published at once: messages come faster than they can be written. */
const MAX_WAITING = 100;
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/** How a protocol puts a message into one wire format. */
export interface Encoder<M> {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** The frame that all subscribers get; `null` for a message that this format leaves out. */
  encode(message: M): string | Buffer | null;
  /**
   * Whether a message may reach some subscribers a few turns of the event loop after others, however few there are. Default: no, as
   * with a `conflation`.
   */
  isGradual?(message: M): boolean;
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

/** Frames that wait to be published, oldest first, by the index of their topic; the topic that is next comes first. */
type Waiting = Map<number, (string | Buffer)[]>;

/** What the fanouts of a server share. */
export interface FanoutContext {
  readonly publisher: Publisher;
  readonly connections: Connections;
}

/**
 * The subscribers of one channel (or of one of its events) that share a wire format. A message is encoded once, and only
 * while there are subscribers; Bun copies it to the sockets of its topics, other transports get it by `send`.
 */
export class Fanout<M, E extends Encoder<M> = Encoder<M>> implements ConflatedFanout {
  readonly encoder: E;
  readonly #topics: FanoutTopics;
  readonly #context: FanoutContext;
  readonly #backlogged: Backlogged;
  /** `null` without any. All else that is sent to its subscribers comes after them. */
  #waiting: Waiting | null = null;
  #waitingBytes = 0;
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
   * @param topic the first Bun topic, unique in the server; begins with a letter
   * @param backlogged checks at least the subscribers of this fanout when Bun dropped a frame
   */
  constructor(topic: string, encoder: E, backlogged: Backlogged, context: FanoutContext) {
    this.#topics = new FanoutTopics(topic, Boolean(encoder.conflation));
    this.encoder = encoder;
    this.#backlogged = backlogged;
    this.#context = context;
  }

  get protocol(): string {
    return this.encoder.protocol;
  }

  /** The number of subscribers. */
  get listeners(): number {
    return this.#topics.sockets + (this.#others?.size ?? 0) + (this.#lagging?.size ?? 0);
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
    // A fanout of the same topic may be made from now on.
    if (this.empty) this.#waiting = null;
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
    this.#publishTo(subscriber);
    const client = this.#lagging?.size ? this.#conflated(subscriber) : null;
    if (client !== null && this.#lagging?.has(client)) client.putOwn(this, frame);
    else subscriber.send(frame);
  }

  /** Sends what waits for a subscriber. */
  flush(subscriber: Subscriber): void {
    this.#publishTo(subscriber);
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
    const { conflation } = this.encoder;
    const { count, sockets } = this.#topics;
    const gradual =
      count > 1 && !conflation && (sockets >= LARGE || this.encoder.isGradual?.(message) === true);
    return this.listeners - this.#send(frame, conflation?.keyOf(message) ?? null, gradual);
  }

  /** Sends a frame to all subscribers. */
  send(frame: string | Buffer): void {
    this.#send(frame, null);
  }

  /** @returns the number of messages left out for it */
  #send(frame: string | Buffer, key: string | null, gradual = false): number {
    if (gradual) this.#publishGradually(frame);
    else this.#publishWaiting();
    const backlog = !gradual && this.#publishAll(frame);
    if (this.#others !== null) for (const subscriber of this.#others) subscriber.send(frame);
    const { conflation } = this.encoder;
    return conflation ? this.#conflate(frame, key, conflation, backlog) : 0;
  }

  /** @returns whether a socket has a backlog */
  #publishAll(frame: string | Buffer): boolean {
    let backlog = false;
    for (let index = 0; index < this.#topics.count; index++) {
      if (this.#publish(frame, index)) backlog = true;
    }
    return backlog;
  }

  /** Publishes a frame in the next turns of the event loop, behind those that wait. */
  #publishGradually(frame: string | Buffer): void {
    if (this.#waiting === null) {
      const waiting: Waiting = new Map();
      this.#waiting = waiting;
      this.#waitingBytes = 0;
      setImmediate(() => this.#publishSome(waiting));
    }
    let most = 0;
    for (const index of this.#topics.used) {
      const frames = this.#waiting.get(index);
      if (frames === undefined) this.#waiting.set(index, [frame]);
      else most = Math.max(most, frames.push(frame));
    }
    this.#waitingBytes += frame.length;
    if (most > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES) this.#publishWaiting();
  }

  /** Publishes to as many topics as one turn allows, and to the others in the next ones. */
  #publishSome(waiting: Waiting): void {
    // All were published meanwhile.
    if (this.#waiting !== waiting) return;
    let bytes = 0;
    for (const [index, frames] of waiting) {
      while (frames.length > 0) {
        if (bytes >= TURN_BYTES) {
          setImmediate(() => this.#publishSome(waiting));
          return;
        }
        const frame = frames.shift() ?? "";
        this.#publish(frame, index);
        bytes += this.#topics.sizeOf(index) * (frame.length + WRITE_OVERHEAD);
      }
      waiting.delete(index);
    }
    this.#waiting = null;
  }

  /** Publishes all frames that wait. */
  #publishWaiting(): void {
    if (this.#waiting === null) return;
    for (const index of this.#waiting.keys()) this.#publishTopic(this.#waiting, index);
    this.#waiting = null;
  }

  /** Publishes what waits for a subscriber, and for the others of its topic. */
  #publishTo(subscriber: Subscriber): void {
    if (this.#waiting !== null) this.#publishTopic(this.#waiting, this.#topics.indexOf(subscriber));
  }

  /** Publishes what waits for a topic. */
  #publishTopic(waiting: Waiting, index: number): void {
    const frames = waiting.get(index);
    if (frames === undefined) return;
    waiting.delete(index);
    for (const frame of frames) this.#publish(frame, index);
  }

  /**
   * Bun drops a frame for a socket whose backlog is full and does not say which: then all are checked.
   * @returns whether a socket has a backlog
   */
  #publish(frame: string | Buffer, index: number): boolean {
    const { publisher, connections } = this.#context;
    const sockets = this.#topics.sizeOf(index);
    if (sockets === 0) return false;
    if (connections.watching) connections.expect(frame.length * sockets);
    const sent = publisher.publish(this.#topics.topicOf(index), frame);
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
    // Not to a topic for which frames of before wait.
    if (this.#topics.add(subscriber, this.#waiting)) return;
    this.#others ??= new Set();
    this.#others.add(subscriber);
  }

  #unsubscribe(subscriber: Subscriber): void {
    if (this.#others?.delete(subscriber)) return;
    this.#publishTo(subscriber);
    this.#topics.remove(subscriber);
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
