/**
 * Timeout of a wait, in ms. More than a busy machine needs, and less than the timeout of a test, so that the error names what
 * was awaited. test/bench measures latency.
 */
export const PATIENCE = 15_000;

/**
 * Received items in order, with a read position. `all` holds every item since the start. A wait that fails throws an error
 * that lists the items received instead.
 */
export class Inbox<T> {
  readonly all: T[] = [];
  readonly #name: string;
  readonly #show: (item: T) => string;
  #read = 0;
  #end: string | null = null;
  #waiters: (() => void)[] = [];

  constructor(name: string, show: (item: T) => string) {
    this.#name = name;
    this.#show = show;
  }

  put(item: T): void {
    this.all.push(item);
    this.#notify();
  }

  /** Ends the inbox: no more items follow. Waits fail with `why`. */
  end(why: string): void {
    this.#end ??= why;
    this.#notify();
  }

  /** Returns the unread items and marks them as read. */
  take(): T[] {
    const rest = this.all.slice(this.#read);
    this.#read = this.all.length;
    return rest;
  }

  /** The next item. */
  next(timeout = PATIENCE): Promise<T> {
    return this.until(() => true, "anything", timeout);
  }

  /** The next item that matches. Earlier items are skipped. */
  async until(match: (item: T) => boolean, what = "a match", timeout = PATIENCE): Promise<T> {
    const deadline = performance.now() + timeout;
    const start = this.#read;
    for (;;) {
      while (this.#read < this.all.length) {
        const item = this.all[this.#read++];
        if (item !== undefined && match(item)) return item;
      }
      const left = deadline - performance.now();
      if (this.#end !== null || left <= 0) {
        const seen = this.all.slice(start).slice(-12).map(this.#show).join("\n  ");
        const why = this.#end ?? `nothing within ${timeout} ms`;
        throw new Error(`${this.#name}: waited for ${what}: ${why}; seen meanwhile:\n  ${seen}`);
      }
      await this.#notified(left);
    }
  }

  /**
   * All items since the start that match, once there are at least `times`: for what may have been read already, or may still be
   * on its way, as a log line that was written before an answer. The read position stays.
   */
  async atLeast(times: number, match: (item: T) => boolean, what = "a match"): Promise<T[]> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const found = this.all.filter(match);
      if (found.length >= times) return found;
      const left = deadline - performance.now();
      if (this.#end !== null || left <= 0) {
        const seen = this.all.slice(-12).map(this.#show).join("\n  ");
        const why = this.#end ?? `${found.length} of ${times} within ${PATIENCE} ms`;
        throw new Error(`${this.#name}: waited for ${what}: ${why}; the last ones:\n  ${seen}`);
      }
      await this.#notified(left);
    }
  }

  #notify(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const each of waiters) each();
  }

  #notified(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** Truncates a text for the message of a failed test. */
export function short(text: string, length = 200): string {
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`;
}
