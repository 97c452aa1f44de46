/**
 * How many bytes of one server's calls may wait in a queue. Backends take the oldest first, so what is left of them are the newest:
 * no more than the queue is long.
 */
export class QueuedSizes {
  /** Of each call, the oldest first. */
  readonly #sizes: number[] = [];
  /** Calls that the broker has not confirmed yet: a length that it names may be without them. */
  #unconfirmed = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** A call is sent to the broker. */
  add(bytes: number): void {
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    this.#unconfirmed++;
  }

  /** The broker has confirmed the oldest unconfirmed call, or refused it. */
  confirm(): void {
    this.#unconfirmed--;
  }

  /** The queue has, or had a moment ago, this length. */
  shorten(length: number): void {
    const taken = this.#sizes.length - length - this.#unconfirmed;
    if (taken <= 0) return;
    for (const size of this.#sizes.splice(0, taken)) this.#bytes -= size;
  }
}
