import { button, element } from "../shared/page.ts";
import type { Series } from "./api.ts";
import type { Line } from "./chart.ts";

/** The time that charts show. */
export type Range = "10m" | "1h" | "24h";

const RANGES: Readonly<Record<Range, { readonly title: string; readonly span: string }>> = {
  "10m": { title: "10 min", span: "last 10 minutes" },
  "1h": { title: "1 h", span: "last hour" },
  "24h": { title: "24 h", span: "last 24 hours" },
};

/** Where the browser keeps the choice. */
const KEY = "channel-admin-range";

let range = stored();
const observers: (() => void)[] = [];

function stored(): Range {
  try {
    const value = localStorage.getItem(KEY);
    return value === "1h" || value === "24h" ? value : "10m";
  } catch {
    // The browser may forbid storage.
    return "10m";
  }
}

export function currentRange(): Range {
  return range;
}

/** For screen readers: `last hour`. */
export function spanOf(shown: Range): string {
  return RANGES[shown].span;
}

/** Fills an element with the buttons of a switch; all switches show the same range. */
export function createRangeSwitch(id: string, changed: () => void): void {
  const host = element(id, HTMLElement);
  const buttons = (Object.keys(RANGES) as Range[]).map((each) => {
    const made = button(RANGES[each].title, () => choose(each));
    const render = (): void => made.setAttribute("aria-pressed", String(range === each));
    render();
    observers.push(render);
    return made;
  });
  host.append(...buttons);
  observers.push(changed);
}

function choose(chosen: Range): void {
  if (chosen === range) return;
  range = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Kept for this page only.
  }
  for (const observer of observers) observer();
}

/** One line of a series. */
export function lineOf({ values }: Series, column: string, name = column): Line {
  return { name, values: values[column] ?? [] };
}

/** Since when there are figures, if that is later than the range: `since 14:03`. */
export function sinceNote({ at, values }: Series, column: string): string {
  const first = values[column]?.findIndex((value) => value !== null) ?? -1;
  const since = at[first];
  if (first <= 1 || since === undefined) return "";
  return `since ${new Date(since).toLocaleTimeString("en-GB").slice(0, 5)}`;
}
