import { Client } from "./client.ts";
import type { ConnectionContext } from "./connection-context.ts";

/** How a poll ends: with messages, with none (204), or because the session is over (410). */
export type Polled = Delivery | "none" | "gone";

/** How long a session that is to be closed may take to fetch what was sent to it before, in ms. */
const CLOSE_TIMEOUT = 1000;

/** About the size of one answer in UTF-16 units: what is lost with a connection is sent again whole. */
const MAX_ANSWER = 8 * 1024 * 1024;

/** Frames of one POST that are handled before others have their turn. */
const FRAMES_A_TURN = 500;

interface Poll {
  readonly answer: (polled: Polled) => void;
  readonly timer: Timer;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The messages of one answer. They count as waiting until it is known that they arrived. */
export class Delivery {
  /** Counts the answers of a session; whoever got one polls with its number. */
  readonly number: number;
  messages: readonly string[];
  /** How much of its messages, in UTF-16 units, was handed to the network: that no longer counts against the client. */
  handed = 0;
  /** Whether all of it was handed to the network. */
  written = false;
  /** Called when nothing more of it is to be written: the answer stays incomplete. */
  onCancel: (() => void) | null = null;
  readonly #settled: (delivery: Delivery) => void;

  constructor(number: number, messages: readonly string[], settled: (delivery: Delivery) => void) {
    this.number = number;
    this.messages = messages;
    this.#settled = settled;
  }

  /** To be called once, unless it was cancelled: with `false` when the connection broke half-way. */
  settle(written: boolean): void {
    this.written = written;
    this.#settled(this);
  }

  /** Takes the messages back, wherever the answer is. */
  cancel(): readonly string[] {
    const { messages } = this;
    this.messages = [];
    if (!this.written) this.onCancel?.();
    return messages;
  }
}

/** A client that fetches its messages: they wait here between its polls. */
export class LongPollClient extends Client {
  readonly #wait: number;
  readonly #ended: (client: LongPollClient) => void;
  #messages: string[] = [];
  /** Of all messages that wait or are on their way. */
  #bytes = 0;
  #poll: Poll | null = null;
  /** The last answer, for as long as it may have to be repeated. */
  #delivery: Delivery | null = null;
  #number = 0;
  /** Whether the poll that is answered next came from one who says what it got. */
  #acknowledges = false;
  #polledAt = performance.now();
  #flushing = false;
  #ending = false;
  #over = false;
  #posts: Promise<void> = Promise.resolve();

  /**
   * @param wait ms that a poll waits for a message
   * @param ended told once, when the session is over
   */
  constructor(
    context: ConnectionContext,
    id: string,
    address: string,
    wait: number,
    ended: (client: LongPollClient) => void,
  ) {
    super(context, id, address);
    this.#wait = wait;
    this.#ended = ended;
  }

  /** To be called once, when it has its session. */
  start(): void {
    this.register();
  }

  get over(): boolean {
    return this.#over;
  }

  /** Since when nothing waits for it or travels to it (`performance.now()`); `null` while something does. */
  get unpolledSince(): number | null {
    return this.#poll === null && !this.#writing ? this.#polledAt : null;
  }

  /** The number of the last answer. */
  get number(): number {
    return this.#number;
  }

  /**
   * Resolves with the next messages, at the latest after the wait. A second poll releases the first with none.
   *
   * @param got the number of the last answer that arrived: a later one is repeated, since it went into a connection that
   *   broke. `null` for who does not say: whatever was written counts as arrived.
   */
  poll(signal: AbortSignal, got: number | null): Promise<Polled> {
    // Who hung up before the request was read may have polled anew since then, and read what this one asks for.
    if (signal.aborted) return Promise.resolve(this.#over ? "gone" : "none");
    this.#seen();
    this.#answer("none");
    this.#acknowledges = got !== null;
    const { number = 0, written = true } = this.#delivery ?? {};
    if (got === null ? written : got >= number) this.#forget();
    else if (got !== null) this.#takeBack();
    if (this.#over) return Promise.resolve("gone");
    return new Promise((resolve) => {
      const poll = { answer: resolve, timer: setTimeout(() => this.#answer("none"), this.#wait) };
      this.#poll = poll;
      // Whoever hangs up must not be flushed to: what comes then waits for the next poll.
      signal.addEventListener("abort", () => this.#poll === poll && this.#answer("none"), { once: true });
      this.#flush();
    });
  }

  /**
   * Takes the frames of one POST, in their order and behind those of the POST before it, which may wait for a token to
   * be verified. A client that is being dismissed may send what it likes. Resolves with whether all were taken.
   */
  post(frames: Iterable<string | Buffer>): Promise<boolean> {
    const taken = this.#posts.then(() => this.#takeAll(frames));
    this.#posts = taken.then(
      () => {},
      () => {},
    );
    return taken;
  }

  override subscribe(): boolean {
    return false;
  }

  override unsubscribe(): void {}

  override buffered(): number {
    return this.#bytes;
  }

  /** Its polls are its sign of life; it can be asked for no other. */
  override ping(): void {
    if (this.unpolledSince === null) this.lastSeen = performance.now();
  }

  /** What waits for it goes with the poll that waits, or the next one if that comes soon; then it is over. */
  override end(): void {
    this.#flush();
    this.#ending = true;
    if (!this.#writing && this.#messages.length === 0) this.terminate();
    else setTimeout(() => this.terminate(), CLOSE_TIMEOUT);
  }

  protected override get connected(): boolean {
    return !this.#over;
  }

  /** Long polling has no binary frames of the server: this transport's formats make none. */
  protected override transmit(frame: string | Buffer): number {
    const waiting = this.#bytes - (this.#delivery?.handed ?? 0);
    if (typeof frame !== "string" || waiting + frame.length > this.context.maxBuffered) {
      this.cutOff("slow");
      return 0;
    }
    this.#messages.push(frame);
    this.#bytes += frame.length;
    if (this.#poll !== null && !this.#flushing) {
      this.#flushing = true;
      // What one turn of the event loop brought travels in one answer.
      setTimeout(() => this.#flush(), 0);
    }
    return this.#poll === null ? -1 : frame.length;
  }

  protected override terminate(): void {
    if (this.#over) return;
    this.#over = true;
    this.#messages = [];
    this.#bytes = 0;
    this.#delivery?.cancel();
    this.#delivery = null;
    this.#answer("gone");
    this.unregister();
    this.#ended(this);
  }

  async #takeAll(frames: Iterable<string | Buffer>): Promise<boolean> {
    let taken = 0;
    for (const frame of frames) {
      if (++taken % FRAMES_A_TURN === 0) await nextTurn();
      while (this.pending !== null) await this.pending;
      if (this.#over) return false;
      this.accept(frame);
    }
    return !this.#over;
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#poll === null || this.#delivery !== null || this.#messages.length === 0) return;
    const delivery = new Delivery(++this.#number, this.#takeAnswer(), (which) => this.#settled(which));
    this.#delivery = delivery;
    this.#answer(delivery);
  }

  /** The messages of the next answer: at least one, the rest waits for the poll behind it. */
  #takeAnswer(): readonly string[] {
    const messages = this.#messages;
    let size = 0;
    let count = 0;
    while (count < messages.length && size < MAX_ANSWER) size += messages[count++]?.length ?? 0;
    this.#messages = messages.slice(count);
    return messages.slice(0, count);
  }

  get #writing(): boolean {
    return this.#delivery !== null && !this.#delivery.written;
  }

  #settled(delivery: Delivery): void {
    if (this.#delivery !== delivery) return;
    this.#seen();
    if (!delivery.written) this.#takeBack();
    else if (!this.#acknowledges) this.#forget();
    if (this.#ending && this.#messages.length === 0) this.terminate();
    else this.#flush();
  }

  /** The last answer arrived. */
  #forget(): void {
    for (const message of this.#delivery?.messages ?? []) this.#bytes -= message.length;
    this.#delivery = null;
  }

  /** The last answer did not arrive: what was in it stands first in the next one. */
  #takeBack(): void {
    if (this.#delivery === null) return;
    this.#messages = [...this.#delivery.cancel(), ...this.#messages];
    this.#delivery = null;
  }

  #answer(polled: Polled): void {
    const poll = this.#poll;
    if (poll === null) return;
    this.#poll = null;
    this.#seen();
    clearTimeout(poll.timer);
    poll.answer(polled);
  }

  #seen(): void {
    this.#polledAt = performance.now();
    this.lastSeen = this.#polledAt;
  }
}
