import type { Client } from "../../transports/client.ts";

/** One reply in the queue. */
export interface PendingReply {
  /** `null` until the reply is known. */
  frame: string | null;
  next: PendingReply | null;
}

/**
 * Keeps the replies of one client in the order of its frames: a push is answered when the bus has accepted it, and later
 * replies wait behind it.
 */
export class ReplyQueue {
  readonly #client: Client;
  #first: PendingReply | null = null;
  #last: PendingReply | null = null;
  /** Length of the waiting frames, in UTF-16 units. */
  #waiting = 0;
  #emptied: PromiseWithResolvers<void> | null = null;

  constructor(client: Client) {
    this.#client = client;
  }

  get empty(): boolean {
    return this.#first === null;
  }

  /** Adds a reply that is not known yet. */
  expect(reply: PendingReply): void {
    if (this.#last === null) this.#first = reply;
    else this.#last.next = reply;
    this.#last = reply;
  }

  /** Sets the frame of an expected reply, once. Sends the replies that no longer wait for another. */
  settle(reply: PendingReply, frame: string): void {
    if (reply !== this.#first) {
      reply.frame = frame;
      this.#count(frame);
      return;
    }
    this.#client.send(frame);
    this.#first = reply.next;
    this.#flush();
  }

  /** Sends a frame behind all expected replies. */
  send(frame: string): void {
    if (this.#first === null) return this.#client.send(frame);
    this.expect({ frame, next: null });
    this.#count(frame);
  }

  /** Resolves when no reply is expected. */
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

  /** Cuts off a client whose waiting replies exceed its buffer. */
  #count(frame: string): void {
    this.#waiting += frame.length;
    if (this.#waiting > this.#client.context.maxBuffered) this.#client.cutOff("slow");
  }
}
