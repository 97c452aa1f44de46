import { readFileSync } from "node:fs";
import { ConfigError } from "./config-error.ts";
import { fileErrorText } from "./file.ts";
import { quoted } from "./quote.ts";
import type { TemplateValue } from "./template.ts";

/** The settings of another program's configuration under our keys, and notes about those that have no counterpart. */
export interface Migrated {
  readonly chosen: Map<string, TemplateValue>;
  readonly notes: readonly string[];
}

/** Defaults of Channelstream 0.7 (its `cli` module) that differ from ours. */
const DEFAULTS: ReadonlyMap<string, string> = new Map([
  ["host", "0.0.0.0"],
  ["port", "8000"],
  ["secret", "secret"],
]);

type Convert = (value: string) => readonly (readonly [key: string, value: unknown])[] | null;

const list = (value: string) => value.split(/[\s,]+/).filter((entry) => entry !== "");
const isTrue = (value: string) => /^(true|yes|on|y|t|1)$/i.test(value);

const KEYS: Readonly<Record<string, Convert>> = {
  host: (value) => [["host", value]],
  port: (value) => [["port", Number(value)]],
  secret: (value) => [["channelstream.secret", value]],
  admin_secret: (value) => [["admin_secret", value]],
  allow_posting_from: (value) => (value === "" ? null : [["channelstream.allow_posting_from", list(value)]]),
  allow_cors: (value) => (list(value).length === 0 ? null : [["channelstream.allow_cors", list(value)]]),
  validate_requests: (value) => [["channelstream.validate_requests", isTrue(value)]],
  enforce_https: (value) => [["channelstream.enforce_https", isTrue(value)]],
  log_level: (value) => [["log_level", LEVELS[value.toLowerCase()] ?? "info"]],
  debug: (value) => (isTrue(value) ? [["log_level", "debug"]] : null),
};

const LEVELS: Readonly<Record<string, string>> = {
  debug: "debug",
  info: "info",
  warning: "warn",
  warn: "warn",
  error: "error",
  critical: "error",
};

const NO_COUNTERPART: Readonly<Record<string, string>> = {
  admin_user: "the administrator signs in with the secret alone",
  cookie_secret: "cookies are signed with a key derived from admin_secret",
  http_scheme: "public_url replaces it",
  signature_checker: "signatures have the format of itsdangerous",
  demo: "the demonstrations are separate programs, in examples/",
};

/** Reads the `[channelstream]` section of a `config.ini`. Throws a `ConfigError` if there is none. */
export function readChannelstreamIni(path: string, name: string): Migrated {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(1, `cannot read ${quoted(name)}: ${fileErrorText(error)}`);
  }
  const section = parseIni(text).get("channelstream");
  if (section === undefined) {
    throw new ConfigError(2, `${quoted(name)} has no section [channelstream]`);
  }
  const chosen = new Map<string, TemplateValue>();
  const notes: string[] = [];
  for (const [key, value] of new Map([...DEFAULTS, ...section])) {
    const convert = KEYS[key];
    if (convert === undefined) {
      if (value !== "")
        notes.push(`${key} was not copied: ${NO_COUNTERPART[key] ?? "it has no counterpart"}`);
      continue;
    }
    for (const [ours, ourValue] of convert(value) ?? []) {
      const remark = section.has(key) ? undefined : { remark: "Channelstream's default." };
      chosen.set(ours, { value: ourValue, ...remark });
    }
  }
  return { chosen, notes };
}

/** Like Python's configparser: `=` or `:`, values continued in indented lines, comments after `#` and `;`. */
function parseIni(text: string): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  let last: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const head = /^\[([^\]]+)\]/.exec(line)?.[1];
    const pair = /^([^\s=:][^=:]*?)\s*[=:]\s*(.*?)\s*$/.exec(line);
    if (head !== undefined) {
      section = sections.get(head) ?? new Map<string, string>();
      sections.set(head, section);
      last = undefined;
    } else if (/^\s/.test(line) && last !== undefined) {
      section?.set(last, `${section.get(last) ?? ""}\n${line.trim()}`.trim());
    } else if (pair?.[1] !== undefined) {
      last = pair[1].toLowerCase();
      section?.set(last, pair[2] ?? "");
    }
  }
  return sections;
}
