import { Client } from "../../transports/client.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";

/** How long a poll that has a message waits for more, in ms (Channelstream 0.7). */
const SETTLE = 250;

interface Poll {
  readonly answer: (delivery: Delivery) => void;
  timer: Timer;
}

/** What a poll is answered with: messages that count as missed until it is known that they were written. */
export class Delivery {
  /** JSON texts. */
  readonly items: readonly string[];
  /** Called when nothing more of it is to be written: the answer stays incomplete. */
  onCancel: (() => void) | null = null;
  readonly #settled: (written: boolean) => void;
  #over = false;

  constructor(items: readonly string[], settled: (written: boolean) => void) {
    this.items = items;
    this.#settled = settled;
  }

  /** To be called once: with `false` when the connection broke before all was handed to the network. */
  settle(written: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#settled(written);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.onCancel?.();
  }
}

const NOTHING = new Delivery([], () => {});

/**
 * A client that fetches its messages by `/listen`. Nothing is held for it between two polls: what comes then is caught up
 * with by the next one.
 */
export class PollClient extends Client {
  readonly #wait: number;
  /** Told when a poll is over; what it returns is to be called when all of its answer was written. */
  readonly #paused: () => () => void;
  readonly #ended: () => void;
  #items: string[] = [];
  #bytes = 0;
  /** Bytes of the answer that is being written. */
  #writing = 0;
  #poll: Poll | null = null;
  /** The answer that is being written. */
  #delivery: Delivery | null = null;
  #over = false;

  /** @param wait ms that a poll waits for its first message */
  constructor(
    context: ConnectionContext,
    id: string,
    address: string,
    wait: number,
    paused: () => () => void,
    ended: () => void,
  ) {
    super(context, id, address);
    this.#wait = wait;
    this.#paused = paused;
    this.#ended = ended;
    // Whether it is in a channel is its own affair: private messages need none.
    this.idleSince = null;
  }

  start(): void {
    this.register();
  }

  /**
   * Resolves with what came. A second poll takes over what came for the first, which gets an empty list: whoever asks
   * again has given up on it. So has whoever hung up, and an answer that was not written whole is no answer.
   *
   * @param listen called when the poll is there for what is sent
   */
  poll(signal: AbortSignal, listen: () => void): Promise<Delivery> {
    if (this.#over || signal.aborted) return Promise.resolve(NOTHING);
    this.lastSeen = performance.now();
    const before = this.#poll;
    if (before !== null) {
      clearTimeout(before.timer);
      before.answer(NOTHING);
    }
    this.#delivery?.cancel();
    this.#forget();
    return new Promise((resolve) => {
      const poll: Poll = { answer: resolve, timer: setTimeout(() => this.#settle(), this.#wait) };
      this.#poll = poll;
      if (this.#items.length > 0) this.#settle();
      signal.addEventListener("abort", () => this.#poll === poll && this.#lose(), { once: true });
      listen();
    });
  }

  override subscribe(): boolean {
    return false;
  }

  override unsubscribe(): void {}

  override buffered(): number {
    return this.#bytes + this.#writing;
  }

  /** Its polls are its sign of life; it can be asked for no other. */
  override ping(): void {}

  override end(): void {
    this.terminate();
  }

  protected override get connected(): boolean {
    return !this.#over;
  }

  /** A frame is a list with something in it. */
  protected override transmit(frame: string | Buffer): number {
    if (typeof frame !== "string" || this.#poll === null) return frame.length;
    if (this.buffered() + frame.length > this.context.maxBuffered) {
      this.cutOff("slow");
      return 0;
    }
    if (this.#items.length === 0) this.#settle();
    this.#items.push(frame.slice(1, -1));
    this.#bytes += frame.length;
    return frame.length;
  }

  protected override terminate(): void {
    if (this.#over) return;
    this.#over = true;
    const poll = this.#poll;
    this.#poll = null;
    if (poll !== null) {
      clearTimeout(poll.timer);
      poll.answer(NOTHING);
    }
    this.#items = [];
    this.#delivery?.cancel();
    this.#forget();
    this.unregister();
    this.#ended();
  }

  /** The first message came, or none in time: a little longer, for those behind it. */
  #settle(): void {
    const poll = this.#poll;
    if (poll === null) return;
    clearTimeout(poll.timer);
    // Whoever hung up meanwhile is heard of before the answer: the end of a connection may have come after the timer was due.
    poll.timer = setTimeout(() => {
      poll.timer = setTimeout(() => this.#finish(), 0);
    }, SETTLE);
  }

  #finish(): void {
    const poll = this.#poll;
    if (poll === null) return;
    this.#poll = null;
    const items = this.#items;
    this.#items = [];
    this.#writing = this.#bytes;
    this.#bytes = 0;
    this.lastSeen = performance.now();
    const received = this.#paused();
    const delivery = new Delivery(items, (written) => {
      if (this.#delivery !== delivery) return;
      this.lastSeen = performance.now();
      this.#forget();
      if (written) received();
    });
    this.#delivery = delivery;
    poll.answer(delivery);
  }

  /** The client hung up: the next poll catches up with what came. */
  #lose(): void {
    const poll = this.#poll;
    if (poll === null) return;
    this.#poll = null;
    clearTimeout(poll.timer);
    this.#items = [];
    this.#bytes = 0;
    this.lastSeen = performance.now();
    this.#paused();
    poll.answer(NOTHING);
  }

  #forget(): void {
    this.#delivery = null;
    this.#writing = 0;
  }
}
