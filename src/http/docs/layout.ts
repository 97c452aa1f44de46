import { relativeLink } from "./addresses.ts";
import { escapeHtml } from "./highlight.ts";
import type { Heading } from "./render-markdown.ts";

/** A page in the order of reading. */
export interface Entry {
  readonly address: string;
  readonly title: string;
}

export interface Group {
  readonly title: string;
  readonly entries: readonly Entry[];
}

export interface PageParts {
  readonly address: string;
  readonly title: string;
  readonly html: string;
  readonly headings: readonly Heading[];
}

/** With more headings than this the table of contents has only those of the second level. */
const MAX_CONTENTS = 30;

const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='3' fill='%232f7d6b'/%3E%3Cpath d='M3 3a7 7 0 0 0 0 10M13 3a7 7 0 0 1 0 10' fill='none' stroke='%232f7d6b' stroke-width='1.6'/%3E%3C/svg%3E";

/** As in the other pages. */
const LOGO =
  '<svg class="logo" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="2.6" /><path d="M3.2 3.2a6.8 6.8 0 0 0 0 9.6M12.8 3.2a6.8 6.8 0 0 1 0 9.6" /></svg>';

/** A whole page. All links are relative: it works below any prefix. */
export function layOut(page: PageParts, groups: readonly Group[]): string {
  const { address, title, html } = page;
  const link = (to: string) => relativeLink(address, to);
  const order = groups.flatMap(({ entries }) => entries);
  const place = order.findIndex((entry) => entry.address === address);
  const contents = tableOfContents(page.headings);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title === "Documentation" ? "Channel: documentation" : `${title} · Channel documentation`)}</title>
<link rel="icon" href="${ICON}">
<link rel="stylesheet" href="${link("../style.css")}">
<link rel="stylesheet" href="${link("docs.css")}">
<script src="${link("docs.js")}" defer></script>
</head>
<body class="docs">
<a class="skip" href="#content">Skip to the text</a>
<header>
<p class="brand"><a href="${link("")}">${LOGO}Channel<span class="visually-hidden"> documentation</span></a></p>
<nav aria-label="Pages">
<a href="${link("../")}">Test client</a>
<a href="${link("../admin.html")}">Administration</a>
<a href="${link("../api-explorer")}">API</a>
<a href="${link("")}" aria-current="true">Documentation</a>
</nav>
<div class="search" id="search" hidden>
<label for="query" class="visually-hidden">Search the documentation</label>
<input id="query" type="search" placeholder="Search" autocomplete="off" spellcheck="false" aria-keyshortcuts="/">
<kbd aria-hidden="true">/</kbd>
<div id="results" class="results" hidden><p id="found" class="quiet" role="status"></p><ul></ul></div>
</div>
<button type="button" class="plain small-only" popovertarget="pages">All pages</button>
${contents === "" ? "" : '<button type="button" class="plain contents-button" popovertarget="contents">On this page</button>\n'}</header>
<div class="columns">
<nav id="pages" class="pages" popover aria-label="Documentation">
${groups.map((group) => navigationGroup(group, address)).join("\n")}
</nav>
${contents === "" ? "" : `<nav id="contents" class="contents" popover aria-labelledby="contents-title">\n<h2 id="contents-title">On this page</h2>\n${contents}</nav>\n`}<main id="content" tabindex="-1">
<article>
${html}</article>
<nav class="beside" aria-label="Previous and next page">
${beside(address, order[place - 1], "prev", "Previous")}${beside(address, place < 0 ? undefined : order[place + 1], "next", "Next")}</nav>
</main>
</div>
</body>
</html>
`;
}

function navigationGroup({ title, entries }: Group, address: string): string {
  const items = entries.map((entry) => {
    const current = entry.address === address ? ' aria-current="page"' : "";
    return `<li><a href="${relativeLink(address, entry.address)}"${current}>${escapeHtml(entry.title)}</a></li>`;
  });
  return `<h2>${escapeHtml(title)}</h2>\n<ul>\n${items.join("\n")}\n</ul>`;
}

function tableOfContents(headings: readonly Heading[]): string {
  const shown = headings.filter(
    ({ depth }) => depth === 2 || (depth === 3 && headings.length <= MAX_CONTENTS),
  );
  if (shown.length < 2) return "";
  const items = shown.map(
    ({ depth, id, text }) =>
      `<li${depth === 3 ? ' class="deeper"' : ""}><a href="#${id}">${escapeHtml(text)}</a></li>`,
  );
  return `<ul>\n${items.join("\n")}\n</ul>\n`;
}

function beside(from: string, entry: Entry | undefined, rel: string, label: string): string {
  if (entry === undefined) return "";
  return `<a rel="${rel}" href="${relativeLink(from, entry.address)}"><span class="quiet">${label}</span> ${escapeHtml(entry.title)}</a>\n`;
}
