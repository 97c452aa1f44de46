import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import type { Migrated } from "../config/channelstream-ini.ts";
import { loadConfig } from "../config/config.ts";
import { ConfigError } from "../config/config-error.ts";
import { fileErrorText } from "../config/file.ts";
import { migrate } from "../config/migrate.ts";
import { quoted } from "../config/quote.ts";
import { renderTemplate } from "../config/template.ts";
import type { Command } from "./command.ts";

/** Readable by the owner only: the file contains secrets. */
const MODE = 0o600;

const OPENING = `Configuration of Channel. It lists every key; commented keys show their defaults.
Flags take precedence over variables (PORT or CHANNEL_PORT), variables over this file.
"channel config" prints the effective configuration. This file contains secrets: keep it private.`;

/** `channel init`: writes a `channel.toml` with new secrets, or with the settings of another program. */
export const init: Command = async ({ values }, { cwd, terminal, print, stderr, note: remark }) => {
  const target = values.config ?? "channel.toml";
  let migrated: Migrated = { chosen: new Map(), notes: [] };
  try {
    if (values.from !== undefined) migrated = migrate(cwd, values.from);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    stderr(error.message);
    return error.exitCode;
  }
  const { chosen, notes } = migrated;
  for (const key of ["jwt_secret", "admin_secret"]) {
    if (!chosen.has(key)) chosen.set(key, { value: freshSecret() });
  }
  const opening = values.from === undefined ? OPENING : `${OPENING}\nMigrated from ${basename(values.from)}.`;
  const text = renderTemplate(opening, chosen);
  const problem = problemOf(text, values.from ?? target, target);
  if (problem !== null) {
    stderr(problem);
    return 2;
  }
  try {
    writeFileSync(resolve(cwd, target), text, { flag: "wx", mode: MODE });
  } catch (error) {
    const exists = error instanceof Error && "code" in error && error.code === "EEXIST";
    // On a full disk an empty file may have been created.
    if (!exists) rmSync(resolve(cwd, target), { force: true });
    const reason = exists
      ? "the file exists and is not overwritten. Move it, or write another file with --config"
      : fileErrorText(error) === "no such file"
        ? `no such folder: ${quoted(dirname(resolve(cwd, target)))}`
        : fileErrorText(error);
    stderr(`cannot write ${quoted(target)}: ${reason}`);
    return 1;
  }
  for (const note of notes) remark(`note: ${note}`);
  if (terminal === null) print(target);
  else {
    const run = target === "channel.toml" ? "channel" : `channel --config ${quoted(target)}`;
    print(`wrote ${target}, readable only by you. "${run}" runs the server with it.`);
  }
  return 0;
};

function freshSecret(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** The error that a server reports for this file, or `null`; it names the source file if there is one. */
function problemOf(text: string, source: string, target: string): string | null {
  const folder = mkdtempSync(join(tmpdir(), "channel-init-"));
  try {
    writeFileSync(join(folder, "channel.toml"), text, { mode: MODE });
    const loaded = loadConfig({ flags: { config: "channel.toml" }, env: {}, cwd: folder });
    if (loaded.ok || loaded.exitCode === 1) return null;
    // The operator fixes a weak secret in the source file, or in the new one.
    return loaded.message.replace(/^channel\.toml/, source === target ? quoted(target) : quoted(source));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
