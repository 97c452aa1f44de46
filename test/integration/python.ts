import { join, resolve } from "node:path";
import { Glob } from "bun";

const ROOT = resolve(import.meta.dir, "../..");

/**
 * A Python that has a package: the one that `CHANNEL_TEST_PYTHON` names (`npm test` sets it), that of an active virtual
 * environment, the one that an earlier `npm test` made, or the system's. Throws an error that says what to install.
 */
export function findPython(module = "redis"): string {
  const named = process.env.CHANNEL_TEST_PYTHON;
  const active = process.env.VIRTUAL_ENV;
  const made = [...new Glob("node_modules/.cache/channel/python-*/bin/python").scanSync({ cwd: ROOT })];
  const candidates =
    named !== undefined && named !== ""
      ? [named]
      : [
          ...(active === undefined ? [] : [join(active, "bin/python")]),
          ...made.map((path) => join(ROOT, path)),
          ...["python3", "python"],
        ];
  for (const candidate of candidates) {
    try {
      const { exitCode } = Bun.spawnSync([candidate, "-c", `import ${module}`], {
        stdout: "ignore",
        stderr: "ignore",
      });
      if (exitCode === 0) return candidate;
    } catch {
      // Not found: try the next one.
    }
  }
  throw new Error(
    `No Python with the package ${module} (looked at ${candidates.join(", ")}): run the tests by npm test, which makes ` +
      "one, or name one by CHANNEL_TEST_PYTHON.",
  );
}
