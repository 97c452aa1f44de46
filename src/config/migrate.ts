import { basename, resolve } from "node:path";
import { type Migrated, readChannelstreamIni } from "./channelstream-ini.ts";
import { SETTING_DOCS } from "./docs.ts";
import { readConfigFile } from "./file.ts";

import type { TemplateValue } from "./template.ts";

/** Reads a configuration of Channelstream (`.ini`) or Tangram (`tangram.toml`). Throws a `ConfigError`. */
export function migrate(cwd: string, name: string): Migrated {
  return /\.(ini|cfg|conf)$/i.test(basename(name))
    ? readChannelstreamIni(resolve(cwd, name), name)
    : fromTangram(cwd, name);
}

/** Keys of `[channel]`, `redis_url` of `[core]`, and Tangram's defaults where they differ from ours. */
function fromTangram(cwd: string, name: string): Migrated {
  const file = readConfigFile(cwd, name, name);
  const chosen = new Map<string, TemplateValue>();
  for (const { key, tangram } of SETTING_DOCS) {
    if (file?.tangram && tangram !== undefined)
      chosen.set(key, { value: tangram, remark: "Tangram's default." });
  }
  const paths = new Set(SETTING_DOCS.filter(({ path }) => path).map(({ key }) => key));
  for (const [key, { value }] of file?.values ?? []) {
    // Relative paths are resolved here: the new file may be in another folder.
    const isPath = paths.has(key) && typeof value === "string" && file !== null;
    chosen.set(key, { value: isPath ? resolve(file.folder, value) : value });
  }
  const notes: string[] = [];
  if (file?.tangram && chosen.get("jwt_secret")?.value === "secret") {
    notes.push(
      'jwt_secret is "secret", the default of Tangram: change it in both programs before the server is reachable from outside',
    );
  }
  if ((file?.channels.length ?? 0) > 0) notes.push('[channels."<pattern>"] was not copied: copy it by hand');
  return { chosen, notes };
}
