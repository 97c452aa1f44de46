/** The messages of one answer to a poll. They count as backlog until it is known that they arrived. */
export class Delivery {
  /** Number of the answer within its session, from 1. A client acknowledges an answer by its number. */
  readonly number: number;
  messages: readonly string[];
  /** UTF-16 units of its messages that were passed to the network: they no longer count as backlog. */
  handed = 0;
  /** Whether the complete answer was passed to the network. */
  written = false;
  /** Called when nothing more may be written: the answer stays incomplete. */
  onCancel: (() => void) | null = null;
  readonly #onSettled: (delivery: Delivery) => void;

  constructor(number: number, messages: readonly string[], onSettled: (delivery: Delivery) => void) {
    this.number = number;
    this.messages = messages;
    this.#onSettled = onSettled;
  }

  /** To be called once, unless it was cancelled. `written` is false when the connection broke before the end. */
  settle(written: boolean): void {
    this.written = written;
    this.#onSettled(this);
  }

  /** Stops writing, and returns the messages. */
  cancel(): readonly string[] {
    const { messages } = this;
    this.messages = [];
    if (!this.written) this.onCancel?.();
    return messages;
  }
}
