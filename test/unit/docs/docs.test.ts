import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parse as parseToml } from "smol-toml";
import { PAGES } from "../../../docs/generate.ts";
import { readArguments } from "../../../src/commands/arguments.ts";
import { COMMANDS } from "../../../src/commands/definitions.ts";
import { loadConfig } from "../../../src/config/config.ts";
import { errorTexts } from "./error-texts.ts";

const ROOT = join(import.meta.dir, "../../..");

const pages = [
  ...new Bun.Glob("docs/**/*.md").scanSync({ cwd: ROOT }),
  ...["README.md", "SECURITY.md", "CHANGELOG.md"].filter((name) => existsSync(join(ROOT, name))),
].sort();

function read(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

interface Block {
  readonly page: string;
  readonly language: string;
  readonly text: string;
}

function blocks(page: string): Block[] {
  return [...read(page).matchAll(/^( *)```(\w*)\n([\s\S]*?)^ *```$/gm)].map(
    ([, indent = "", language = "", text = ""]) => ({
      page,
      language,
      text: text.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    }),
  );
}

/** A heading as a link names it. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function withoutCode(text: string): string {
  return text.replace(/^ *```[\s\S]*?^ *```$/gm, "").replace(/`[^`\n]*`/g, "");
}

describe("pages made of the sources", () => {
  for (const [name, make] of Object.entries(PAGES)) {
    test(`docs/${name} is as "npm run docs" writes it`, () => {
      expect(read(`docs/${name}`) === make() ? "fresh" : `stale: run "npm run docs"`).toBe("fresh");
    });
  }

  test("every error text has its remedy in docs/errors.md", () => {
    // A line of the page may be broken anywhere.
    const known = read("docs/errors.md").replace(/\s+/g, " ");
    const lacking = [...errorTexts()].filter(([text]) => !known.includes(text.replace(/^[.:,;] ?/, "")));
    expect(lacking.map(([text, file]) => `${file}: ${text}`)).toEqual([]);
  });
});

describe("links", () => {
  for (const page of pages) {
    test(`${page} leads somewhere`, () => {
      const dead: string[] = [];
      for (const [, target = ""] of withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^(https?|mailto):/.test(target)) continue;
        const [path = "", fragment] = target.split("#");
        const file = path === "" ? join(ROOT, page) : resolve(ROOT, dirname(page), path);
        if (!existsSync(file)) dead.push(target);
        else if (fragment !== undefined) {
          const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
            anchor(heading),
          );
          if (!headings.includes(fragment)) dead.push(target);
        }
      }
      expect(dead).toEqual([]);
    });
  }

  test("every page is reached from docs/README.md", () => {
    const index = read("docs/README.md") + read("docs/protocols.md");
    for (const page of pages.filter((name) => name.startsWith("docs/") && name !== "docs/README.md")) {
      expect(index).toContain(`(${relative("docs", page)})`);
    }
  });
});

describe("pictures", () => {
  const folder = "docs/pictures";
  const used = new Set(
    pages.flatMap((page) =>
      [...read(page).matchAll(/[("](?:docs\/)?pictures\/([\w-]+\.webp)[)"]/g)].map(([, name = ""]) => name),
    ),
  );
  const drawn = [...new Bun.Glob("*.webp").scanSync({ cwd: join(ROOT, folder) })];

  test("every picture that a page shows is there", () => {
    expect(used.size).toBeGreaterThan(0);
    expect([...used].filter((name) => !drawn.includes(name))).toEqual([]);
  });

  test("each is small enough for a slow line", () => {
    expect(drawn.filter((name) => Bun.file(join(ROOT, folder, name)).size > 150_000)).toEqual([]);
  });
});

/** `channel ...` of a line of shell, as words; `null` where the line runs something else. */
function ourWords(line: string): string[] | null {
  const text = line
    .replace(/^(sudo )?([A-Z_]+=\S+ )*/, "")
    .replace(/^eval "\$\((.*)\)"$/, "$1")
    .replace(/ [|>].*$/, "");
  if (!/^(dist\/)?channel( |$)/.test(text)) return null;
  const words = text.match(/'[^']*'|"\$\([^)]*\)"|\S+/g) ?? [];
  return words.slice(1).map((word) => word.replace(/^(['"])(.*)\1$/s, "$2"));
}

describe("code", () => {
  for (const block of pages.flatMap(blocks)) {
    const { page, language, text } = block;
    const name = `${page}: ${language} ${JSON.stringify(text.slice(0, 40))}`;
    if (language === "json") {
      test(name, () => {
        // One value, or one on each line.
        for (const value of text.includes("\n}") ? [text] : text.trim().split("\n")) JSON.parse(value);
      });
    } else if (language === "toml") {
      test(name, () => {
        const file =
          text.includes("[core]") || text.includes("tangram.toml") ? "tangram.toml" : "channel.toml";
        parseToml(text);
        const folder = mkdtempSync(join(tmpdir(), "channel-docs-"));
        writeFileSync(join(folder, file), text);
        const loaded = loadConfig({ flags: { config: file }, env: {}, cwd: folder });
        rmSync(folder, { recursive: true });
        expect(loaded.ok ? "" : loaded.message).toBe("");
        // A secret that the page shows must not cause a warning.
        const warnings = loaded.ok && text.includes("jwt_secret =") ? loaded.warnings : [];
        expect(warnings.filter((warning) => warning.includes("jwt_secret"))).toEqual([]);
      });
    } else if (language === "yaml") test(name, () => void expect(Bun.YAML.parse(text)).toBeObject());
    else if (language === "js" || language === "ts") {
      test(name, () => void new Bun.Transpiler({ loader: "ts" }).transformSync(text));
    } else if (language === "html") {
      test(name, () => {
        for (const [, script = ""] of text.matchAll(/<script type="module">([\s\S]*?)<\/script>/g)) {
          new Bun.Transpiler({ loader: "js" }).transformSync(script);
        }
      });
    } else if (language === "python") {
      test.skipIf(Bun.which("python3") === null)(name, () => {
        const run = Bun.spawnSync(["python3", "-c", "import ast, sys; ast.parse(sys.stdin.read())"], {
          stdin: Buffer.from(text),
          stderr: "pipe",
        });
        expect(run.stderr.toString()).toBe("");
      });
    } else if (language === "sh") {
      test(name, () => {
        const run = Bun.spawnSync(["sh", "-n"], { stdin: Buffer.from(text), stderr: "pipe" });
        expect(run.stderr.toString()).toBe("");
        for (const line of text.trim().split("\n")) {
          const words = ourWords(line.trim().replace(/ +#.*$/, ""));
          if (words === null) continue;
          const given = readArguments(words, COMMANDS, "serve");
          expect(given.ok ? "" : `${line}: ${given.message}`).toBe("");
        }
      });
    } else {
      test(name, () => {
        // Diagrams, not code; a language without a check is not allowed. Those of backends.md are compared in
        // test/integration/backends-page.test.ts: their interpreters may be absent.
        const unchecked: Readonly<Record<string, readonly string[]>> = {
          "docs/backends.md": ["go", "php", "ruby"],
          "docs/clients.md": ["kotlin"],
        };
        expect(["", "text", ...(unchecked[page] ?? [])]).toContain(language);
      });
    }
  }
});

describe("commands", () => {
  const texts = [
    ...pages,
    "test/bench/README.md",
    ...new Bun.Glob("examples/**/README.md").scanSync({ cwd: ROOT }),
    ...new Bun.Glob("deploy/*").scanSync({ cwd: ROOT }),
  ];
  const { scripts }: { scripts: Readonly<Record<string, string>> } = JSON.parse(read("package.json"));

  test.each(texts)("%s needs no bun on the PATH, and its npm scripts exist", (file) => {
    const text = read(file);
    expect(
      [...text.matchAll(/(?:^ *|`|\$ |&& )bun (?:run |x |test |[\w./-]+\.ts).*/gm)].map(([line]) => line),
    ).toEqual([]);
    const named = [...text.matchAll(/npm run (?:--silent )?([\w:]+)/g)].map(([, name = ""]) => name);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });

  test.each(pages.filter((page) => /^ *(?:import .*|python3 -c "import )\bredis\b/m.test(read(page))))(
    "%s names the Python package that it imports",
    (page) => expect(read(page).replace(/\s+/g, " ")).toContain("pip install redis"),
  );
});

describe("tables", () => {
  test.each([...pages, "test/bench/README.md"])("%s: each row has the columns of its heading", (page) => {
    const wrong: string[] = [];
    let columns: number | null = null;
    for (const line of readFileSync(join(ROOT, page), "utf8").split("\n")) {
      const cells = line.startsWith("|") ? line.split(/(?<!\\)\|/).length : null;
      if (cells !== null && columns !== null && cells !== columns) wrong.push(line);
      columns = cells === null ? null : (columns ?? cells);
    }
    expect(wrong).toEqual([]);
  });
});
