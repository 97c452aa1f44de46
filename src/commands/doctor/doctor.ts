import { loadConfig } from "../../config/config.ts";
import { escaped } from "../../log.ts";
import type { Command } from "../command.ts";
import { type Check, type CheckStatus, failed, ok, warning } from "./check.ts";
import { checkCertificate, checkFiles } from "./file-checks.ts";
import { checkRedis } from "./redis-checks.ts";
import { checkServer, findServer } from "./server-checks.ts";

/** `channel doctor`: checks what a server of this configuration needs. Exit code 1 if a check failed, 2 if the configuration is invalid. */
export const doctor: Command = async ({ values, switches }, { env, cwd, terminal, print }) => {
  const asJson = switches.has("json");
  const color = terminal?.color ?? false;
  const all: Check[] = [];
  const report = (checks: readonly Check[]): void => {
    all.push(...checks);
    // Each at once: the next may take seconds.
    if (!asJson) for (const check of checks) print(asText(check, color));
  };
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok)
    report([failed("configuration", loaded.message, "docs/errors.md has the remedy of each error")]);
  else {
    const { config, file, warnings } = loaded;
    report(
      warnings.length === 0
        ? [ok("configuration", file ?? "no file: flags, environment and defaults")]
        : warnings.map((text) =>
            warning("configuration", text, "docs/errors.md has the remedy of each warning"),
          ),
    );
    report([checkFiles(config)]);
    report(await checkCertificate(config, Date.now()));
    const server = await findServer(config);
    report(await checkRedis(config, server.bus === "embedded"));
    report(await checkServer(config, server));
  }
  const failures = all.filter(({ status }) => status === "failed").length;
  const remarks = all.filter(({ status }) => status === "warning").length;
  if (asJson) print(JSON.stringify({ ok: failures === 0, checks: all }));
  else print(`\n${failures} failed, ${remarks} ${remarks === 1 ? "warning" : "warnings"}`);
  if (!loaded.ok) return loaded.exitCode;
  return failures === 0 ? 0 : 1;
};

const COLORS: Readonly<Record<CheckStatus, string>> = { ok: "32", warning: "33", failed: "31", skipped: "2" };

/** The width of the longest name. */
const NAME_WIDTH = "redis output buffers".length;

function asText({ name, status, found, remedy }: Check, color: boolean): string {
  const padded = status.padEnd(7);
  const shown = color ? `\u001b[${COLORS[status]}m${padded}\u001b[0m` : padded;
  // Servers and proxies word some of it.
  const line = `${shown}  ${name.padEnd(NAME_WIDTH)}  ${escaped(found)}`;
  return remedy === null ? line : `${line}\n${" ".repeat(7 + NAME_WIDTH + 4)}-> ${remedy}`;
}
