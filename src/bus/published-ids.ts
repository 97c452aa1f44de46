import type { MessageGroup } from "./bus.ts";

/** How long an id is remembered, in ms. */
export const ID_TTL = 300_000;

/** Ids that are remembered at once, of one server. */
export const MAX_IDS = 300_000;

/**
 * `new`: it was not known, and is now. `known`: what `keep` was called with, empty before that. `full`: this server has had too many
 * lately. `away`: nothing is known, and nothing was published, unless the connection was lost meanwhile.
 */
export type Claim =
  | { readonly kind: "new" }
  | { readonly kind: "full" }
  | { readonly kind: "away" }
  | { readonly kind: "known"; readonly answer: string };

/**
 * `done`: claimed and published; `noted`: with the note. `unsupported`: Redis permits no scripts, and nothing was done.
 * `refused`: Redis refused a message.
 */
export type PublishedOnce =
  | Exclude<Claim, { readonly kind: "new" }>
  | { readonly kind: "unsupported" }
  | { readonly kind: "refused" }
  | { readonly kind: "done"; readonly noted: boolean };

/** Ids of publications, each remembered for 5 minutes. No method rejects. */
export interface PublishedIds {
  /** Claims a key and publishes, in one step. Absent where there is no such thing. */
  publish?(key: string, group: MessageGroup): Promise<PublishedOnce>;
  claim(key: string): Promise<Claim>;
  /** Whether a key is claimed; `false` also where nothing is known. */
  has(key: string): Promise<boolean>;
  /** Forgets a claimed key: nothing was published. */
  release(key: string): void;
  /** Keeps what is answered to a repetition. */
  keep(key: string, answer: string): void;
}

interface Entry {
  readonly until: number;
  answer: string;
}

/** The ids of one server, in memory. */
export class MemoryIds implements PublishedIds {
  /** In the order in which they expire. */
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;
  readonly #max: number;

  /** @param max ids that are remembered at once @param now in ms */
  constructor(max = MAX_IDS, now: () => number = () => performance.now()) {
    this.#max = max;
    this.#now = now;
  }

  async claim(key: string): Promise<Claim> {
    const now = this.#expire();
    const known = this.#entries.get(key);
    if (known !== undefined) return { kind: "known", answer: known.answer };
    if (this.#entries.size >= this.#max) return { kind: "full" };
    this.#entries.set(key, { until: now + ID_TTL, answer: "" });
    return { kind: "new" };
  }

  async has(key: string): Promise<boolean> {
    this.#expire();
    return this.#entries.has(key);
  }

  release(key: string): void {
    this.#entries.delete(key);
  }

  keep(key: string, answer: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.answer = answer;
  }

  #expire(): number {
    const now = this.#now();
    for (const [key, { until }] of this.#entries) {
      if (until > now) break;
      this.#entries.delete(key);
    }
    return now;
  }
}
