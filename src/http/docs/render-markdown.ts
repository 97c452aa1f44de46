import { Marked, type Tokens } from "marked";
import { escapeHtml, highlight } from "./highlight.ts";
import { isHeading } from "./navigation.ts";

export interface Heading {
  readonly depth: number;
  readonly id: string;
  readonly text: string;
}

/** The text below one heading, for the search. */
export interface Section {
  readonly heading: Heading;
  readonly text: string;
}

export interface Rendered {
  readonly title: string;
  readonly html: string;
  readonly headings: readonly Heading[];
  readonly sections: readonly Section[];
}

/**
 * Renders one page.
 * @param resolve the address of a link or picture, relative to the page; `null` shows its text only
 */
export function renderMarkdown(markdown: string, resolve: (href: string) => string | null): Rendered {
  const headings: Heading[] = [];
  const ids = new Map<string, number>();

  const marked = new Marked({
    renderer: {
      heading({ tokens, depth }: Tokens.Heading) {
        const text = this.parser.parseInline(tokens, this.parser.textRenderer);
        const id = uniqueId(ids, text);
        headings.push({ depth, id, text });
        const anchor =
          depth === 1
            ? ""
            : ` <a class="anchor" href="#${id}" aria-label="Link to ${escapeHtml(text)}">#</a>`;
        return `<h${depth} id="${id}">${this.parser.parseInline(tokens)}${anchor}</h${depth}>\n`;
      },
      link({ href, tokens }: Tokens.Link) {
        const inner = this.parser.parseInline(tokens);
        const address = resolve(href);
        return address === null
          ? `<span class="unlinked" title="${escapeHtml(href.replace(/^(?:\.\.\/)+/, ""))} in the source repository">${inner}</span>`
          : `<a href="${escapeHtml(address)}">${inner}</a>`;
      },
      image({ href, text }: Tokens.Image) {
        const address = resolve(href);
        if (address === null) return escapeHtml(text);
        const image = `<img src="${escapeHtml(address)}" alt="${escapeHtml(text)}" loading="lazy">`;
        // A picture of a page may exist twice: name-light.webp and name-dark.webp.
        const dark = /-light\.\w+$/.test(href) ? resolve(href.replace(/-light(\.\w+)$/, "-dark$1")) : null;
        return dark === null
          ? image
          : `<picture><source media="(prefers-color-scheme: dark)" srcset="${escapeHtml(dark)}">${image}</picture>`;
      },
      code({ text, lang }: Tokens.Code) {
        // A block that scrolls must be reachable by keyboard.
        return `<pre tabindex="0"><code>${highlight(text, lang?.split(" ")[0] ?? "")}</code></pre>\n`;
      },
      table(token: Tokens.Table) {
        const row = (cells: readonly Tokens.TableCell[], tag: string) =>
          `<tr>${cells.map((cell) => `<${tag}>${this.parser.parseInline(cell.tokens)}</${tag}>`).join("")}</tr>`;
        const rows = token.rows.map((cells) => row(cells, "td")).join("\n");
        return `<div class="scroll" tabindex="0"><table><thead>${row(token.header, "th")}</thead><tbody>\n${rows}</tbody></table></div>\n`;
      },
      html({ text }: Tokens.HTML | Tokens.Tag) {
        return text.startsWith("<!--") ? "" : text;
      },
    },
  });

  let html = "";
  const sections: { heading: Heading; text: string }[] = [];
  const tokens = marked.lexer(markdown);
  for (const token of tokens) {
    const part = marked.parser([token]);
    html += part;
    const heading = headings.at(-1);
    if (heading === undefined) continue;
    if (isHeading(token)) sections.push({ heading, text: "" });
    else {
      const section = sections.at(-1);
      if (section !== undefined) section.text += ` ${plainText(part)}`;
    }
  }
  return {
    title: headings[0]?.text ?? "",
    html,
    headings: headings.filter(({ depth }) => depth > 1),
    sections: sections.map(({ heading, text }) => ({ heading, text: text.replace(/\s+/g, " ").trim() })),
  };
}

/** The id that GitHub gives a heading, so that links work in both places. */
function uniqueId(ids: Map<string, number>, text: string): string {
  const id = text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");
  const seen = ids.get(id) ?? 0;
  ids.set(id, seen + 1);
  return seen === 0 ? id : `${id}-${seen}`;
}

function plainText(html: string): string {
  return html
    .replace(/<\/?(?:p|li|td|th|tr|pre|div|h\d)[^>]*>/g, " ")
    .replace(/<[^>]+>/g, "")
    .replace(/&(lt|gt|quot|#39|amp);/g, (all, name: string) => CHARACTERS[name] ?? all);
}

const CHARACTERS: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', "#39": "'", amp: "&" };
