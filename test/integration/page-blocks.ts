import { readFileSync } from "node:fs";
import { join } from "node:path";

const DOCS = join(import.meta.dir, "../../docs");

/** The code blocks of a page in docs/ in a language, in order, without their indentation. */
export function blocksOf(page: string, language: string): string[] {
  const text = readFileSync(join(DOCS, page), "utf8");
  return [...text.matchAll(/^( *)```(\w*)\n([\s\S]*?)^ *```$/gm)]
    .filter(([, , named]) => named === language)
    .map(([, indent = "", , block = ""]) => block.replaceAll(new RegExp(`^${indent}`, "gm"), ""));
}

/** The first block of a page that contains a text. */
export function blockWith(page: string, language: string, text: string): string {
  const found = blocksOf(page, language).find((block) => block.includes(text));
  if (found === undefined) throw new Error(`docs/${page} has no block of ${language} with ${text}`);
  return found;
}

/** The first command in the shell blocks of a page that contains a text. */
export function commandWith(page: string, text: string): string {
  const lines = blocksOf(page, "sh").flatMap((block) => block.replaceAll("\\\n", "").trim().split("\n"));
  const found = lines.find((line) => line.includes(text));
  if (found === undefined) throw new Error(`docs/${page} has no command with ${text}`);
  return found;
}
