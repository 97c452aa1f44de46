import type { ConflatedClient } from "../hub/conflation/conflated-client.ts";
import { Client } from "./client.ts";
import type { ConnectionContext } from "./connection-context.ts";
import { Delivery } from "./delivery.ts";

/** How a poll ends: with messages, without any, or because the session is over. */
export type PollResult = Delivery | "empty" | "closed";

/** How long a closed session may fetch its backlog, in ms. */
const CLOSE_TIMEOUT = 1000;

/** Approximate size of one answer in UTF-16 units: a broken connection repeats all of it. */
const MAX_ANSWER = 8 * 1024 * 1024;

/** Frames of one POST handled per turn of the event loop. */
const FRAMES_PER_TURN = 500;

/** Repeated answers that are remembered. */
const MAX_REPEATED = 16;

export interface LongPollOptions {
  /** How long a poll waits for its first message, in ms. */
  readonly wait: number;
  /** How long a poll that is about to end collects further messages, in ms. 0: those of this turn of the event loop. */
  readonly collect: number;
  /**
   * Whether messages are kept between polls and until they arrived. Otherwise those sent while no poll waits are dropped, as
   * are those of an answer that broke: the protocol repeats them.
   */
  readonly keep: boolean;
  /**
   * Whether the first answer is repeated to a client that polls again without acknowledging it. Its first poll has nothing to
   * acknowledge yet, and browsers repeat a request whose connection broke.
   */
  readonly repeatsFirst?: () => boolean;
  /** Called when a poll ended and none replaced it. Returns what to call when its answer was written completely. */
  readonly onPollEnd?: () => () => void;
  /** Called once, when the session is over. */
  readonly onEnd?: () => void;
}

/** An answer whose messages are repeated in a later one, at its start. */
interface Repeated {
  readonly number: number;
  readonly count: number;
}

interface Poll {
  readonly answer: (result: PollResult) => void;
  readonly waitTimer: Timer;
  collectTimer: Timer | null;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A client that fetches its messages by HTTP requests. It cannot subscribe to Bun topics. */
export class LongPollClient extends Client {
  /** A client needs some time between two polls. */
  override readonly lagAfter = 1_000;
  readonly #options: LongPollOptions;
  #messages: string[] = [];
  /** Since when messages wait for a poll (`performance.now()`); `null` without any. */
  #messagesSince: number | null = null;
  /** The last fence: reached when nothing is queued and the last answer arrived. */
  #fence = 0;
  /** UTF-16 units of all messages, queued or in the last answer. */
  #size = 0;
  #poll: Poll | null = null;
  /** The last answer, as long as it may have to be repeated. */
  #delivery: Delivery | null = null;
  /** Earlier answers that the next answer repeats: any of them may still have arrived. */
  #repeated: Repeated[] = [];
  #number = 0;
  /** Whether the client of the current poll acknowledges answers. */
  #acknowledges = false;
  #polledAt = performance.now();
  #ending = false;
  #over = false;
  #posts: Promise<void> = Promise.resolve();

  constructor(context: ConnectionContext, id: string, address: string, options: LongPollOptions) {
    super(context, id, address);
    this.#options = options;
  }

  /** To be called once, when `session` is set. */
  start(): void {
    this.register();
  }

  get over(): boolean {
    return this.#over;
  }

  /** Since when no poll waits and no answer is being written (`performance.now()`); `null` while one is. */
  get unpolledSince(): number | null {
    return this.#poll === null && !this.#writing ? this.#polledAt : null;
  }

  /** The number of the last answer. */
  get number(): number {
    return this.#number;
  }

  /**
   * Resolves with the next messages, at the latest after the wait. A second poll ends the first without any.
   *
   * @param acknowledged the number of the last answer that arrived: later ones are repeated. `null` for a client that does
   *   not acknowledge: what was written counts as arrived.
   */
  poll(signal: AbortSignal, acknowledged: number | null): Promise<PollResult> {
    // The client may have polled again before this request was read, and read what this one asks for.
    if (signal.aborted) return Promise.resolve(this.#over ? "closed" : "empty");
    this.#seen();
    this.#answer("empty");
    this.#acknowledge(acknowledged);
    if (this.#over) return Promise.resolve("closed");
    return new Promise((answer) => {
      const waitTimer = setTimeout(() => this.#expire(poll), this.#options.wait);
      const poll: Poll = { answer, waitTimer, collectTimer: null };
      this.#poll = poll;
      signal.addEventListener("abort", () => this.#abort(poll), { once: true });
      if (this.#options.collect === 0) this.#flush();
      else if (this.#messages.length > 0) this.#collect(poll);
    });
  }

  /**
   * Handles the frames of one POST in order, after those of the POST before it, which may wait for a verification. Resolves
   * with whether all were handled; those of a dismissed client are ignored.
   */
  post(frames: Iterable<string | Buffer>): Promise<boolean> {
    const handled = this.#posts.then(() => this.#acceptAll(frames));
    this.#posts = handled.then(
      () => {},
      () => {},
    );
    return handled;
  }

  override subscribe(): boolean {
    return false;
  }

  /** Protocols whose messages are dropped between polls repeat them themselves. */
  override get conflated(): ConflatedClient | null {
    return this.#options.keep ? super.conflated : null;
  }

  override get waitingSince(): number | null {
    return this.#messagesSince;
  }

  override waiting(): number {
    return this.#size - (this.#delivery?.handed ?? 0);
  }

  override fence(id: number): boolean {
    if (this.#size === 0) return false;
    this.#fence = id;
    return true;
  }

  override unsubscribe(): void {}

  override buffered(): number {
    return this.#size;
  }

  /** A poll that waits is a sign of life. The client cannot be asked for another. */
  override ping(): void {
    if (this.unpolledSince === null) this.lastSeen = performance.now();
  }

  /** The backlog is sent to the poll that waits, or to the next one if it comes in time. */
  override end(): void {
    if (!this.#options.keep) return this.terminate();
    this.#flush();
    this.#ending = true;
    if (!this.#writing && this.#messages.length === 0) this.terminate();
    else setTimeout(() => this.terminate(), CLOSE_TIMEOUT);
  }

  protected override get connected(): boolean {
    return !this.#over;
  }

  /** Text only: protocols send no binary frames over long polling. */
  protected override transmit(frame: string | Buffer): number {
    const poll = this.#poll;
    if (poll === null && !this.#options.keep) return frame.length;
    if (typeof frame !== "string" || this.waiting() + frame.length > this.context.maxBuffered) {
      this.cutOff("slow");
      return 0;
    }
    this.#messagesSince ??= performance.now();
    this.#messages.push(frame);
    this.#size += frame.length;
    if (poll === null) return -1;
    this.#collect(poll);
    return frame.length;
  }

  protected override terminate(): void {
    if (this.#over) return;
    this.#over = true;
    this.#messages = [];
    this.#size = 0;
    this.#delivery?.cancel();
    this.#delivery = null;
    this.#answer("closed");
    this.unregister();
    this.#options.onEnd?.();
  }

  async #acceptAll(frames: Iterable<string | Buffer>): Promise<boolean> {
    let handled = 0;
    for (const frame of frames) {
      if (++handled % FRAMES_PER_TURN === 0) await nextTurn();
      while (this.pending !== null) await this.pending;
      if (this.#over) return false;
      this.accept(frame);
    }
    return !this.#over;
  }

  /** The wait is over. */
  #expire(poll: Poll): void {
    if (this.#options.collect === 0) this.#finish();
    else this.#collect(poll);
  }

  /** The client closed the connection of its poll: nothing may be written to it. */
  #abort(poll: Poll): void {
    if (this.#poll !== poll) return;
    if (!this.#options.keep) {
      this.#messages = [];
      this.#size = 0;
    }
    this.#answer("empty");
    this.#options.onPollEnd?.();
  }

  /** Ends a poll soon, with the messages sent until then. */
  #collect(poll: Poll): void {
    if (poll.collectTimer !== null) return;
    const collected = () => {
      poll.collectTimer = null;
      if (this.#delivery === null) this.#finish();
    };
    const { collect } = this.#options;
    poll.collectTimer = setTimeout(() => {
      if (collect === 0) return collected();
      // Another turn of the event loop: an abort that came before the timer was due is handled first.
      poll.collectTimer = setTimeout(collected, 0);
    }, collect);
  }

  #flush(): void {
    if (this.#delivery === null && this.#messages.length > 0) this.#finish();
  }

  /** Ends the poll with what is queued. */
  #finish(): void {
    if (this.#poll === null) return;
    if (this.#delivery !== null || this.#messages.length === 0) {
      this.#answer("empty");
      this.#options.onPollEnd?.()();
      return;
    }
    const onWritten = this.#options.onPollEnd?.();
    const delivery = new Delivery(++this.#number, this.#nextMessages(), (which) =>
      this.#settled(which, onWritten),
    );
    this.#delivery = delivery;
    this.#answer(delivery);
  }

  /** The messages of the next answer: at least one. The rest waits for the next poll. */
  #nextMessages(): readonly string[] {
    const messages = this.#messages;
    const limit = this.#options.keep ? MAX_ANSWER : Number.POSITIVE_INFINITY;
    let size = 0;
    let count = 0;
    while (count < messages.length && size < limit) size += messages[count++]?.length ?? 0;
    this.#messages = messages.slice(count);
    this.#messagesSince = this.#messages.length > 0 ? performance.now() : null;
    return messages.slice(0, count);
  }

  get #writing(): boolean {
    return this.#delivery !== null && !this.#delivery.written;
  }

  #settled(delivery: Delivery, onWritten: (() => void) | undefined): void {
    if (this.#delivery !== delivery) return;
    this.#seen();
    if (!delivery.written && this.#options.keep) this.#takeBack();
    else if (!this.#acknowledges && !this.#repeatsFirst) this.#forget();
    if (delivery.written) onWritten?.();
    if (this.#ending && this.#messages.length === 0) this.terminate();
    else this.#flush();
  }

  /** Decides with a new poll whether the last answer arrived. */
  #acknowledge(acknowledged: number | null): void {
    this.#acknowledges = acknowledged !== null;
    const { number = 0, written = true } = this.#delivery ?? {};
    const arrived = acknowledged === null ? written && !this.#repeatsFirst : acknowledged >= number;
    if (!this.#options.keep || arrived) return this.#forget();
    if (acknowledged !== null || this.#repeatsFirst) this.#takeBack();
    if (acknowledged !== null) this.#dropRepeated(acknowledged);
  }

  get #repeatsFirst(): boolean {
    return this.#delivery?.number === 1 && this.#options.repeatsFirst?.() === true;
  }

  /** An answer arrived whose messages were queued again. */
  #dropRepeated(acknowledged: number): void {
    const arrived = this.#repeated.findLast(({ number }) => number <= acknowledged);
    if (arrived === undefined) return;
    this.#repeated = this.#repeated
      .filter(({ number }) => number > acknowledged)
      .map(({ number, count }) => ({ number, count: count - arrived.count }));
    for (const message of this.#messages.splice(0, arrived.count)) this.#size -= message.length;
    if (this.#messages.length === 0) this.#messagesSince = null;
    this.#checkFence();
  }

  /** The last answer arrived, or the protocol repeats its messages. */
  #forget(): void {
    const delivery = this.#delivery;
    this.#delivery = null;
    this.#repeated = [];
    for (const message of delivery?.cancel() ?? []) this.#size -= message.length;
    this.#checkFence();
  }

  /** The client has read everything that was sent before the fence, if nothing waits. */
  #checkFence(): void {
    if (this.#fence === 0 || this.#size > 0) return;
    const fence = this.#fence;
    this.#fence = 0;
    this.readFence(fence);
  }

  /** The last answer did not arrive: the next one starts with its messages. */
  #takeBack(): void {
    if (this.#delivery === null) return;
    const messages = this.#delivery.cancel();
    this.#repeated.push({ number: this.#delivery.number, count: messages.length });
    if (this.#repeated.length > MAX_REPEATED) this.#repeated.shift();
    this.#messages = [...messages, ...this.#messages];
    this.#messagesSince ??= performance.now();
    this.#delivery = null;
  }

  #answer(result: PollResult): void {
    const poll = this.#poll;
    if (poll === null) return;
    this.#poll = null;
    this.#seen();
    clearTimeout(poll.waitTimer);
    if (poll.collectTimer !== null) clearTimeout(poll.collectTimer);
    poll.answer(result);
  }

  #seen(): void {
    this.#polledAt = performance.now();
    this.lastSeen = this.#polledAt;
  }
}
