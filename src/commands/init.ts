import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import type { CarriedOver } from "../config/channelstream-ini.ts";
import { loadConfig } from "../config/config.ts";
import { Refusal } from "../config/config-error.ts";
import { why } from "../config/file.ts";
import { carryOver } from "../config/migrate.ts";
import { quoted } from "../config/quote.ts";
import { configFile } from "../config/template.ts";
import type { Command } from "./command.ts";

/** Readable by its owner alone: it holds secrets. */
const MODE = 0o600;

const OPENING = `Configuration of Channel. Every key is here: what has a hash before it is the default.
Flags win over variables (PORT, or CHANNEL_PORT), variables over this file.
"channel config" shows what is in force. This file holds secrets: nobody else should read it.`;

/** `channel init`: a `channel.toml` with fresh secrets, or with what another program's configuration says. */
export const init: Command = async ({ values }, { cwd, terminal, print, stderr }) => {
  const target = values.config ?? "channel.toml";
  let carried: CarriedOver = { chosen: new Map(), notes: [] };
  try {
    if (values.from !== undefined) carried = carryOver(cwd, values.from);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    stderr(error.message);
    return error.exitCode;
  }
  const { chosen, notes } = carried;
  for (const key of ["jwt_secret", "admin_secret"]) {
    if (!chosen.has(key)) chosen.set(key, { value: freshSecret() });
  }
  const opening = values.from === undefined ? OPENING : `${OPENING}\nMade from ${basename(values.from)}.`;
  const text = configFile(opening, chosen);
  const problem = problemOf(text, values.from ?? target, target);
  if (problem !== null) {
    stderr(problem);
    return 2;
  }
  try {
    writeFileSync(resolve(cwd, target), text, { flag: "wx", mode: MODE });
  } catch (error) {
    const exists = error instanceof Error && "code" in error && error.code === "EEXIST";
    // A disk that is full takes the name and nothing else.
    if (!exists) rmSync(resolve(cwd, target), { force: true });
    const reason = exists
      ? "it is there already, and nothing is overwritten. Move it away, or name another with --config"
      : why(error) === "no such file"
        ? `there is no folder ${quoted(dirname(resolve(cwd, target)))}`
        : why(error);
    stderr(`cannot write ${quoted(target)}: ${reason}`);
    return 1;
  }
  for (const note of notes) stderr(`note: ${note}`);
  if (terminal === null) print(target);
  else {
    const run = target === "channel.toml" ? "channel" : `channel --config ${quoted(target)}`;
    print(`${target} is written, for your eyes only. "${run}" runs the server with it.`);
  }
  return 0;
};

function freshSecret(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** What a server would say of this file, about the one that it was made from; warnings are for its start. */
function problemOf(text: string, source: string, target: string): string | null {
  const folder = mkdtempSync(join(tmpdir(), "channel-init-"));
  try {
    writeFileSync(join(folder, "channel.toml"), text, { mode: MODE });
    const loaded = loadConfig({ flags: { config: "channel.toml" }, env: {}, cwd: folder });
    if (loaded.ok || loaded.exitCode === 1) return null;
    // A secret that is too weak for the address is for the operator to replace, in the new file or the old one.
    return loaded.message.replace(/^channel\.toml/, source === target ? quoted(target) : quoted(source));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
