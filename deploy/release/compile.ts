import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setAllocatorOptions } from "./allocator-options.ts";

const ROOT = join(import.meta.dir, "../..");

/**
 * Compiles the executable; exits with 1 if anything does not compile, scripts of pages included. Without `target`: for this machine.
 * Bun fetches the runtimes of other platforms from npm. The same sources give the same bytes.
 */
export async function compile(to: string, target?: Bun.Build.CompileTarget): Promise<void> {
  // Bun writes copies of the source maps beside the executable: build in a folder of its own, and move the executable.
  await mkdir(dirname(resolve(to)), { recursive: true });
  const folder = await mkdtemp(join(dirname(resolve(to)), ".build-"));
  // The executable contains this name.
  const built = join(folder, target?.startsWith("bun-windows") ? "channel.exe" : "channel");
  const result = await Bun.build({
    entrypoints: [join(ROOT, "src/main.ts")],
    compile: {
      outfile: built,
      ...(target === undefined ? {} : { target }),
      // Read no secrets or settings from the working directory.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    // Starts twice as fast as source text.
    bytecode: true,
    format: "esm",
    minify: true,
    // One chunk for each command that is imported lazily: other commands do not load the server, nor it them.
    splitting: true,
    // For the locations of unexpected errors in the log.
    sourcemap: "inline",
    define: { BUILD_COMMIT: JSON.stringify(commit()) },
    throw: false,
  });
  for (const message of result.logs) console.error(message);
  if (result.success) {
    if (target?.startsWith("bun-linux") ?? process.platform === "linux") await setAllocatorOptions(built);
    await rename(built, to);
  }
  await rm(folder, { recursive: true, force: true });
  if (!result.success) process.exit(1);
}

/** The commit of the sources, with a plus sign if there are uncommitted changes; `unknown` without git. */
function commit(): string {
  const head = git("rev-parse", "--short=10", "HEAD");
  return head === null ? "unknown" : `${head}${git("status", "--porcelain") === "" ? "" : "+"}`;
}

/** The time that all files in packages get, in s: `SOURCE_DATE_EPOCH`, else the time of the commit, else the first day of ZIP files. */
export function sourceDate(): number {
  return Number(process.env.SOURCE_DATE_EPOCH ?? git("log", "-1", "--format=%ct") ?? 315_532_800);
}

function git(...args: string[]): string | null {
  try {
    const run = Bun.spawnSync(["git", ...args], { cwd: ROOT, stdout: "pipe", stderr: "ignore" });
    return run.exitCode === 0 ? run.stdout.toString().trim() : null;
  } catch {
    return null;
  }
}

export function megabytes(file: string): string {
  return (Bun.file(file).size / 1e6).toFixed(0);
}
