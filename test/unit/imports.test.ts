import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const SOURCE = join(import.meta.dir, "../../src");

/** An import or export of a file, dynamic or not; none in a comment. */
const IMPORT = /^(?:(?:import|export|\} from)\b[^"\n]*|[^*\n]*\bimport\()"(\.[^"]+\.ts)"/gm;

/** Relative imports of each file, type-only ones included. */
function imports(): Map<string, string[]> {
  const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  return new Map(
    files.map((name) => {
      const path = join(SOURCE, name);
      const found = readFileSync(path, "utf8").matchAll(IMPORT);
      return [name, [...found].map(([, to = ""]) => relative(SOURCE, join(dirname(path), to)))];
    }),
  );
}

/** The first cycle met, as a path that ends where it begins; `null` without any. */
function cycleIn(graph: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next);
      if (cycle !== null) return cycle;
    }
    path.pop();
    done.add(file);
    return null;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle !== null) return cycle;
  }
  return null;
}

test("a cycle is found", () => {
  const graph = new Map([
    ["a", ["b"]],
    ["b", ["c", "d"]],
    ["c", []],
    ["d", ["b"]],
  ]);
  expect(cycleIn(graph)).toEqual(["b", "d", "b"]);
});

test("no file of the source imports itself through others, types included", () => {
  const graph = imports();
  expect(graph.size).toBeGreaterThan(150);
  expect(cycleIn(graph)).toBeNull();
});
