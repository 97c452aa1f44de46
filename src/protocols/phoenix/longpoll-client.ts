import { Client, type House } from "../client.ts";

/** How a poll ends: with messages, with none (204), or because the session is over (410). */
export type Polled = readonly string[] | "gone";

interface Poll {
  readonly answer: (polled: Polled) => void;
  readonly timer: Timer;
}

/** A client that fetches its messages: they wait here between its polls. */
export class LongPollClient extends Client {
  readonly #wait: number;
  readonly #ended: (client: LongPollClient) => void;
  #messages: string[] = [];
  #bytes = 0;
  #poll: Poll | null = null;
  #polledAt = performance.now();
  #flushing = false;
  #over = false;

  /**
   * @param wait ms that a poll waits for a message
   * @param ended told once, when the session is over
   */
  constructor(
    house: House,
    id: string,
    address: string,
    wait: number,
    ended: (client: LongPollClient) => void,
  ) {
    super(house, id, address);
    this.#wait = wait;
    this.#ended = ended;
    this.arrive();
  }

  /** Since when no poll waits (`performance.now()`); `null` while one does. */
  get unpolledSince(): number | null {
    return this.#poll === null ? this.#polledAt : null;
  }

  /** Resolves with the next messages, at the latest after the wait. A second poll releases the first with none. */
  poll(signal: AbortSignal): Promise<Polled> {
    this.#seen();
    this.#answer([]);
    if (this.#over) return Promise.resolve("gone");
    if (this.#messages.length > 0) return Promise.resolve(this.#take());
    return new Promise((resolve) => {
      const poll = { answer: resolve, timer: setTimeout(() => this.#answer([]), this.#wait) };
      this.#poll = poll;
      // Whoever hangs up must not be flushed to: what comes then waits for the next poll.
      signal.addEventListener("abort", () => this.#poll === poll && this.#answer([]), { once: true });
    });
  }

  override subscribe(): boolean {
    return false;
  }

  override unsubscribe(): void {}

  override buffered(): number {
    return this.#bytes;
  }

  /** Its polls are its sign of life; it can be asked for no other. */
  override ping(): void {}

  override end(): void {
    this.terminate();
  }

  protected override get connected(): boolean {
    return !this.#over;
  }

  /** Long polling has no binary frames of the server: this transport's formats make none. */
  protected override transmit(frame: string | Buffer): number {
    if (typeof frame !== "string" || this.#bytes + frame.length > this.house.maxBuffered) {
      this.cutOff("slow");
      return 0;
    }
    this.#messages.push(frame);
    this.#bytes += frame.length;
    if (this.#poll !== null && !this.#flushing) {
      this.#flushing = true;
      setTimeout(() => this.#flush(), 0);
    }
    return this.#poll === null ? -1 : frame.length;
  }

  protected override terminate(): void {
    if (this.#over) return;
    this.#over = true;
    this.#messages = [];
    this.#bytes = 0;
    this.#poll?.answer("gone");
    this.#answer([]);
    this.depart();
    this.#ended(this);
  }

  /** What one turn of the event loop brought travels in one answer. */
  #flush(): void {
    this.#flushing = false;
    if (this.#poll !== null && this.#messages.length > 0) this.#answer(this.#take());
  }

  #take(): readonly string[] {
    const messages = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    return messages;
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
