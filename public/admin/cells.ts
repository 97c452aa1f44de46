import { setText, textElement } from "../shared/page.ts";

/** Functions that fill table cells. Cells are reused for other rows: elements are updated, not replaced, so focus stays. */

export function text(cell: HTMLElement, value: string): void {
  setText(cell, value);
  if (cell.title !== value) cell.title = value;
}

/** A text with a second line, which the style sheet shows on narrow screens only. */
export function twoLines(cell: HTMLElement, first: string, second: string): void {
  if (cell.childElementCount === 0) {
    cell.replaceChildren(textElement("span", ""), textElement("span", "", "second"));
  }
  for (const [index, value] of [first, second].entries()) {
    const line = cell.children[index];
    if (line instanceof HTMLElement) setText(line, value);
  }
  if (cell.title !== first) cell.title = first;
}

export function number(cell: HTMLElement, value: string): void {
  setText(cell, value);
}

export function link(cell: HTMLElement, value: string, address: string): void {
  let anchor = cell.firstElementChild;
  if (!(anchor instanceof HTMLAnchorElement)) {
    anchor = document.createElement("a");
    cell.replaceChildren(anchor);
  }
  if (!(anchor instanceof HTMLAnchorElement)) return;
  setText(anchor, value);
  anchor.title = value;
  anchor.setAttribute("href", address);
}

/** Current action of each button; it changes when a cell shows another row. */
const actions = new WeakMap<HTMLButtonElement, () => void>();

export interface CellButton {
  readonly title: string;
  /** Accessible name. */
  readonly label: string;
  readonly action: () => void;
}

export function buttons(cell: HTMLElement, wanted: readonly CellButton[]): void {
  while (cell.childElementCount < wanted.length) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "plain";
    made.addEventListener("click", () => actions.get(made)?.());
    cell.append(made);
  }
  for (const [index, { title, label, action }] of wanted.entries()) {
    const button = cell.children[index];
    if (!(button instanceof HTMLButtonElement)) continue;
    setText(button, title);
    button.setAttribute("aria-label", label);
    actions.set(button, action);
  }
}
