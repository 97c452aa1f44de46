import { button, textElement } from "./page.ts";

/** Entries rendered at once, so that a long list does not block the page. */
const PAGE_SIZE = 100;

/** Maximum characters shown of a string. */
const MAX_TEXT = 20_000;

/** A value as a collapsible tree. Collapsed nodes are rendered when they are opened. */
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
  if (key !== null) summary.append(textElement("span", key, "key"), ": ");
  summary.append(
    textElement("span", open, "punctuation"),
    textElement("span", ` ${entries.length} `, "count"),
    close,
  );
  details.append(summary);
  const fill = (): void => {
    if (details.childElementCount > 1) return;
    const children = document.createElement("div");
    children.className = "children";
    append(children, entries, 0, openDepth - 1);
    details.append(children);
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
  children: HTMLElement,
  entries: readonly (readonly [string, unknown])[],
  from: number,
  openDepth: number,
): void {
  const to = Math.min(entries.length, from + PAGE_SIZE);
  for (const [key, value] of entries.slice(from, to)) children.append(nodeOf(key, value, openDepth));
  if (to === entries.length) return;
  const more = button(`${entries.length - to} more`, () => {
    more.remove();
    append(children, entries, to, openDepth);
  });
  children.append(more);
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
  if (key !== null) made.append(textElement("span", key, "key"), ": ");
  made.append(textElement("span", text, kind));
  return made;
}
