import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { channelBinary } from "../channel-process.ts";
import { findPython } from "../python.ts";

const VERSION = "0.7.1";
const CACHE = resolve(import.meta.dir, "../../../node_modules/.cache/channel");

/** Channelstream's source package, its tests included, as PyPI has it; fetched once, never a part of this repository. */
function fetchSource(python: string): string {
  const folder = join(CACHE, `channelstream-${VERSION}`);
  if (existsSync(folder)) return folder;
  mkdirSync(CACHE, { recursive: true });
  const work = join(CACHE, `channelstream-${crypto.randomUUID()}`);
  const spec = `channelstream==${VERSION}`;
  const fetch = ["download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"];
  run([python, "-m", "pip", ...fetch, "--dest", work, spec]);
  const archive = readdirSync(work).find((name) => name.endsWith(".tar.gz"));
  if (archive === undefined) throw new Error(`pip fetched no source package of ${spec}`);
  run(["tar", "xzf", join(work, archive), "-C", work]);
  try {
    renameSync(join(work, `channelstream-${VERSION}`), folder);
  } catch (error) {
    // Another run was faster.
    if (!existsSync(folder)) throw error;
  }
  rmSync(work, { recursive: true, force: true });
  return folder;
}

function run(command: readonly string[]): void {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stdout}${stderr}`);
}

test("Channelstream's own tests of its HTTP and its views pass against the executable", async () => {
  const python = findPython("channelstream, pytest, webtest, mock");
  const source = fetchSource(python);
  const files = ["tests/tests_integration.py", "tests/tests_views.py"];
  const quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "--color=no", "-rs"];
  const child = Bun.spawn([python, "-m", "pytest", ...quiet, "-p", "adapter", ...files], {
    cwd: source,
    env: {
      PATH: process.env.PATH ?? "",
      HOME: CACHE,
      CHANNEL_BIN: channelBinary(),
      PYTHONPATH: import.meta.dir,
      PYTHONDONTWRITEBYTECODE: "1",
    },
    stdout: "pipe",
    stderr: "inherit",
  });
  const output = await new Response(child.stdout).text();
  expect(output).toMatch(/^30 passed, 1 skipped in /m);
  expect(await child.exited).toBe(0);
}, 180_000);
