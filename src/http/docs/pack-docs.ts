import { posix } from "node:path";
import { addressOf, relativeLink } from "./addresses.ts";
import { type Group, layOut } from "./layout.ts";
import { readNavigation } from "./navigation.ts";
import { type Rendered, renderMarkdown } from "./render-markdown.ts";
import { documentationFiles, readMarkdown, readRepositoryFile } from "./repository-file.ts";

/** One packed file: its type, and its text, or bytes as base64. */
export type PackedFile = readonly [type: string, content: string, encoding: "utf8" | "base64"];

/** An entry of the search index: address, title of the page, heading, text. */
export type IndexEntry = readonly [address: string, page: string, heading: string, text: string];

const INDEX_PAGE = "docs/README.md";

/** Of zstd. Higher ones take seconds, for the last tenth of the size. */
const LEVEL = 10;

/** Pages outside docs/ that are always there. */
const ALWAYS = ["CHANGELOG.md"];

/**
 * Renders the documentation with its pictures and the files it links to, by address below `/docs/`, and compresses them. A
 * macro, as `bundle`: the executable contains the result and no renderer.
 */
export function packDocs(): string {
  return Bun.zstdCompressSync(JSON.stringify(renderDocs()), { level: LEVEL }).toString("base64");
}

/** Every file below `/docs/` but script and style. */
export function renderDocs(): Record<string, PackedFile> {
  const files: Record<string, PackedFile> = {};
  const inDocs = documentationFiles();
  const pages = new Map<string, Rendered>();
  const known = new Set([...inDocs, ...ALWAYS, ...inDocs.flatMap(linkedMarkdown)]);
  for (const path of known)
    pages.set(
      path,
      renderMarkdown(readMarkdown(path), (href) => resolve(path, href, known, files)),
    );

  const groups = groupPages(pages);
  const index: IndexEntry[] = [];
  for (const [path, page] of pages) {
    const address = addressOf(path);
    files[address] = ["text/html;charset=utf-8", layOut({ address, ...page }, groups), "utf8"];
    for (const { heading, text } of page.sections) {
      const place = heading.depth === 1 ? address : `${address}#${heading.id}`;
      index.push([place, page.title, heading.depth === 1 ? "" : heading.text, text]);
    }
  }
  files["search.json"] = ["application/json;charset=utf-8", JSON.stringify(index), "utf8"];
  return files;
}

/** Markdown outside docs/ that a page links to. */
function linkedMarkdown(path: string): string[] {
  return [...readMarkdown(path).matchAll(/\]\(([^)\s#]+\.md)(?:#[^)]*)?\)/g)]
    .map(([, href = ""]) => posix.join(posix.dirname(path), href))
    .filter((target) => !target.startsWith("docs/") && readRepositoryFile(target) !== null);
}

/** The address of a link, relative to the page. Adds files that are linked from docs/ to `files`. */
function resolve(
  from: string,
  href: string,
  known: ReadonlySet<string>,
  files: Record<string, PackedFile>,
): string | null {
  if (/^(?:[a-z]+:|#)/i.test(href)) return href;
  const [file = "", anchor] = href.split("#", 2);
  const target = posix.join(posix.dirname(from), file).replace(/\/$/, "");
  const link = () =>
    relativeLink(addressOf(from), addressOf(target)) + (anchor === undefined ? "" : `#${anchor}`);
  if (known.has(target)) return link();
  const folder = `${target}/README.md`;
  if (known.has(folder)) return relativeLink(addressOf(from), addressOf(folder));
  const isPicture = /\.(?:svg|png|webp|jpg)$/.test(target);
  if (!from.startsWith("docs/") && !isPicture) return null;
  const read = target.endsWith(".md") ? null : readRepositoryFile(target);
  if (read === null) return null;
  const binary = !read.type.startsWith("text/") && !read.type.includes("svg");
  files[addressOf(target)] = [
    read.type,
    read.bytes.toString(binary ? "base64" : "utf8"),
    binary ? "base64" : "utf8",
  ];
  return link();
}

/** Groups as in docs/README.md, then the pages that it does not list. */
function groupPages(pages: ReadonlyMap<string, Rendered>): Group[] {
  const listed = new Set<string>();
  const groups = readNavigation(readMarkdown(INDEX_PAGE)).map(({ title, entries }) => ({
    title,
    entries: entries.flatMap(({ href, title: name }) => {
      const path = posix.join("docs", href);
      const page = pages.get(path);
      if (page === undefined || listed.has(path)) return [];
      listed.add(path);
      // A link text that begins small is a part of a sentence.
      return [{ address: addressOf(path), title: /^\p{Lu}/u.test(name) ? name : page.title }];
    }),
  }));
  const rest = [...pages].filter(([path]) => !listed.has(path) && path !== INDEX_PAGE);
  const others = rest.map(([path, { title }]) => ({ address: addressOf(path), title }));
  const overview = { address: "", title: "Overview" };
  const first = groups.filter(({ title }) => title === "").flatMap(({ entries }) => entries);
  return [
    { title: "Documentation", entries: [overview, ...first] },
    ...groups.filter(({ title, entries }) => title !== "" && entries.length > 0),
    ...(others.length === 0 ? [] : [{ title: "More", entries: others }]),
  ];
}
