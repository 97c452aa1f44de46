import { resolve } from "node:path";

/**
 * One script for a browser, made of the module at `path` (relative to the root of the repository) and all that it
 * imports. A macro: it runs while the importing file is transpiled, so that the executable holds the finished text.
 *
 * ```ts
 * import { bundle } from "./bundle.ts" with { type: "macro" };
 * const script = bundle("public/index.ts");
 * ```
 *
 * The argument must be a literal. A script that does not compile stops the build, and a start from source, with the
 * compiler's own words.
 */
export function bundle(path: string): string {
  // A process of its own: Bun.build inside a macro waits for the very thread that runs the macro.
  const build = Bun.spawnSync(
    [process.execPath, "build", path, "--target=browser", "--format=iife", "--minify", "--env=disable"],
    // What a macro throws is not shown; what its child prints is.
    { cwd: resolve(import.meta.dir, "../.."), stdout: "pipe", stderr: "inherit" },
  );
  if (build.exitCode !== 0) throw new Error(`${path} does not compile`);
  return build.stdout.toString();
}
