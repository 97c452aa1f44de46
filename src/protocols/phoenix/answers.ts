import type { Client } from "../../transports/client.ts";

/** One answer in its place in the order. */
export interface Answer {
  /** `null` while it is not known yet. */
  frame: string | null;
  next: Answer | null;
}

/**
 * The answers of one client from the first one that is not known yet: those to pushes, until the bus has taken them. What
 * comes after it waits, so that answers have the order of what they answer.
 */
export class Answers {
  readonly #client: Client;
  #first: Answer | null = null;
  #last: Answer | null = null;
  /** UTF-16 units of the frames that wait. */
  #waiting = 0;
  #emptied: PromiseWithResolvers<void> | null = null;

  constructor(client: Client) {
    this.#client = client;
  }

  get empty(): boolean {
    return this.#first === null;
  }

  /** Keeps the place of an answer that is not known yet. */
  expect(answer: Answer): void {
    if (this.#last === null) this.#first = answer;
    else this.#last.next = answer;
    this.#last = answer;
  }

  /** To be called once for each answer that was expected. Sends what no longer waits for another. */
  settle(answer: Answer, frame: string): void {
    if (answer !== this.#first) {
      answer.frame = frame;
      this.#count(frame);
      return;
    }
    this.#client.send(frame);
    this.#first = answer.next;
    this.#flush();
  }

  /** Sends a frame behind all answers that are expected. */
  send(frame: string): void {
    if (this.#first === null) return this.#client.send(frame);
    this.expect({ frame, next: null });
    this.#count(frame);
  }

  /** Resolves when no answer is expected any more. */
  untilEmpty(): Promise<void> {
    if (this.#first === null) return Promise.resolve();
    this.#emptied ??= Promise.withResolvers();
    return this.#emptied.promise;
  }

  #flush(): void {
    while (this.#first !== null) {
      const { frame, next } = this.#first;
      if (frame === null) return;
      this.#waiting -= frame.length;
      this.#client.send(frame);
      this.#first = next;
    }
    this.#last = null;
    this.#emptied?.resolve();
    this.#emptied = null;
  }

  /** The bus answers within seconds; a client can ask for more than it may have waiting meanwhile. */
  #count(frame: string): void {
    this.#waiting += frame.length;
    if (this.#waiting > this.#client.context.maxBuffered) this.#client.cutOff("slow");
  }
}
