import { basename, resolve } from "node:path";
import { type CarriedOver, readChannelstreamIni } from "./channelstream-ini.ts";
import { FACTS } from "./docs.ts";
import { readConfigFile } from "./file.ts";

import type { Chosen } from "./template.ts";

/** What a configuration of Channelstream (`.ini`) or of Tangram (`tangram.toml`) says. Throws a `Refusal`. */
export function carryOver(cwd: string, name: string): CarriedOver {
  return /\.(ini|cfg|conf)$/i.test(basename(name))
    ? readChannelstreamIni(resolve(cwd, name), name)
    : fromTangram(cwd, name);
}

/** Our keys of its `[channel]`, Redis of `[core]`, and Tangram's defaults, which a `channel.toml` would not have. */
function fromTangram(cwd: string, name: string): CarriedOver {
  const file = readConfigFile(cwd, name, name);
  const chosen = new Map<string, Chosen>();
  for (const { key, tangram } of FACTS) {
    if (file?.tangram && tangram !== undefined)
      chosen.set(key, { value: tangram, remark: "Tangram's default." });
  }
  const paths = new Set(FACTS.filter(({ path }) => path).map(({ key }) => key));
  for (const [key, { value }] of file?.values ?? []) {
    // A relative path starts at the folder of the file that names it, and that may be another one now.
    const moves = paths.has(key) && typeof value === "string" && file !== null;
    chosen.set(key, { value: moves ? resolve(file.folder, value) : value });
  }
  const notes: string[] = [];
  if (file?.tangram && chosen.get("jwt_secret")?.value === "secret") {
    notes.push(
      'jwt_secret is "secret", as Tangram has it: choose another in both places before others reach this server',
    );
  }
  if ((file?.channels.length ?? 0) > 0) notes.push('[channels."<pattern>"] was left out: copy it by hand');
  return { chosen, notes };
}
