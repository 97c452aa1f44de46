/** Minimum time over which a rate is computed, in ms. */
const RATE_INTERVAL = 1000;

/** Traffic of one channel since it was opened. Updated for every message: plain numbers only. */
export class Traffic {
  /** Messages to listeners, including presence diffs and `datetime`. */
  sent = 0;
  sentBytes = 0;
  /** Messages left out for listeners that did not keep up (`slow = "latest"`), once for each listener. */
  leftOut = 0;
  /** Messages of members to backends. */
  pushed = 0;
  pushedBytes = 0;
  /** Unix time of the last message in either direction, in ms, with the resolution of `Hub.tick`; 0 for none. */
  lastAt = 0;
  #marked = 0;
  #rate = 0;
  #counted = 0;
  #countedAt = Date.now();

  /** Messages in both directions since the last call. */
  sinceMark(): number {
    const all = this.sent + this.pushed;
    const since = all - this.#marked;
    this.#marked = all;
    return since;
  }

  /** Messages per second in both directions since the last call that computed it, at least 1 s ago, or since the channel was opened. */
  rate(now: number): number {
    const passed = now - this.#countedAt;
    if (passed < RATE_INTERVAL) return this.#rate;
    const all = this.sent + this.pushed;
    this.#rate = ((all - this.#counted) * 1000) / passed;
    this.#counted = all;
    this.#countedAt = now;
    return this.#rate;
  }
}
