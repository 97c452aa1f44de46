/**
 * How long a test waits for what must come, in ms: far beyond what it takes on a busy machine, and less than a test may
 * take, so that what fails says what it waited for. How quick something is, test/bench measures.
 */
export const PATIENCE = 15_000;

/**
 * What came in, in order, with a reading position. Nothing is thrown away: `all` holds every item since the start.
 * Waiting fails with a sentence that shows what came instead.
 */
export class Inbox<T> {
  readonly all: T[] = [];
  readonly #name: string;
  readonly #show: (item: T) => string;
  #read = 0;
  #end: string | null = null;
  #wake: (() => void)[] = [];

  constructor(name: string, show: (item: T) => string) {
    this.#name = name;
    this.#show = show;
  }

  put(item: T): void {
    this.all.push(item);
    this.#stir();
  }

  /** Nothing more will come. */
  end(why: string): void {
    this.#end ??= why;
    this.#stir();
  }

  /** What has come and has not been read yet; it counts as read now. */
  take(): T[] {
    const rest = this.all.slice(this.#read);
    this.#read = this.all.length;
    return rest;
  }

  /** The next item, whatever it is. */
  next(timeout = PATIENCE): Promise<T> {
    return this.until(() => true, "anything", timeout);
  }

  /** The next item that matches; those before it are passed over. */
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
      await this.#stirred(left);
    }
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const each of wake) each();
  }

  #stirred(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** A text cut to a length that a failing test can show. */
export function short(text: string, length = 200): string {
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length} characters)`;
}
