import { copyButton } from "./shared/copy.ts";
import { container, element, oncePerFrame, setText, textElement } from "./shared/page.ts";

/** Search and copy buttons of the documentation. Everything else works without scripts. */

interface Place {
  /** Relative to the folder of the documentation. */
  readonly address: string;
  readonly page: string;
  /** Empty: the beginning of the page. */
  readonly heading: string;
  readonly text: string;
  readonly lowerTitle: string;
  readonly lowerText: string;
}

const MAX_RESULTS = 12;

/** Characters shown before and after the first match. */
const BEFORE = 40;
const AFTER = 110;

const query = element("query", HTMLInputElement);
const results = element("results", HTMLDivElement);
const found = element("found", HTMLParagraphElement);
const list = document.createElement("ul");
results.querySelector("ul")?.replaceWith(list);

// This script is in the folder of the documentation.
const own = document.currentScript;
const folder = new URL(".", own instanceof HTMLScriptElement ? own.src : location.href);

let loaded: Promise<readonly Place[]> | null = null;

function loadIndex(): Promise<readonly Place[]> {
  loaded ??= fetch(new URL("search.json", folder))
    .then((response) => response.json())
    .then(readIndex);
  // A later attempt loads it again.
  loaded.catch(() => {
    loaded = null;
  });
  return loaded;
}

function readIndex(rows: unknown): Place[] {
  if (!Array.isArray(rows)) return [];
  return rows.map((row: unknown) => {
    const [address = "", page = "", heading = "", text = ""] = Array.isArray(row) ? row.map(String) : [];
    return {
      address,
      page,
      heading,
      text,
      lowerTitle: `${page} ${heading}`.toLowerCase(),
      lowerText: text.toLowerCase(),
    };
  });
}

/** Zero if a word is missing. Titles count more than text, beginnings of words more than their middles, whole titles most. */
function score(place: Place, words: readonly string[]): number {
  let sum = 0;
  for (const word of words) {
    const inTitle = weight(place.lowerTitle, word) * 10;
    const inText = weight(place.lowerText, word);
    if (inTitle + inText === 0) return 0;
    sum += inTitle + inText;
  }
  const title = (place.heading || place.page).toLowerCase();
  const whole = title === words.join(" ") ? 3 : title.startsWith(words[0] ?? "") ? 2 : 1;
  // Files from outside the documentation come last.
  return sum * whole * (place.heading === "" ? 1.5 : 1) * (place.address.startsWith("repository/") ? 0.3 : 1);
}

function weight(text: string, word: string): number {
  const at = text.indexOf(word);
  if (at < 0) return 0;
  return text.startsWith(word) || new RegExp(`[^\\p{L}\\p{N}]${RegExp.escape(word)}`, "u").test(text) ? 2 : 1;
}

function search(places: readonly Place[], words: readonly string[]): Place[] {
  return places
    .map((place) => ({ place, points: score(place, words) }))
    .filter(({ points }) => points > 0)
    .sort((a, b) => b.points - a.points)
    .map(({ place }) => place);
}

/** The text around the first word, with all words marked. */
function excerpt(place: Place, words: readonly string[]): HTMLElement {
  const first = Math.min(
    ...words.map((word) => place.lowerText.indexOf(word)).filter((at) => at >= 0),
    Infinity,
  );
  const start = first === Infinity ? 0 : Math.max(0, first - BEFORE);
  const shown = place.text.slice(start, start + BEFORE + AFTER);
  const made = container("p", "excerpt", start === 0 ? "" : "…");
  const pattern = new RegExp(`(${words.map((word) => RegExp.escape(word)).join("|")})`, "giu");
  for (const [index, part] of shown.split(pattern).entries())
    made.append(index % 2 === 0 ? part : textElement("mark", part));
  if (start + shown.length < place.text.length) made.append("…");
  return made;
}

function resultLink(place: Place, words: readonly string[]): HTMLElement {
  const link = document.createElement("a");
  link.href = new URL(place.address, folder).href;
  const title = container("p", "", textElement("b", place.heading === "" ? place.page : place.heading));
  if (place.heading !== "") title.append(" ", textElement("span", place.page, "quiet"));
  link.append(title, excerpt(place, words));
  link.addEventListener("click", hide);
  return container("li", "", link);
}

function hide(): void {
  results.hidden = true;
}

async function update(): Promise<void> {
  const text = query.value.trim();
  if (text === "") return hide();
  const places = await loadIndex().catch(() => null);
  // Typed on meanwhile.
  if (query.value.trim() !== text) return;
  results.hidden = false;
  const words = text.toLowerCase().split(/\s+/);
  const matches = places === null ? [] : search(places, words);
  const count =
    matches.length > MAX_RESULTS
      ? `${MAX_RESULTS} of ${matches.length} places`
      : matches.length === 1
        ? "1 place"
        : `${matches.length} places`;
  setText(
    found,
    places === null ? "The search index did not load." : matches.length === 0 ? "Nothing found." : count,
  );
  list.replaceChildren(...matches.slice(0, MAX_RESULTS).map((place) => resultLink(place, words)));
}

/** Moves the focus between the field and the results. */
function move(step: 1 | -1): void {
  const stops: HTMLElement[] = [query, ...list.querySelectorAll("a")];
  const at = document.activeElement instanceof HTMLElement ? stops.indexOf(document.activeElement) : 0;
  stops[Math.min(Math.max(at + step, 0), stops.length - 1)]?.focus();
}

const searchArea = element("search", HTMLDivElement);
searchArea.hidden = false;
query.addEventListener("focus", () => void loadIndex().catch(() => null));
query.addEventListener(
  "input",
  oncePerFrame(() => void update()),
);
searchArea.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : -1);
  else if (event.key === "Enter" && event.target === query) list.querySelector("a")?.click();
  else if (event.key === "Escape") {
    query.focus();
    hide();
    return;
  } else return;
  event.preventDefault();
});
searchArea.addEventListener("focusout", (event) => {
  if (!(event.relatedTarget instanceof Node && searchArea.contains(event.relatedTarget))) hide();
});
query.addEventListener("focus", () => {
  if (query.value.trim() !== "") void update();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select") !== null;
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  query.focus();
  query.select();
});

for (const block of document.querySelectorAll("article pre")) {
  const wrapper = container("div", "block");
  block.replaceWith(wrapper);
  wrapper.append(
    block,
    copyButton(() => block.textContent?.replace(/\n$/, "") ?? ""),
  );
}

// A link of the table of contents closes the list that covers the page of a phone.
for (const menu of document.querySelectorAll("[popover]"))
  menu.addEventListener("click", (event) => {
    if (event.target instanceof HTMLAnchorElement && menu instanceof HTMLElement) menu.hidePopover();
  });
