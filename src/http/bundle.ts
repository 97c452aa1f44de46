import { resolve } from "node:path";

/**
 * Bundles the module at `path` (relative to the repository root) and its imports into one browser script. A macro: it runs
 * while the importing file is transpiled, so the executable contains the result.
 *
 * ```ts
 * import { bundle } from "./bundle.ts" with { type: "macro" };
 * const script = bundle("public/index.ts");
 * ```
 *
 * The argument must be a literal. A compile error fails the build, or the start from source, and prints the compiler's
 * output.
 */
export function bundle(path: string): string {
  // In a child process: Bun.build inside a macro deadlocks, since it waits for the thread that runs the macro.
  const build = Bun.spawnSync(
    [process.execPath, "build", path, "--target=browser", "--format=iife", "--minify", "--env=disable"],
    // Bun does not show an error thrown by a macro, but shows the output of its child process.
    { cwd: resolve(import.meta.dir, "../.."), stdout: "pipe", stderr: "inherit" },
  );
  if (build.exitCode !== 0) throw new Error(`${path} does not compile`);
  return build.stdout.toString();
}
