import { stringify } from "smol-toml";
import { API_KEY_DOCS, CHANNEL_DOCS, SETTING_DOCS, type SettingDoc } from "./docs.ts";

/** A value to write, and an optional comment instead of the documentation of its key. */
export interface TemplateValue {
  readonly value: unknown;
  readonly remark?: string;
}

const TITLES: Readonly<Record<string, string>> = {
  claims: "Names of claims in tokens of other issuers.",
  limits: 'Limits for a client, an address and in total. Sizes are bytes or "64MiB", durations "5s".',
  channelstream: "Channelstream protocol: enabled if it has a secret.",
};

/** A `channel.toml` with every key: those in `chosen` (by full key) set, all others commented out with their defaults. */
export function renderTemplate(opening: string, chosen: ReadonlyMap<string, TemplateValue>): string {
  const lines = [...opening.split("\n").map(comment)];
  let section = "";
  for (const setting of SETTING_DOCS) {
    if (setting.section !== section) {
      ({ section } = setting);
      const used = [...chosen.keys()].some((key) => key.startsWith(`${section}.`));
      lines.push("", comment(TITLES[section] ?? section), `${used ? "" : "# "}[${section}]`);
    }
    const value = chosen.get(setting.key);
    lines.push(...(section === "" ? [""] : []), ...wrap(value?.remark ?? setting.doc).map(comment));
    lines.push(value === undefined ? comment(defaultLine(setting)) : assignment(setting.name, value.value));
  }
  lines.push("", comment("Settings of matching channels; the longest pattern takes precedence."));
  lines.push(comment('[channels."room:*"]'));
  for (const setting of CHANNEL_DOCS) lines.push(comment(setting.doc), comment(defaultLine(setting)));
  lines.push("", comment("Keys with limited permissions for backends; repeat the section for each key."));
  lines.push(comment("[[api_keys]]"));
  for (const setting of API_KEY_DOCS)
    lines.push(comment(setting.doc), comment(EXAMPLES[setting.name] ?? defaultLine(setting)));
  lines.push("");
  return lines.join("\n");
}

/** Examples for required keys, which have no default. */
const EXAMPLES: Readonly<Record<string, string>> = {
  key: 'key = "at least 16 characters; 32 random bytes are better"',
  name: 'name = "billing"',
  can: 'can = ["publish", "read"]',
};

/** The default as a line of TOML; `key =` if there is none. */
function defaultLine({ name, defaultValue: value }: SettingDoc): string {
  return value === null ? `${name} =` : assignment(name, value);
}

function assignment(key: string, value: unknown): string {
  return stringify({ [key]: value }).trim();
}

function comment(text: string): string {
  return text === "" ? "#" : `# ${text}`;
}

const WIDTH = 98;

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + word.length + 1 > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
