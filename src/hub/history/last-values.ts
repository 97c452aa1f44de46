import { type HistoryRules, type KeptMessage, MAX_LAST_VALUES } from "./history.ts";
import { costOf } from "./ring.ts";

/** The newest message of each event of one channel. */
export class LastValues {
  /** Bytes of its messages, overhead included. */
  bytes = 0;
  /** The oldest first. */
  readonly #byEvent = new Map<string, KeptMessage>();

  get size(): number {
    return this.#byEvent.size;
  }

  /** Sets the value of an event. What does not fit is dropped, the oldest first, and a value larger than all may be is not kept. */
  set(message: KeptMessage, { bytes }: HistoryRules): void {
    this.remove(message.event);
    this.#byEvent.set(message.event, message);
    this.bytes += costOf(message);
    for (const event of this.#byEvent.keys()) {
      if (this.size <= MAX_LAST_VALUES && this.bytes <= bytes) return;
      this.remove(event);
    }
  }

  remove(event: string): void {
    const message = this.#byEvent.get(event);
    if (message === undefined) return;
    this.bytes -= costOf(message);
    this.#byEvent.delete(event);
  }

  all(): readonly KeptMessage[] {
    return [...this.#byEvent.values()];
  }
}
