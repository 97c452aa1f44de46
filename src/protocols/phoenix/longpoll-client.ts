import { Client, type House } from "../client.ts";

/** How a poll ends: with messages, with none (204), or because the session is over (410). */
export type Polled = Delivery | "none" | "gone";

/** How long a session that is to be closed may take to fetch what was sent to it before, in ms. */
const PATIENCE = 1000;

interface Poll {
  readonly answer: (polled: Polled) => void;
  readonly timer: Timer;
}

/** The messages of one answer. They count as waiting until it is known what became of them. */
export class Delivery {
  messages: readonly string[];
  /** Called when the session ends while this is on its way: the answer stays incomplete. */
  onEnd: (() => void) | null = null;
  readonly #settled: (delivery: Delivery, delivered: boolean) => void;

  constructor(messages: readonly string[], settled: (delivery: Delivery, delivered: boolean) => void) {
    this.messages = messages;
    this.#settled = settled;
  }

  /** To be called once: with `false` when the connection broke half-way, so that the next poll brings them all. */
  settle(delivered: boolean): void {
    this.#settled(this, delivered);
  }

  /** Frees the messages, wherever the answer is. */
  drop(): void {
    this.messages = [];
    this.onEnd?.();
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
  #delivery: Delivery | null = null;
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

  get over(): boolean {
    return this.#over;
  }

  /** Since when nothing waits for it or travels to it (`performance.now()`); `null` while something does. */
  get unpolledSince(): number | null {
    return this.#poll === null && this.#delivery === null ? this.#polledAt : null;
  }

  /** Resolves with the next messages, at the latest after the wait. A second poll releases the first with none. */
  poll(signal: AbortSignal): Promise<Polled> {
    this.#seen();
    this.#answer("none");
    if (this.#over) return Promise.resolve("gone");
    if (signal.aborted) return Promise.resolve("none");
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
  post(frames: readonly (string | Buffer)[]): Promise<boolean> {
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

  /** What waits for it goes with the poll that waits, if there is one; then it is over. */
  override end(): void {
    this.#flush();
    this.#ending = true;
    if (this.#delivery === null) this.terminate();
    else setTimeout(() => this.terminate(), PATIENCE);
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
    this.#delivery?.drop();
    this.#delivery = null;
    this.#answer("gone");
    this.depart();
    this.#ended(this);
  }

  async #takeAll(frames: readonly (string | Buffer)[]): Promise<boolean> {
    for (const frame of frames) {
      while (this.settling !== null) await this.settling;
      if (this.#over) return false;
      this.receive(frame);
    }
    return !this.#over;
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#poll === null || this.#delivery !== null || this.#messages.length === 0) return;
    const delivery = new Delivery(this.#messages, (which, delivered) => this.#settled(which, delivered));
    this.#messages = [];
    this.#delivery = delivery;
    this.#answer(delivery);
  }

  #settled(delivery: Delivery, delivered: boolean): void {
    if (this.#delivery !== delivery) return;
    this.#delivery = null;
    this.#seen();
    if (delivered) {
      for (const message of delivery.messages) this.#bytes -= message.length;
    } else {
      this.#messages = [...delivery.messages, ...this.#messages];
    }
    if (this.#ending) this.terminate();
    else this.#flush();
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
