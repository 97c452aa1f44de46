import type { Fields } from "../log.ts";
import type { Act } from "./audit.ts";

/** Acts kept: changes, publishes, and attempts of those who proved nothing. Each kind can displace only its own. */
const MOST = { changes: 1000, publishes: 200, unproven: 200 } as const;

/** Longest text of an act, in characters. */
const MAX_TEXT = 255;

/** Most entries of the object of an act. */
const MAX_ENTRIES = 16;

/** An act as it is kept: bounded in size. */
export interface KeptAct {
  /** Unix time in ms. */
  readonly at: number;
  readonly act: string;
  readonly who: string;
  readonly from: string;
  readonly what: Readonly<Record<string, string>>;
  readonly result: string;
}

/** The newest administrative acts of this server, since it started. The log has all of them. */
export class RecentActs {
  readonly #now: () => number;
  readonly #kept: Record<keyof typeof MOST, KeptAct[]> = { changes: [], publishes: [], unproven: [] };

  /** @param now unix time in ms */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  add({ act, who, from, what, result }: Act): void {
    const kind = who === "nobody" ? "unproven" : act === "publish" ? "publishes" : "changes";
    const kept = this.#kept[kind];
    kept.push({ at: this.#now(), act, who: cut(who), from: cut(from), what: bounded(what ?? {}), result });
    if (kept.length > MOST[kind]) kept.shift();
  }

  /** Of each kind the newest first. */
  all(): KeptAct[] {
    return Object.values(this.#kept).flatMap((kept) => kept.toReversed());
  }
}

function bounded(what: Fields): Record<string, string> {
  const entries = Object.entries(what).slice(0, MAX_ENTRIES);
  return Object.fromEntries(entries.map(([name, value]) => [name, cut(String(value))]));
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1).toWellFormed()}…` : text;
}
