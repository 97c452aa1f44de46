/** How late the event loop ran, for several who ask at different times. */
export class LoopDelay {
  readonly #readers: { most: number }[] = [];

  /** To be told each time that a timer of the same pause fired, with how late it was, in ms. */
  note(late: number): void {
    for (const reader of this.#readers) reader.most = Math.max(reader.most, late);
  }

  /** Gives a function that says how late it was at the most since it was last called, in ms. */
  reader(): () => number {
    const reader = { most: 0 };
    this.#readers.push(reader);
    return () => {
      const { most } = reader;
      reader.most = 0;
      return most;
    };
  }
}
