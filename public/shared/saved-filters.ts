import { button, container, textElement } from "./page.ts";

/** Key in the local storage: a JSON array of filter texts. */
const KEY = "channel-filters";

const MAX_FILTERS = 30;
const MAX_LENGTH = 500;

/** A choice of saved filters beside a filter, and a button that saves the current one or removes it. All pages share them. */
export class SavedFilters {
  readonly #input: HTMLInputElement;
  readonly #select = document.createElement("select");
  readonly #save: HTMLButtonElement;

  /** @param onChange the filter was replaced by a saved one */
  constructor(input: HTMLInputElement, onChange: () => void) {
    this.#input = input;
    this.#select.setAttribute("aria-label", "Saved filters");
    this.#select.addEventListener("change", () => {
      input.value = this.#select.value;
      this.update();
      onChange();
      input.focus();
    });
    this.#save = button("Save", () => this.#toggle());
    // Another tab saved one.
    window.addEventListener("storage", ({ key }) => {
      if (key === KEY) this.#render();
    });
    this.#render();
  }

  /** The elements to show. */
  get elements(): readonly HTMLElement[] {
    return [this.#select, this.#save];
  }

  /** The filter was edited. */
  update(): void {
    const text = this.#input.value.trim();
    const isSaved = readFilters().includes(text);
    this.#select.value = isSaved ? text : "";
    this.#save.textContent = isSaved ? "Forget" : "Save";
    this.#save.setAttribute("aria-label", isSaved ? "Forget this filter" : "Save this filter");
    this.#save.disabled = text === "";
  }

  #toggle(): void {
    const text = this.#input.value.trim().slice(0, MAX_LENGTH);
    if (text === "") return;
    const others = readFilters().filter((each) => each !== text);
    const kept = readFilters().includes(text) ? others : [text, ...others];
    writeFilters(kept.slice(0, MAX_FILTERS));
    this.#render();
  }

  #render(): void {
    const saved = readFilters();
    this.#select.replaceChildren(
      new Option("Saved filters", ""),
      ...saved.map((each) => new Option(each, each)),
    );
    this.#select.hidden = saved.length === 0;
    this.update();
  }
}

function readFilters(): string[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    if (!Array.isArray(value)) return [];
    return value
      .filter((each) => typeof each === "string" && each !== "" && each.length <= MAX_LENGTH)
      .slice(0, MAX_FILTERS);
  } catch {
    // Not ours, or the storage is blocked.
    return [];
  }
}

function writeFilters(filters: readonly string[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(filters));
  } catch {
    // Blocked or full: the filter is used, but not kept.
  }
}

/** What a filter may contain, to unfold. */
export function filterHelp(): HTMLElement {
  const help = container(
    "details",
    "filter-help",
    textElement("summary", "Filter syntax"),
    container(
      "p",
      "quiet",
      "Words are searched in events, channels, senders and the start of payloads; all must be found. ",
      textElement("code", "event:update"),
      ", ",
      textElement("code", "sender:alice"),
      ", ",
      textElement("code", "channel:room"),
      " and ",
      textElement("code", "direction:in"),
      " (from clients) or ",
      textElement("code", "direction:out"),
      " (to clients) search one field, ",
      textElement("code", "-event:ping"),
      " excludes, and quotes keep spaces.",
    ),
  );
  return help;
}
