import { addressBlock } from "./peer.ts";

/** Wrong proofs of one address within a minute, after which it is limited until that minute is over. */
const MAX_WRONG = 10;
const WINDOW_MS = 60_000;

/** Wrong proofs of all addresses within a minute, after which each is limited from its first one on. */
const MAX_WRONG_OVERALL = 100;

/** A limited address has one proof checked in this time, right or wrong, in ms. */
const PAUSE_MS = 2000;

/** Addresses remembered at once; beyond, the one that was wrong first is forgotten. */
const MAX_ADDRESSES = 10_000;

/** Who gives a proof. */
export interface ProofSource {
  readonly address: string;
  /**
   * Whether a page of another site may have sent it. Such proofs are limited by themselves: no page can use up what the
   * administrator's own browser or programs of the same address may try.
   */
  readonly foreign?: boolean;
}

/** How a secret was offered, for the audit log. */
export type Proof = "bearer" | "secret" | "code" | "cookie" | "token" | "signature";

interface Window {
  readonly began: number;
  wrong: number;
  /** When the last proof was checked over the limit. */
  checkedAt: number;
  /** Cookies that were wrong already: one that is sent again is no new guess. */
  cookies: Set<string> | null;
}

/** Counts failed proofs of the admin secret, by address and over all, for all the ways in which one can be given. */
export class FailedAttempts {
  readonly #windows = new Map<string, Window>();
  readonly #now: () => number;
  readonly #failed: (source: ProofSource, proof: Proof) => void;
  #overallBegan = Number.NEGATIVE_INFINITY;
  #overall = 0;

  /**
   * @param now a clock in ms that never goes back
   * @param failed called for each wrong proof
   */
  constructor(
    now: () => number = () => performance.now(),
    failed: (source: ProofSource, proof: Proof) => void = () => {},
  ) {
    this.#now = now;
    this.#failed = failed;
  }

  /** Asks to check one proof now. Whole seconds to wait, or 0: then it is to be checked, since it may be the one in 2 s. */
  waitSecs(source: ProofSource): number {
    const now = this.#now();
    const window = this.#windows.get(keyOf(source));
    if (window === undefined || now >= window.began + WINDOW_MS) return 0;
    const limit = this.overLimit ? 1 : MAX_WRONG;
    if (window.wrong < limit) return 0;
    const left = window.checkedAt + PAUSE_MS - now;
    if (left > 0) return Math.ceil(left / 1000);
    window.checkedAt = now;
    return 0;
  }

  /** Whether there were so many wrong proofs over all that the first of an address limits it. */
  get overLimit(): boolean {
    return this.#overall >= MAX_WRONG_OVERALL && this.#now() < this.#overallBegan + WINDOW_MS;
  }

  /** Whether this very cookie was wrong a moment ago. */
  wasWrong(source: ProofSource, cookie: string): boolean {
    return this.#windows.get(keyOf(source))?.cookies?.has(cookie) ?? false;
  }

  count(source: ProofSource, proof: Proof, cookie?: string): void {
    const now = this.#now();
    const window = this.#window(keyOf(source), now);
    window.wrong++;
    window.checkedAt = now;
    if (cookie !== undefined) {
      window.cookies ??= new Set();
      if (window.cookies.size < MAX_WRONG) window.cookies.add(cookie);
    }
    if (now >= this.#overallBegan + WINDOW_MS) {
      this.#overallBegan = now;
      this.#overall = 0;
    }
    this.#overall++;
    this.#failed(source, proof);
  }

  #window(key: string, now: number): Window {
    const known = this.#windows.get(key);
    if (known !== undefined && now < known.began + WINDOW_MS) return known;
    this.#windows.delete(key);
    for (const [oldest, { began }] of this.#windows) {
      if (this.#windows.size < MAX_ADDRESSES && now < began + WINDOW_MS) break;
      this.#windows.delete(oldest);
    }
    const window = { began: now, wrong: 0, checkedAt: now, cookies: null };
    this.#windows.set(key, window);
    return window;
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#windows.size;
  }
}

function keyOf({ address, foreign }: ProofSource): string {
  const block = addressBlock(address);
  return foreign ? `other site ${block}` : block;
}
