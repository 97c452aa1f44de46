import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HTTP_CODES } from "../../../src/auth/rejection.ts";
import { JOIN_CODES } from "../../../src/auth/token-codes.ts";
import { JOIN_REASONS, PUSH_REASONS } from "../../../src/hub/refusal-reasons.ts";

const ROOT = join(import.meta.dir, "../../..");
const PAGE = readFileSync(join(ROOT, "docs/errors.md"), "utf8");

/** The codes in the first column of the table below a heading. */
function listed(heading: string): string[] {
  const section = PAGE.split(`# ${heading}\n`)[1]?.split(/^##/m)[0] ?? "";
  return [...section.matchAll(/^\| `([a-z_]+)` +\|/gm)].map(([, code = ""]) => code);
}

/** The files that list the codes. */
const LISTS: ReadonlySet<string> = new Set(["auth/rejection.ts", "auth/token-codes.ts"]);

/** Every text between double quotes in the sources, the list of codes left out. */
function written(): ReadonlySet<string> {
  const texts = new Set<string>();
  for (const file of new Bun.Glob("**/*.ts").scanSync({ cwd: join(ROOT, "src") })) {
    if (LISTS.has(file)) continue;
    const source = readFileSync(join(ROOT, "src", file), "utf8");
    for (const [, text = ""] of source.matchAll(/"([a-z_]+)"/g)) texts.add(text);
  }
  return texts;
}

test("docs/errors.md lists every reason of a refused join or push, and no other", () => {
  const section = PAGE.split("# Joining and pushing (Phoenix)\n")[1]?.split(/^#/m)[0] ?? "";
  const reasons = [...section.matchAll(/^\| `([^`]+)` +\|/gm)].map(([, reason = ""]) => reason);
  // Not of a join or push, but of any frame.
  const malformed = "malformed frame: ...";
  expect(reasons.toSorted()).toEqual([...new Set([...JOIN_REASONS, ...PUSH_REASONS, malformed])].toSorted());
});

describe.each([
  ["Codes", HTTP_CODES],
  ["Codes of refused joins", JOIN_CODES],
] as const)("docs/errors.md, %s", (heading, codes) => {
  test("lists every code once, and no other", () => {
    expect(listed(heading).toSorted()).toEqual([...codes].toSorted());
  });

  test("every code is used", () => {
    const used = written();
    expect(codes.filter((code) => !used.has(code))).toEqual([]);
  });
});
