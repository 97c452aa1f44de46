import { put } from "../shared/page.ts";

/** Cells are filled again and again with other rows: what they hold is changed, not made anew, so that focus stays. */

export function text(cell: HTMLElement, value: string): void {
  put(cell, value);
  if (cell.title !== value) cell.title = value;
}

export function number(cell: HTMLElement, value: string): void {
  put(cell, value);
}

export function link(cell: HTMLElement, value: string, address: string): void {
  let anchor = cell.firstElementChild;
  if (!(anchor instanceof HTMLAnchorElement)) {
    anchor = document.createElement("a");
    cell.replaceChildren(anchor);
  }
  if (!(anchor instanceof HTMLAnchorElement)) return;
  put(anchor, value);
  anchor.title = value;
  anchor.setAttribute("href", address);
}

/** What a button of a cell does now: its row may be another one by then. */
const presses = new WeakMap<HTMLButtonElement, () => void>();

export interface Press {
  readonly title: string;
  /** For those who hear the page. */
  readonly label: string;
  readonly action: () => void;
}

export function buttons(cell: HTMLElement, wanted: readonly Press[]): void {
  while (cell.childElementCount < wanted.length) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "plain";
    made.addEventListener("click", () => presses.get(made)?.());
    cell.append(made);
  }
  for (const [index, { title, label, action }] of wanted.entries()) {
    const button = cell.children[index];
    if (!(button instanceof HTMLButtonElement)) continue;
    put(button, title);
    button.setAttribute("aria-label", label);
    presses.set(button, action);
  }
}
