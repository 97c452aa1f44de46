/**
 * Compiles the executable for the machine that runs this: `bun build.ts`, or `bun build.ts --outfile=PATH`.
 * Ends with 1 when anything does not compile, a page's script included.
 */
import { rm } from "node:fs/promises";
import { parseArgs } from "node:util";

const { outfile } = parseArgs({ options: { outfile: { type: "string", default: "dist/channel" } } }).values;

const result = await Bun.build({
  entrypoints: [`${import.meta.dir}/src/main.ts`],
  compile: {
    outfile,
    // Neither secrets nor settings from a folder that the server happens to stand in.
    autoloadDotenv: false,
    autoloadBunfig: false,
  },
  // Twice as fast to start as from source text.
  bytecode: true,
  format: "esm",
  minify: true,
  // So that the log can say where an unexpected error came from.
  sourcemap: "inline",
  define: { BUILD_COMMIT: JSON.stringify(commit()) },
  throw: false,
});
for (const message of result.logs) console.error(message);
if (!result.success) process.exit(1);
// The executable holds the map; the file beside it is a copy.
await rm(`${outfile}.map`, { force: true });
console.log(`${outfile} (${(Bun.file(outfile).size / 1e6).toFixed(0)} MB)`);

/** The commit of the sources, with a plus sign when they were changed since; a tree without history has none. */
function commit(): string {
  const git = (...args: string[]) => {
    try {
      const run = Bun.spawnSync(["git", ...args], { cwd: import.meta.dir, stdout: "pipe", stderr: "ignore" });
      return run.exitCode === 0 ? run.stdout.toString().trim() : null;
    } catch {
      return null;
    }
  };
  const head = git("rev-parse", "--short=10", "HEAD");
  return head === null ? "unknown" : `${head}${git("status", "--porcelain") === "" ? "" : "+"}`;
}
