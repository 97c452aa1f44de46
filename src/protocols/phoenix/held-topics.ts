import type { Client } from "../../transports/client.ts";
import type { Frame } from "./phoenix-codec.ts";
import type { Recoveries, WaitingJoin } from "./recoveries.ts";

/** How long a join waits for a position that another server received first, in ms. */
const WAIT = 1000;

/** Bytes of later frames that may wait behind such joins, besides one frame of the largest size. */
const MAX_HELD = 64 * 1024;

/** What a session does with the frames of a topic. */
export interface FrameHandler {
  readonly client: Client;
  /** Handles a frame that is not held back. */
  handle(frame: Frame): void;
  /** Whether the position that a join names is not known yet. */
  isStillAhead(join: Frame): boolean;
  /** Whether messages that a join asks for are being read. Ends by itself. */
  isStillLoading(join: Frame): boolean;
}

/** One topic whose frames are held back. */
class HeldTopic implements WaitingJoin {
  readonly topic: string;
  /** The join that waits or is being handled; `null` once it was answered. */
  join: Frame | null = null;
  /** When it is handled at the latest (`performance.now()`); 0: it has not waited for a position. */
  until = 0;
  waits = true;
  readonly frames: Frame[] = [];
  readonly #topics: HeldTopics;

  constructor(topics: HeldTopics, topic: string) {
    this.#topics = topics;
    this.topic = topic;
  }

  resume(now: number): boolean {
    return this.#topics.resume(this, now);
  }
}

/**
 * The topics of one client whose join waits for a position, for messages that are read, or for the application. Later frames of
 * these topics are handled after it, in order.
 */
export class HeldTopics {
  readonly #handler: FrameHandler;
  readonly #recoveries: Recoveries;
  readonly #topics = new Map<string, HeldTopic>();
  #bytes = 0;

  constructor(handler: FrameHandler, recoveries: Recoveries) {
    this.#handler = handler;
    this.#recoveries = recoveries;
  }

  get size(): number {
    return this.#topics.size;
  }

  /** Holds back a join, to be handled again within `WAIT`. Returns false if it has waited already. */
  wait(join: Frame): boolean {
    const held = this.#topics.get(join.topic);
    if (held?.join === join && held.until > 0) return false;
    const topic = held ?? new HeldTopic(this, join.topic);
    topic.join = join;
    topic.until = performance.now() + WAIT;
    topic.waits = true;
    this.#topics.set(join.topic, topic);
    this.#recoveries.wait(topic);
    return true;
  }

  /** Holds back a join until `decided` is called. The client is dismissed if too much of it is held back. */
  suspend(join: Frame): void {
    const held = this.#topics.get(join.topic) ?? new HeldTopic(this, join.topic);
    if (held.join !== join) held.until = 0;
    held.join = join;
    held.waits = true;
    this.#topics.set(join.topic, held);
    this.#count(sizeOf(join));
    this.#checkSize();
  }

  /** A suspended join is to be handled. Returns false if it is no longer held back: its client is gone. */
  decided(join: Frame): boolean {
    const held = this.#topics.get(join.topic);
    if (held?.join !== join) return false;
    held.waits = false;
    this.#count(-sizeOf(join));
    return true;
  }

  /** Holds back a frame if its topic is held. Returns whether it did. */
  hold(frame: Frame): boolean {
    const held = this.#topics.get(frame.topic);
    if (held === undefined) return false;
    held.frames.push(frame);
    this.#count(sizeOf(frame));
    this.#checkSize();
    return true;
  }

  /** A join was answered. Its topic's held frames are handled, if it has waited. */
  answered(join: Frame): void {
    const held = this.#topics.get(join.topic);
    if (held === undefined || held.join !== join || held.waits) return;
    held.join = null;
    this.#handleNext(held);
  }

  resume(held: HeldTopic, now: number): boolean {
    const { join } = held;
    if (join === null) return true;
    // A frame of another topic is being verified.
    if (this.#handler.client.pending !== null) return false;
    if (this.#handler.isStillLoading(join)) return false;
    if (now < held.until && this.#handler.isStillAhead(join)) return false;
    held.waits = false;
    this.#handler.handle(join);
    return true;
  }

  /** Forgets all. */
  clear(): void {
    for (const held of this.#topics.values()) this.#recoveries.stopWaiting(held);
    this.#topics.clear();
    this.#count(-this.#bytes);
  }

  #checkSize(): void {
    const { client } = this.#handler;
    if (this.#bytes > client.context.maxFrame + MAX_HELD) client.dismiss(1008, "too much sent while joining");
  }

  #handleNext(held: HeldTopic): void {
    const { client } = this.#handler;
    while (held.join === null && client.open) {
      const { pending } = client;
      if (pending !== null) {
        void pending.then(() => this.#handleNext(held));
        return;
      }
      const frame = held.frames.shift();
      if (frame === undefined) {
        this.#topics.delete(held.topic);
        return;
      }
      this.#count(-sizeOf(frame));
      this.#handler.handle(frame);
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    const { inbound } = this.#handler.client.context;
    if (bytes > 0) inbound.add(bytes);
    else inbound.remove(-bytes);
  }
}

function sizeOf({ payload, topic, event }: Frame): number {
  return payload.length + topic.length + event.length;
}
