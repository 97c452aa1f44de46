import type { Fields } from "../log.ts";
import type { Act } from "./audit.ts";

/** Acts kept: changes, publishes, what was refused, and attempts of those who proved nothing. Each kind can displace only its own. */
const MOST = { changes: 1000, publishes: 200, refused: 200, unproven: 200 } as const;

type Kind = keyof typeof MOST;

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
  readonly #kept: Record<Kind, KeptAct[]> = { changes: [], publishes: [], refused: [], unproven: [] };

  /** @param now unix time in ms */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  add({ act, who, from, what, result }: Act): void {
    const kind = kindOf({ act, who, result });
    const kept = this.#kept[kind];
    kept.push({ at: this.#now(), act, who: cut(who), from: cut(from), what: bounded(what ?? {}), result });
    if (kept.length > MOST[kind]) kept.shift();
  }

  /** Of each kind the newest first. */
  all(): KeptAct[] {
    return Object.values(this.#kept).flatMap((kept) => kept.toReversed());
  }
}

/** A key without an ability could displace all changes with attempts, were they changes too. */
function kindOf({ act, who, result }: Pick<Act, "act" | "who" | "result">): Kind {
  if (who === "nobody") return "unproven";
  if (result !== "ok") return "refused";
  return act === "publish" ? "publishes" : "changes";
}

function bounded(what: Fields): Record<string, string> {
  const entries = Object.entries(what).slice(0, MAX_ENTRIES);
  return Object.fromEntries(entries.map(([name, value]) => [name, cut(String(value))]));
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1).toWellFormed()}…` : text;
}
