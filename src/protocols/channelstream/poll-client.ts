import { Client, type House } from "../client.ts";

/** How long a poll that has a message waits for more, in ms (Channelstream 0.7). */
const SETTLE = 250;

interface Poll {
  readonly answer: (list: string) => void;
  timer: Timer;
}

/**
 * A client that fetches its messages by `/listen`. Nothing is held for it between two polls: what comes then is caught up
 * with by the next one.
 */
export class PollClient extends Client {
  readonly #wait: number;
  /** Told when a poll is over: answered, or given up by the client. */
  readonly #paused: (departure: "answered" | "lost") => void;
  readonly #ended: () => void;
  #items: string[] = [];
  #bytes = 0;
  #poll: Poll | null = null;
  #over = false;

  /** @param wait ms that a poll waits for its first message */
  constructor(
    house: House,
    id: string,
    address: string,
    wait: number,
    paused: (departure: "answered" | "lost") => void,
    ended: () => void,
  ) {
    super(house, id, address);
    this.#wait = wait;
    this.#paused = paused;
    this.#ended = ended;
    // Whether it is in a channel is its own affair: private messages need none.
    this.idleSince = null;
  }

  begin(): void {
    this.arrive();
  }

  /**
   * Resolves with a JSON list of what came. A second poll takes over what came for the first, which gets an empty list:
   * whoever asks again has given up on it.
   *
   * @param listen called when the poll is there for what is sent
   */
  poll(signal: AbortSignal, listen: () => void): Promise<string> {
    this.lastSeen = performance.now();
    if (this.#over) return Promise.resolve("[]");
    const before = this.#poll;
    if (before !== null) {
      clearTimeout(before.timer);
      before.answer("[]");
    }
    return new Promise((resolve) => {
      const poll: Poll = { answer: resolve, timer: setTimeout(() => this.#settle(), this.#wait) };
      this.#poll = poll;
      if (this.#items.length > 0) this.#settle();
      signal.addEventListener("abort", () => this.#poll === poll && this.#finish("lost"), { once: true });
      listen();
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

  /** A frame is a list with something in it. */
  protected override transmit(frame: string | Buffer): number {
    if (typeof frame !== "string" || this.#poll === null) return frame.length;
    if (this.#bytes + frame.length > this.house.maxBuffered) {
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
      poll.answer("[]");
    }
    this.#items = [];
    this.depart();
    this.#ended();
  }

  /** The first message came, or none in time: a little longer, for those behind it. */
  #settle(): void {
    const poll = this.#poll;
    if (poll === null) return;
    clearTimeout(poll.timer);
    poll.timer = setTimeout(() => this.#finish("answered"), SETTLE);
  }

  #finish(departure: "answered" | "lost"): void {
    const poll = this.#poll;
    if (poll === null) return;
    this.#poll = null;
    clearTimeout(poll.timer);
    const items = this.#items;
    this.#items = [];
    this.#bytes = 0;
    this.lastSeen = performance.now();
    this.#paused(departure);
    poll.answer(`[${items.join(",")}]`);
  }
}
