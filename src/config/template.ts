import { stringify } from "smol-toml";
import { API_KEY_FACTS, CHANNEL_FACTS, FACTS, type Fact } from "./docs.ts";

/** A key that a file sets, and a remark that stands above it instead of its documentation. */
export interface Chosen {
  readonly value: unknown;
  readonly remark?: string;
}

const TITLES: Readonly<Record<string, string>> = {
  claims: "Names of the claims in tokens made elsewhere.",
  limits:
    'What one client, one address and all together may take. Sizes are bytes or "64MiB", durations "5s".',
  channelstream: "Channelstream's protocol: on as soon as it has a secret.",
};

/**
 * A `channel.toml` with every key that there is: what `chosen` says (by full key) in force, the rest commented out with
 * its default. Whoever takes the hash away before a key has changed nothing yet.
 */
export function configFile(opening: string, chosen: ReadonlyMap<string, Chosen>): string {
  const lines = [...opening.split("\n").map(comment)];
  let section = "";
  for (const fact of FACTS) {
    if (fact.section !== section) {
      ({ section } = fact);
      const used = [...chosen.keys()].some((key) => key.startsWith(`${section}.`));
      lines.push("", comment(TITLES[section] ?? section), `${used ? "" : "# "}[${section}]`);
    }
    const said = chosen.get(fact.key);
    lines.push(...(section === "" ? [""] : []), ...wrap(said?.remark ?? fact.doc).map(comment));
    lines.push(said === undefined ? comment(standard(fact)) : assignment(fact.name, said.value));
  }
  lines.push("", comment("Settings of the channels that match, the longest pattern first."));
  lines.push(comment('[channels."room:*"]'));
  for (const fact of CHANNEL_FACTS) lines.push(comment(fact.doc), comment(standard(fact)));
  lines.push(
    "",
    comment("Less than the admin secret, for backends that need less; as many as there are backends."),
  );
  lines.push(comment("[[api_keys]]"));
  for (const fact of API_KEY_FACTS)
    lines.push(comment(fact.doc), comment(EXAMPLES[fact.name] ?? standard(fact)));
  lines.push("");
  return lines.join("\n");
}

/** What stands for a key that has no default and is needed. */
const EXAMPLES: Readonly<Record<string, string>> = {
  key: 'key = "at least 16 characters, better 32 random bytes"',
  name: 'name = "billing"',
  can: 'can = ["publish", "read"]',
};

/** The default as a line of TOML; nothing stands behind a key that has none. */
function standard({ name, standard: value }: Fact): string {
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
