import { addressBlock } from "./address-block.ts";

/** So many wrong secrets within a minute shut every door to an address until that minute is over. */
const MAX_WRONG = 10;
const WINDOW_MS = 60_000;

/** Addresses remembered at once; beyond, the one that was wrong first is forgotten. */
const MAX_ADDRESSES = 10_000;

interface Window {
  readonly began: number;
  wrong: number;
}

/** Counts wrong secrets by address, for all the ways in which a secret can be given. */
export class WrongSecrets {
  readonly #windows = new Map<string, Window>();
  readonly #now: () => number;

  /** @param now a clock in ms that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether an address has had its ten: even the right secret is not looked at. In whole seconds to wait, else 0. */
  waitSecs(address: string): number {
    const window = this.#windows.get(addressBlock(address));
    if (window === undefined || window.wrong < MAX_WRONG) return 0;
    const left = window.began + WINDOW_MS - this.#now();
    return left > 0 ? Math.ceil(left / 1000) : 0;
  }

  count(address: string): void {
    const block = addressBlock(address);
    const now = this.#now();
    const window = this.#windows.get(block);
    if (window !== undefined && now < window.began + WINDOW_MS) {
      window.wrong++;
      return;
    }
    this.#windows.delete(block);
    for (const [oldest, { began }] of this.#windows) {
      if (this.#windows.size < MAX_ADDRESSES && now < began + WINDOW_MS) break;
      this.#windows.delete(oldest);
    }
    this.#windows.set(block, { began: now, wrong: 1 });
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#windows.size;
  }
}
