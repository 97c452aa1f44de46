import type { LoopDelay } from "./http/loop-delay.ts";

/** Calls `tick` regularly, and notes by how much each call is late. */
export class Ticker {
  readonly #timer: Timer;
  #due: number;

  /**
   * @param ms between two calls
   * @param tick called with `performance.now()`
   */
  constructor(ms: number, loopDelay: LoopDelay, tick: (now: number) => void) {
    this.#due = performance.now() + ms;
    this.#timer = setInterval(() => {
      const now = performance.now();
      loopDelay.note(now - this.#due);
      this.#due = now + ms;
      tick(now);
    }, ms);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
