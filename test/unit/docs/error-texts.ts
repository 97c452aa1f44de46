import { readFileSync } from "node:fs";
import { join } from "node:path";

const SRC = join(import.meta.dir, "../../../src");

/** How texts for operators, callers and clients are written in the sources; the first group is the text, quotes included. */
const WRITTEN = [
  /\bnew (?:Foreign)?Rejection\(\s*[^,]+,\s*[^,]+,\s*("[^"]*"|`[^`]*`)/g,
  /\bnew ConfigError\(\s*[12],\s*("[^"]*"|'(?:[^'\\]|\\.)*'|`[^`]*`)/g,
  /\bwarnings\.push\(\s*("[^"]*"|'(?:[^'\\]|\\.)*'|`[^`]*`)/g,
  /\bstderr\(\s*("[^"]*"|'(?:[^'\\]|\\.)*'|`[^`]*`)/g,
  /\brefuse\((?:frame|DENIED|"[^"]*"), *("[^"]*")/g,
  /\bfail\(("[^"]*")\)/g,
  /\bfailed\(call, ("[^"]*")\)/g,
  /\bdismiss\(\d+, *("[^"]*")/g,
  /\blog\.(?:warn|error)\(\s*("[^"]*"|`[^`]*`)/g,
  /\breason: *("[^"]*")/g,
  /\bunusable\(\s*("[^"]*"|`[^`]*`)/g,
];

/** Too short to be distinctive, or the beginning of a text that is listed anyway. */
const LEAST = 8;

/** A remark that is no error, and the pattern of many. */
const NO_ERRORS = new Set(["; Ctrl-C to stop", "body.channel: ..."]);

/** Every error text of the program, or of a text with values in it its longest part, with the file that it stands in. */
export function errorTexts(): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const file of new Bun.Glob("**/*.ts").scanSync({ cwd: SRC })) {
    const source = readFileSync(join(SRC, file), "utf8");
    for (const pattern of WRITTEN) {
      for (const [, literal = ""] of source.matchAll(pattern)) {
        const parts = literal
          .slice(1, -1)
          .replaceAll("\\'", "'")
          .split(/\$\{(?:[^{}]|\{[^}]*\})*\}/);
        const longest = parts.sort((a, b) => b.length - a.length)[0]?.trim() ?? "";
        if (longest.length >= LEAST && !NO_ERRORS.has(longest)) texts.set(longest, file);
      }
    }
  }
  return texts;
}
