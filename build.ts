/**
 * Compiles the executable for the machine that runs this: `bun build.ts`, or `bun build.ts --outfile=PATH`.
 * `bun build.ts --all` makes a release of all platforms in dist/release, with checksums, a list of what is inside, and a
 * table of sizes and start-up times; `--only=linux-x64,linux-arm64` some of them. Bun fetches the runtimes of other
 * platforms from npm.
 * Ends with 1 when anything does not compile, a page's script included.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { version } from "./package.json";

const RELEASE = `${import.meta.dir}/dist/release`;

/** Our names of platforms, and Bun's. */
const PLATFORMS = {
  "linux-x64": "bun-linux-x64",
  "linux-arm64": "bun-linux-arm64",
  "linux-x64-musl": "bun-linux-x64-musl",
  "linux-arm64-musl": "bun-linux-arm64-musl",
  "macos-x64": "bun-darwin-x64",
  "macos-arm64": "bun-darwin-arm64",
  "windows-x64": "bun-windows-x64",
} as const;

const { outfile, all, only } = parseArgs({
  options: {
    outfile: { type: "string", default: "dist/channel" },
    all: { type: "boolean", default: false },
    only: { type: "string" },
  },
}).values;

if (all || only !== undefined) await release(only?.split(",") ?? Object.keys(PLATFORMS));
else {
  await compile(outfile);
  console.log(`${outfile} (${megabytes(outfile)} MB)`);
}

async function compile(to: string, target?: (typeof PLATFORMS)[keyof typeof PLATFORMS]): Promise<void> {
  const result = await Bun.build({
    entrypoints: [`${import.meta.dir}/src/main.ts`],
    compile: {
      outfile: to,
      ...(target === undefined ? {} : { target }),
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
  await rm(`${to.replace(/\.exe$/, "")}.map`, { force: true });
}

async function release(names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !Object.hasOwn(PLATFORMS, name));
  if (unknown !== undefined) {
    console.error(`no platform ${JSON.stringify(unknown)}: ${Object.keys(PLATFORMS).join(", ")}`);
    process.exit(2);
  }
  await rm(RELEASE, { recursive: true, force: true });
  await mkdir(RELEASE, { recursive: true });
  const files: string[] = [];
  for (const [name, target] of Object.entries(PLATFORMS)) {
    if (!names.includes(name)) continue;
    const file = `${RELEASE}/channel-${version}-${name}${name.startsWith("windows") ? ".exe" : ""}`;
    await compile(file, target);
    await chmod(file, 0o755);
    files.push(file);
    console.log(`${basename(file).padEnd(36)} ${megabytes(file).padStart(4)} MB   ${startUp(file, name)}`);
  }
  const bill = `${RELEASE}/channel-${version}.cdx.json`;
  await Bun.write(bill, billOfMaterials());
  files.push(bill);
  const sums: string[] = [];
  for (const file of files) {
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of Bun.file(file).stream()) hash.update(chunk);
    sums.push(`${hash.digest("hex")}  ${basename(file)}\n`);
  }
  // As sha256sum --check reads it.
  await Bun.write(`${RELEASE}/SHA256SUMS`, sums.join(""));
}

/** From start to the end of `--version`, the median of five, where this machine can run it. */
function startUp(file: string, name: string): string {
  const host = `${process.platform === "darwin" ? "macos" : process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  if (name !== host) return "made elsewhere than it runs: not started";
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    if (Bun.spawnSync([file, "--version"]).exitCode !== 0) return "DOES NOT START";
    times.push(performance.now() - start);
  }
  return `starts in ${times.sort((a, b) => a - b)[2]?.toFixed(0)} ms`;
}

/** CycloneDX, of what the executable holds: npm's packages and the runtime, without what only makes it. */
function billOfMaterials(): string {
  const run = Bun.spawnSync(
    [
      "npm",
      "sbom",
      "--package-lock-only",
      "--omit=dev",
      "--sbom-format=cyclonedx",
      "--sbom-type=application",
    ],
    {
      cwd: import.meta.dir,
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  if (run.exitCode !== 0) {
    console.error(`no bill of materials: ${run.stderr.toString().trim()}`);
    process.exit(1);
  }
  const bill: { metadata: { component: object }; components: unknown[] } = JSON.parse(run.stdout.toString());
  // npm calls it by the folder that it stands in.
  Object.assign(bill.metadata.component, { name: "channel" });
  const runtime = {
    "bom-ref": `bun@${Bun.version}`,
    type: "framework",
    name: "bun",
    version: Bun.version,
    purl: `pkg:npm/bun@${Bun.version}`,
    licenses: [{ license: { id: "MIT" } }],
  };
  return `${JSON.stringify({ ...bill, components: [runtime, ...bill.components] }, null, 2)}\n`;
}

function megabytes(file: string): string {
  return (Bun.file(file).size / 1e6).toFixed(0);
}

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
