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
import type { Command, CommandContext, ParsedArgs } from "./command.ts";
import { type DeploymentKind, writeDeployment } from "./init-deployment.ts";
import { freshSecret } from "./init-secrets.ts";

/** Readable by the owner only: the file contains secrets. */
const MODE = 0o600;

const OPENING = `Configuration of Channel. It lists every key; commented keys show their defaults.
Flags take precedence over variables (PORT or CHANNEL_PORT), variables over this file.
"channel config" prints the effective configuration. This file contains secrets: keep it private.`;

/** `channel init`: writes a `channel.toml` with new secrets, or with the settings of another program. */
export const init: Command = async (args, context) => {
  const { values, switches } = args;
  const { cwd, terminal, print, stderr, note: remark } = context;
  const kinds = KINDS.filter((kind) => switches.has(kind));
  const [kind, other] = kinds;
  if (other !== undefined) {
    stderr(`--${kind} and --${other} write different files: use one of them`);
    return 2;
  }
  if (kind === "docker" || kind === "systemd") return writeAll(kind, args, context);
  const target = values.config ?? "channel.toml";
  const from = values.from ?? "tangram.toml";
  let migrated: Migrated = { chosen: new Map(), notes: [] };
  try {
    if (kind === "tangram") migrated = besideTangram(migrate(cwd, from));
    else if (values.from !== undefined) migrated = migrate(cwd, values.from);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const missing = kind === "tangram" && values.from === undefined && error.exitCode === 1;
    stderr(
      missing
        ? `${error.message}. Run it in the folder of tangram.toml, or name the file with --from`
        : error.message,
    );
    return error.exitCode;
  }
  const { chosen, notes } = migrated;
  for (const key of ["jwt_secret", "admin_secret"]) {
    if (!chosen.has(key)) chosen.set(key, { value: freshSecret() });
  }
  const source = kind === "tangram" ? from : values.from;
  const opening = source === undefined ? OPENING : `${OPENING}\nMigrated from ${basename(source)}.`;
  const text = renderTemplate(opening, chosen);
  const problem = problemOf(text, source ?? target, target);
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

/** What `init` writes beside a plain `channel.toml`. */
const KINDS = ["tangram", "docker", "systemd"] as const;

/** Port of this server beside a Tangram, which always starts a service of its own on the port of its configuration. */
const PORT = 2025;

/** A migrated tangram.toml, for a server that runs beside Tangram's own. */
function besideTangram({ chosen, notes }: Migrated): Migrated {
  const port = chosen.get("port")?.value === PORT ? PORT + 1 : PORT;
  chosen.set("port", { value: port, remark: "Tangram's own service keeps its port." });
  const url = chosen.get("public_url")?.value;
  const pages =
    url === undefined
      ? `set public_url = "http://127.0.0.1:${port}" in [channel] of tangram.toml: pages then use this server`
      : `pages use ${quoted(String(url))} (public_url in tangram.toml): it must lead to port ${port}`;
  return { chosen, notes: [...notes, pages] };
}

/** Writes the files of a deployment. */
function writeAll(kind: DeploymentKind, { values }: ParsedArgs, context: CommandContext): number {
  const { cwd, terminal, print, stderr, note } = context;
  if (values.from !== undefined || values.config !== undefined) {
    stderr(`--${kind} writes a folder of files: --from and --config are for a channel.toml alone`);
    return 2;
  }
  const written = writeDeployment(kind, cwd);
  if (!written.ok) {
    stderr(written.message);
    return 1;
  }
  if (terminal === null) for (const path of written.paths) print(path);
  else {
    print(`wrote ${written.paths.join(", ")}`);
    note(`next: ${written.next}`);
  }
  return 0;
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
