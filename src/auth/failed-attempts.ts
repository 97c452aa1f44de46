import { addressBlock } from "./peer.ts";

/** Failed attempts of one address per window, after which it is limited for the rest of the window. */
const MAX_FAILED = 10;

/** Length of a window, in ms. */
const WINDOW_MS = 60_000;

/** Failed attempts of all addresses per window, after which each address is limited from its first failure on. */
const MAX_FAILED_OVERALL = 100;

/** Time between two checked attempts of a limited address, in ms. */
const PAUSE_MS = 2000;

/** Maximum number of addresses tracked. The oldest is dropped first. */
const MAX_ADDRESSES = 10_000;

/** Where an attempt comes from. */
export interface AttemptSource {
  readonly address: string;
  /**
   * Whether a page of another site may have sent it. Such attempts are limited separately, so that no page can use up the
   * attempts of the administrator at the same address.
   */
  readonly foreign?: boolean;
}

/** How a credential was sent, for the audit log. */
export type CredentialKind = "bearer" | "secret" | "code" | "cookie" | "token" | "signature";

interface Window {
  /** Start, in ms of `now`. */
  readonly began: number;
  failed: number;
  /** When the last attempt was checked, in ms of `now`. */
  checkedAt: number;
  /** Cookies that failed in this window: sending one again is not a new attempt. */
  cookies: Set<string> | null;
}

/** Counts failed attempts at a secret, per address and in total, for all kinds of credentials. */
export class FailedAttempts {
  readonly #windows = new Map<string, Window>();
  readonly #now: () => number;
  readonly #onFailure: (source: AttemptSource, kind: CredentialKind) => void;
  #overallBegan = Number.NEGATIVE_INFINITY;
  #overall = 0;

  /**
   * @param now a clock in ms that never goes back
   * @param onFailure called for each failed attempt
   */
  constructor(
    now: () => number = () => performance.now(),
    onFailure: (source: AttemptSource, kind: CredentialKind) => void = () => {},
  ) {
    this.#now = now;
    this.#onFailure = onFailure;
  }

  /** Seconds to wait before the next attempt. With 0 the caller must check it now: a limited address has used its turn. */
  waitSecs(source: AttemptSource): number {
    const now = this.#now();
    const window = this.#windows.get(keyOf(source));
    if (window === undefined || now >= window.began + WINDOW_MS) return 0;
    const limit = this.overLimit ? 1 : MAX_FAILED;
    if (window.failed < limit) return 0;
    const left = window.checkedAt + PAUSE_MS - now;
    if (left > 0) return Math.ceil(left / 1000);
    window.checkedAt = now;
    return 0;
  }

  /** Whether the limit for all addresses is reached. */
  get overLimit(): boolean {
    return this.#overall >= MAX_FAILED_OVERALL && this.#now() < this.#overallBegan + WINDOW_MS;
  }

  /** Whether this cookie failed in the current window. */
  wasWrong(source: AttemptSource, cookie: string): boolean {
    return this.#windows.get(keyOf(source))?.cookies?.has(cookie) ?? false;
  }

  /** Records a failed attempt. */
  count(source: AttemptSource, kind: CredentialKind, cookie?: string): void {
    const now = this.#now();
    const window = this.#window(keyOf(source), now);
    window.failed++;
    window.checkedAt = now;
    if (cookie !== undefined) {
      window.cookies ??= new Set();
      if (window.cookies.size < MAX_FAILED) window.cookies.add(cookie);
    }
    if (now >= this.#overallBegan + WINDOW_MS) {
      this.#overallBegan = now;
      this.#overall = 0;
    }
    this.#overall++;
    this.#onFailure(source, kind);
  }

  #window(key: string, now: number): Window {
    const known = this.#windows.get(key);
    if (known !== undefined && now < known.began + WINDOW_MS) return known;
    this.#windows.delete(key);
    for (const [oldest, { began }] of this.#windows) {
      if (this.#windows.size < MAX_ADDRESSES && now < began + WINDOW_MS) break;
      this.#windows.delete(oldest);
    }
    const window = { began: now, failed: 0, checkedAt: now, cookies: null };
    this.#windows.set(key, window);
    return window;
  }

  /** Number of addresses tracked. */
  get size(): number {
    return this.#windows.size;
  }
}

function keyOf({ address, foreign }: AttemptSource): string {
  const block = addressBlock(address);
  return foreign ? `other site ${block}` : block;
}
