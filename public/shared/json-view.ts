import { button, line } from "./page.ts";

/** Members that are shown at once; a list of a million must not freeze the page. */
const PART = 100;

/** Characters of one text that are shown. */
const MAX_TEXT = 20_000;

/** A value as a tree that folds; what is folded is made when it is opened. */
export function jsonView(value: unknown, openDepth = 2): HTMLElement {
  const view = document.createElement("div");
  view.className = "json";
  view.append(nodeOf(null, value, openDepth));
  return view;
}

function nodeOf(key: string | null, value: unknown, openDepth: number): HTMLElement {
  if (typeof value !== "object" || value === null) return leaf(key, value);
  const entries: (readonly [string, unknown])[] = Array.isArray(value)
    ? value.map((item, index) => [String(index), item] as const)
    : Object.entries(value);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (entries.length === 0) return leafOf(key, `${open}${close}`, "punctuation");

  const details = document.createElement("details");
  const summary = document.createElement("summary");
  if (key !== null) summary.append(line("span", key, "key"), ": ");
  summary.append(line("span", open, "punctuation"), line("span", ` ${entries.length} `, "count"), close);
  details.append(summary);
  const fill = (): void => {
    if (details.childElementCount > 1) return;
    const inside = document.createElement("div");
    inside.className = "inside";
    append(inside, entries, 0, openDepth - 1);
    details.append(inside);
  };
  details.addEventListener("toggle", () => {
    if (details.open) fill();
  });
  if (openDepth > 0) {
    fill();
    details.open = true;
  }
  return details;
}

function append(
  inside: HTMLElement,
  entries: readonly (readonly [string, unknown])[],
  from: number,
  openDepth: number,
): void {
  const to = Math.min(entries.length, from + PART);
  for (const [key, value] of entries.slice(from, to)) inside.append(nodeOf(key, value, openDepth));
  if (to === entries.length) return;
  const more = button(`${entries.length - to} more`, () => {
    more.remove();
    append(inside, entries, to, openDepth);
  });
  inside.append(more);
}

function leaf(key: string | null, value: unknown): HTMLElement {
  if (typeof value !== "string") return leafOf(key, String(value), typeof value);
  const text =
    value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)} ... (${value.length} characters)` : value;
  return leafOf(key, JSON.stringify(text), "string");
}

function leafOf(key: string | null, text: string, kind: string): HTMLElement {
  const made = document.createElement("div");
  made.className = "leaf";
  if (key !== null) made.append(line("span", key, "key"), ": ");
  made.append(line("span", text, kind));
  return made;
}
