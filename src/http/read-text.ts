import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** The text of a file at `path` (relative to the repository root). A macro, as `bundle`: the executable contains it. */
export function readText(path: string): string {
  return readFileSync(resolve(import.meta.dir, "../..", path), "utf8");
}
