import { readFileSync } from "node:fs";
import { Refusal } from "./config-error.ts";
import { why } from "./file.ts";
import { quoted } from "./quote.ts";
import type { Chosen } from "./template.ts";

/** What a file of another program said, in our words, and what of it has no place here. */
export interface CarriedOver {
  readonly chosen: Map<string, Chosen>;
  readonly notes: readonly string[];
}

/** What Channelstream 0.7 takes where its file is silent (its `cli` module), and we take something else. */
const STANDARD: ReadonlyMap<string, string> = new Map([
  ["host", "0.0.0.0"],
  ["port", "8000"],
  ["secret", "secret"],
]);

type Put = (value: string) => readonly (readonly [key: string, value: unknown])[] | null;

const list = (value: string) => value.split(/[\s,]+/).filter((entry) => entry !== "");
const isTrue = (value: string) => /^(true|yes|on|y|t|1)$/i.test(value);

const KEYS: Readonly<Record<string, Put>> = {
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

const NO_PLACE: Readonly<Record<string, string>> = {
  admin_user: "the administrator signs in with the secret alone",
  cookie_secret: "cookies are signed with a key made of admin_secret",
  http_scheme: "public_url says how pages reach this server",
  signature_checker: "signatures are itsdangerous', as Channelstream's own checker wants them",
  demo: "the demonstrations are programs of their own, in examples/",
};

/** Reads the `[channelstream]` section of a `config.ini`. Throws a `Refusal` where there is none. */
export function readChannelstreamIni(path: string, name: string): CarriedOver {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Refusal(1, `cannot read ${quoted(name)}: ${why(error)}`);
  }
  const section = parseIni(text).get("channelstream");
  if (section === undefined) {
    throw new Refusal(
      2,
      `${quoted(name)} has no section [channelstream], as Channelstream's configuration has`,
    );
  }
  const chosen = new Map<string, Chosen>();
  const notes: string[] = [];
  for (const [key, value] of new Map([...STANDARD, ...section])) {
    const put = KEYS[key];
    if (put === undefined) {
      if (value !== "") notes.push(`${key} was left out: ${NO_PLACE[key] ?? "it has no counterpart here"}`);
      continue;
    }
    for (const [ours, ourValue] of put(value) ?? []) {
      const remark = section.has(key) ? undefined : { remark: "Channelstream's default." };
      chosen.set(ours, { value: ourValue, ...remark });
    }
  }
  return { chosen, notes };
}

/** As Python's configparser reads it: `=` or `:`, values that go on in indented lines, `#` and `;` before comments. */
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
