import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { channelBinary } from "../channel-process.ts";
import { findPython } from "../python.ts";

const CACHE = resolve(import.meta.dir, "../../../node_modules/.cache/channel");

/** Channelstream's source package, its tests included; `test/needs.ts` fetches it. */
const SOURCE = join(CACHE, "channelstream-0.7.1");

test("Channelstream's own tests of its HTTP and its views pass against the executable", async () => {
  const python = findPython("channelstream, pytest, webtest, mock");
  if (!existsSync(SOURCE)) throw new Error(`${SOURCE} is missing: run this file by \`npm test -- <path>\``);
  const files = ["tests/tests_integration.py", "tests/tests_views.py"];
  const quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "--color=no", "-rs"];
  const child = Bun.spawn([python, "-m", "pytest", ...quiet, "-p", "adapter", ...files], {
    cwd: SOURCE,
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
