import { afterAll } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Config, type Loaded, type LoadInput, loadConfig } from "../../../src/config/config.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** An empty folder with these files in it, removed after the tests of the file. */
export function folderWith(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "channel-config-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  }
  return folder;
}

/** Loads with nothing of this machine in it: an empty folder, no environment, no file in /etc. */
export function load(input: Partial<LoadInput> = {}): Loaded {
  const cwd = input.cwd ?? folderWith();
  return loadConfig({ flags: {}, env: {}, systemFile: join(cwd, "etc/channel.toml"), ...input, cwd });
}

/** The configuration; throws the message where there is none. */
export function good(input: Partial<LoadInput> = {}): Config {
  const loaded = load(input);
  if (!loaded.ok) throw new Error(loaded.message);
  return loaded.config;
}

/** `"<exit code>: <message>"`; throws where there is none. */
export function refusal(input: Partial<LoadInput> = {}): string {
  const loaded = load(input);
  if (loaded.ok) throw new Error("nothing was refused");
  return `${loaded.exitCode}: ${loaded.message}`;
}

/** A `channel.toml` with this text. */
export function toml(text: string): Partial<LoadInput> {
  return { cwd: folderWith({ "channel.toml": text }) };
}
