/** Rates are told over at least this time, in ms. */
const RATE_SPAN = 1000;

/** What went through one channel since it was opened. Written for every message: numbers, and nothing else. */
export class Traffic {
  /** Messages to those who listen, presence and the clock's included. */
  sent = 0;
  sentBytes = 0;
  /** Messages of its members to the backends. */
  pushed = 0;
  pushedBytes = 0;
  /** Unix time in ms of the last message in either direction, as exact as the hub's clock; 0 for none. */
  lastAt = 0;
  #rate = 0;
  #counted = 0;
  #countedAt = Date.now();

  /** Messages a second in both directions since this was last asked, at least a second ago; at first, since it was opened. */
  rate(now: number): number {
    const passed = now - this.#countedAt;
    if (passed < RATE_SPAN) return this.#rate;
    const all = this.sent + this.pushed;
    this.#rate = ((all - this.#counted) * 1000) / passed;
    this.#counted = all;
    this.#countedAt = now;
    return this.#rate;
  }
}
