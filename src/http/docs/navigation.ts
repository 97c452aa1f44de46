import { marked, type Token, type Tokens } from "marked";

export interface NavigationEntry {
  /** As in the table: `fleet.md`. */
  readonly href: string;
  readonly title: string;
}

export interface NavigationGroup {
  readonly title: string;
  readonly entries: readonly NavigationEntry[];
}

/**
 * The groups of pages in docs/README.md: tables whose head names the group, lists below a heading, and the text before the
 * first heading, whose group has no name. Links to a part of a page are no entries.
 */
export function readNavigation(markdown: string): NavigationGroup[] {
  const groups: NavigationGroup[] = [];
  let heading = "";
  for (const token of marked.lexer(markdown)) {
    if (isHeading(token)) heading = token.depth === 1 ? "" : token.text;
    const entries = linksIn(tokensOf(token, heading === ""));
    const named = isTable(token) ? (token.header[0]?.text ?? "") : "";
    if (entries.length > 0) groups.push({ title: capitalized(named || heading), entries });
  }
  return groups;
}

/** What of a block may have entries. */
function tokensOf(token: Token, introduces: boolean): readonly Token[] {
  if (isTable(token)) return token.rows.flat().flatMap(({ tokens }) => tokens);
  if (isList(token)) return token.items.flatMap(({ tokens }) => tokens);
  return introduces && token.type === "paragraph" ? [token] : [];
}

function linksIn(tokens: readonly Token[]): NavigationEntry[] {
  return tokens.flatMap((token): NavigationEntry[] => {
    if (token.type === "link" && "href" in token && typeof token.href === "string" && "text" in token)
      return /^[a-z]+:|#/.test(token.href) ? [] : [{ href: token.href, title: String(token.text) }];
    return "tokens" in token && Array.isArray(token.tokens) ? linksIn(token.tokens) : [];
  });
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function isHeading(token: Token): token is Tokens.Heading {
  return token.type === "heading";
}

function isTable(token: Token): token is Tokens.Table {
  return token.type === "table";
}

function isList(token: Token): token is Tokens.List {
  return token.type === "list";
}
