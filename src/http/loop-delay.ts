/** Maximum event loop delay, for several readers with different intervals. */
export class LoopDelay {
  readonly #readers: { max: number }[] = [];

  /** Records the delay of one timer, in ms. */
  note(delay: number): void {
    for (const reader of this.#readers) reader.max = Math.max(reader.max, delay);
  }

  /** Creates a function that returns the maximum delay since its last call, in ms. */
  reader(): () => number {
    const reader = { max: 0 };
    this.#readers.push(reader);
    return () => {
      const { max } = reader;
      reader.max = 0;
      return max;
    };
  }
}
