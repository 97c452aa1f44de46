/**
 * Writes the pages that are made of the sources: `npm run docs`; `--check` writes nothing and ends with 1 where
 * one of them is stale.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../package.json";
import lock from "../package-lock.json";
import { API_KEY_DOCS, CHANNEL_DOCS, SETTING_DOCS, type SettingDoc } from "../src/config/docs.ts";
import { PREFIX } from "../src/config/environment.ts";
import { variable } from "../src/config/settings.ts";

const TITLES: Readonly<Record<string, string>> = {
  "": "Top level",
  claims: "`[claims]`: names in tokens made elsewhere",
  limits: "`[limits]`",
  channelstream: "`[channelstream]`",
};

/** docs/configuration.md */
export function configurationPage(): string {
  const lines = [
    "# Configuration",
    "",
    "<!-- Made by docs/generate.ts from src/config/settings.ts: change it there. -->",
    "",
    "Flags win over variables, variables over the file, the file over defaults. The file is TOML: `--config`, else `./channel.toml`, else",
    "`./tangram.toml`, else `/etc/channel/channel.toml`. `channel init` writes one with every key; `channel config` shows what is in force.",
    "",
    "- A key is a variable in capitals: `PORT`, `LIMITS_MAX_FRAME`. With `CHANNEL_` before it, it wins over the name alone.",
    "- A secret may lie in a file that the variable with `_FILE` behind its name points to: `JWT_SECRET_FILE=/run/secrets/jwt`.",
    '- Durations are seconds or text such as `"50ms"`, `"5s"`, `"10m"`; sizes are bytes or text such as `"64KiB"`, `"4MiB"`.',
    "- In a `tangram.toml` the keys stand under `[channel]`, and some defaults are Tangram's.",
    "- What is unknown or wrong is an error of one line that names it, and exit code 2.",
  ];
  const sections = new Map<string, SettingDoc[]>();
  for (const setting of SETTING_DOCS)
    sections.set(setting.section, [...(sections.get(setting.section) ?? []), setting]);
  for (const [section, docs] of sections)
    lines.push("", `## ${TITLES[section] ?? section}`, "", ...table(docs));
  lines.push(
    "",
    '## `[channels."<pattern>"]`',
    "",
    "Settings of matching channels; the longest pattern takes precedence.",
    "",
  );
  lines.push(...table(CHANNEL_DOCS, false));
  lines.push(
    "",
    "## `[[api_keys]]`",
    "",
    "Less than the admin secret, for backends that need less; sent as Bearer.",
    "",
  );
  lines.push(...table(API_KEY_DOCS, false));
  return `${lines.join("\n")}\n`;
}

function table(docs: readonly SettingDoc[], variables = true): string[] {
  return grid([
    ["key", "default", "what", ...(variables ? ["allowed; variable, flag"] : ["allowed"])],
    ...docs.map((setting) => {
      const { name, key, defaultValue, tangram, doc, expects, flag, secret } = setting;
      const value =
        defaultValue === null || (!variables && defaultValue === "")
          ? "none"
          : `\`${JSON.stringify(defaultValue)}\``;
      const other = tangram === undefined ? "" : ` (\`${JSON.stringify(tangram)}\` with a tangram.toml)`;
      // Shells export HOST for themselves.
      const names = [`\`${key === "host" || key === "prefix" ? PREFIX : ""}${variable(key)}\``];
      if (secret) names.push(`\`${variable(key)}_FILE\``);
      if (flag !== null) names.push(`\`--${name.replaceAll("_", "-")}\``);
      return [`\`${name}\``, value + other, doc, expects + (variables ? `; ${names.join(", ")}` : "")];
    }),
  ]);
}

/** A table as the formatter has it: columns as wide as their widest cell. */
function grid(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(3, ...cells.map((row) => Bun.stringWidth(row[column] ?? ""))),
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - Bun.stringWidth(cell))).join(" | ")} |`;
  const [head = [], ...body] = cells;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)];
}

/** Why each package is there; a package without a reason is an error. */
const REASONS: Readonly<Record<string, string>> = {
  amqplib: "connections to RabbitMQ: AMQP 0-9-1, TLS, confirms",
  citty: "help texts of the command line",
  ioredis: "connections to Redis, Sentinel and Cluster: addresses, TLS, sign-in, trying again",
  jose: "tokens by public key and key set; making tokens",
  phoenix: "the client that pages load from `/phoenix.js`, unchanged",
  "prom-client": "the text format of `/metrics`",
  "smol-toml": "reading and writing TOML, with places in its errors",
  wabt: "compiling the JSON scanner, and checking the compiled bytes in a test",
  uplot: "the graphs of the admin page",
  zod: "the API's description, from which checks, types and `/openapi.json` come",
  "@biomejs/biome": "format and lint",
  "@types/bun": "types of the runtime",
  "@types/react": "types of React",
  "@types/react-dom": "types of React",
  "axe-core": "accessibility of the pages, in tests",
  bun: "the runtime; it is in the executable",
  "cookie-session": "sessions of examples/express",
  express: "examples/express",
  marked: "Markdown of the documentation to pages, when the executable is built",
  "playwright-core": "drives Chromium in tests",
  typescript: "checks types",
  "socket.io": "a peer in the benchmark",
  "@socket.io/redis-adapter": "its adapter",
  "@socket.io/redis-emitter": "its publisher",
  react: "examples/react",
  "react-dom": "examples/react",
  redis: "what that adapter needs, and examples/express",
};

/** docs/dependencies.md */
export function dependenciesPage(): string {
  const packages: Record<string, { version?: string; license?: string; dev?: boolean }> = lock.packages;
  const row = (name: string): string[] => {
    const reason = REASONS[name];
    if (reason === undefined)
      throw new Error(`docs/generate.ts: why is ${name} a dependency? Say it in REASONS`);
    const found = packages[`node_modules/${name}`];
    return [name, found?.version ?? "?", found?.license ?? "?", reason];
  };
  const head = ["package", "version", "licence", "why"];
  const direct = Object.keys(manifest.dependencies);
  const inside = Object.entries(packages)
    .filter(([path, { dev }]) => path !== "" && !dev)
    .map(([path, { version, license }]) => [
      path.replace(/^.*node_modules\//, ""),
      version ?? "?",
      license ?? "?",
    ])
    .filter(([name]) => name !== undefined && !direct.includes(name));
  return `${[
    "# Dependencies",
    "",
    "<!-- Made by docs/generate.ts from package.json and package-lock.json. -->",
    "",
    "Pinned to the version, with checksums in `package-lock.json`. `npm run audit` asks the registry whether a vulnerability is known in any of them.",
    "`npm run release` writes the list of what an executable holds as CycloneDX.",
    "",
    "## In the executable",
    "",
    ...grid([head, ...direct.map(row), row("bun")]),
    "",
    "What these need themselves:",
    "",
    ...grid([head.slice(0, 3), ...inside]),
    "",
    "The API explorer needs none: it is 18 KB of script, style and page (`public/explorer/`). Script and style of what it was weighed against: swagger-ui-dist 5.35.0",
    "1.7 MB, rapidoc 9.3.8 0.9 MB, @stoplight/elements 9.0.25 2.4 MB, @scalar/api-reference 1.76.0 3.6 MB, each one more package to keep up to date.",
    "",
    "## For working on it",
    "",
    ...grid([
      head,
      ...Object.keys(manifest.devDependencies)
        .filter((name) => name !== "bun")
        .map(row),
    ]),
  ].join("\n")}\n`;
}

export const PAGES = { "configuration.md": configurationPage, "dependencies.md": dependenciesPage } as const;

if (import.meta.main) {
  let stale = false;
  for (const [name, make] of Object.entries(PAGES)) {
    const file = join(import.meta.dir, name);
    if (process.argv.includes("--check")) {
      if (readFileSync(file, "utf8") === make()) continue;
      console.error(`docs/${name} is stale: npm run docs`);
      stale = true;
    } else await Bun.write(file, make());
  }
  process.exit(stale ? 1 : 0);
}
