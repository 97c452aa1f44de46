import { type Loaded, loadConfig, type Origin } from "../config/config.ts";
import type { PrintedValue } from "../config/value-types.ts";
import type { Command } from "./command.ts";

type LoadedOk = Extract<Loaded, { ok: true }>;

/** `channel config`: every key, its effective value and its origin; secrets are masked. */
export const config: Command = async ({ values, switches }, { env, cwd, print, stderr, note }) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  if (switches.has("json")) print(asJson(loaded));
  else {
    print(asTable(loaded));
    for (const warning of loaded.warnings) note(`warning: ${warning}`);
  }
  return 0;
};

const GENERATED = new Set(["jwt_secret", "admin_secret"]);

/** Maximum width of the value column; a longer value shifts only its own row. */
const MAX_WIDTH = 48;

function asTable({ sources, file }: LoadedOk): string {
  const rows = [...sources].map(([key, origin]) => ({
    key,
    value: shown(key, origin.printed),
    from: from(origin),
  }));
  rows.unshift({ key: "KEY", value: "VALUE", from: "FROM" });
  const keyWidth = Math.max(...rows.map(({ key }) => key.length));
  const valueWidth = Math.min(MAX_WIDTH, Math.max(...rows.map(({ value }) => value.length)));
  const lines = rows.map(
    ({ key, value, from }) => `${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${from}`,
  );
  return `file: ${file ?? "none"}\n\n${lines.join("\n")}`;
}

/** `{"file", "values": [{"key","value","source","detail"}], "warnings"}` */
function asJson({ sources, file, warnings }: LoadedOk): string {
  const values = [...sources].map(([key, { printed, source, detail }]) => ({
    key,
    value: printed,
    source,
    detail,
  }));
  return JSON.stringify({ file, values, warnings }, null, 2);
}

function shown(key: string, value: PrintedValue): string {
  if (value === null) return GENERATED.has(key) ? "(random, changes at restart)" : "(none)";
  return JSON.stringify(value);
}

function from({ source, detail }: Origin): string {
  if (source === "default") return detail === "" ? "default" : `default of ${detail}`;
  return source === "flag" ? detail : `${source} ${detail}`;
}
