import { readFileSync, statSync } from "node:fs";
import { extname, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../../..");

/** Largest linked file, in bytes, that is served with the pages. */
const MAX_FILE = 256 * 1024;

const PICTURES: Readonly<Record<string, string>> = {
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webp": "image/webp",
  ".jpg": "image/jpeg",
};

/** A file of the repository that pages link to or show. */
export interface RepositoryFile {
  readonly type: string;
  readonly bytes: Buffer;
}

/** Reads a file by its path in the repository; `null` if it is missing, a folder, too large, or neither text nor a picture. */
export function readRepositoryFile(path: string): RepositoryFile | null {
  const full = resolve(ROOT, path);
  if (!full.startsWith(`${ROOT}/`)) return null;
  const found = statSync(full, { throwIfNoEntry: false });
  if (found === undefined || !found.isFile()) return null;
  const picture = PICTURES[extname(path)];
  if (picture !== undefined) return { type: picture, bytes: readFileSync(full) };
  if (found.size > MAX_FILE) return null;
  const bytes = readFileSync(full);
  return bytes.includes(0) ? null : { type: "text/plain;charset=utf-8", bytes };
}

/** The Markdown of a page, by its path in the repository. */
export function readMarkdown(path: string): string {
  return readFileSync(resolve(ROOT, path), "utf8");
}

/** Paths in the repository of all pages in `docs/`, sorted. */
export function documentationFiles(): string[] {
  return [...new Bun.Glob("docs/**/*.md").scanSync({ cwd: ROOT })].sort();
}
