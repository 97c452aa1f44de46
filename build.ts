/**
 * Compiles the executable for this machine: `npm run build`, or `npm run build -- --outfile=PATH`.
 * `npm run build -- --all` builds a release for all platforms in dist/release, with checksums, a CycloneDX bill of materials,
 * licences, and a table of sizes and start-up times; `--only=linux-x64,linux-arm64` builds some platforms. Bun downloads the
 * runtimes of other platforms from npm.
 * Exits with 1 if anything does not compile, scripts of pages included.
 */
import { chmod, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { version } from "./package.json";
import lock from "./package-lock.json";

const RELEASE = `${import.meta.dir}/dist/release`;

/** Platforms: our names and those of Bun. */
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
  // Bun writes copies of the source maps beside the executable: build in a folder of its own, and move the executable.
  await mkdir(dirname(resolve(to)), { recursive: true });
  const folder = await mkdtemp(join(dirname(resolve(to)), ".build-"));
  const built = join(folder, basename(to));
  const result = await Bun.build({
    entrypoints: [`${import.meta.dir}/src/main.ts`],
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
  if (result.success) await rename(built, to);
  await rm(folder, { recursive: true, force: true });
  if (!result.success) process.exit(1);
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
  const notices = `${RELEASE}/THIRD-PARTY.txt`;
  await Bun.write(notices, await licences(bill));
  files.push(bill, notices);
  const sums: string[] = [];
  for (const file of files) {
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of Bun.file(file).stream()) hash.update(chunk);
    sums.push(`${hash.digest("hex")}  ${basename(file)}\n`);
  }
  // Format of sha256sum --check.
  await Bun.write(`${RELEASE}/SHA256SUMS`, sums.join(""));
}

/** Wall time of `--version`, median of five, if this machine can run the executable. */
function startUp(file: string, name: string): string {
  const host = `${process.platform === "darwin" ? "macos" : process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  if (name !== host) return "other platform: not started";
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    if (Bun.spawnSync([file, "--version"]).exitCode !== 0) return "DOES NOT START";
    times.push(performance.now() - start);
  }
  return `starts in ${times.sort((a, b) => a - b)[2]?.toFixed(0)} ms`;
}

/**
 * CycloneDX bill of materials of the executable: npm packages and the runtime, without build tools. (`--omit=dev` would also omit
 * packages that both the executable and its tools need.)
 */
function billOfMaterials(): string {
  const run = Bun.spawnSync(
    ["npm", "sbom", "--package-lock-only", "--sbom-format=cyclonedx", "--sbom-type=application"],
    { cwd: import.meta.dir, stdout: "pipe", stderr: "pipe" },
  );
  if (run.exitCode !== 0) {
    console.error(`no bill of materials: ${run.stderr.toString().trim()}`);
    process.exit(1);
  }
  const bill: Bill = JSON.parse(run.stdout.toString());
  const packages: Record<string, { version?: string; dev?: boolean }> = lock.packages;
  const held = new Set(
    Object.entries(packages)
      .filter(([path, { dev }]) => path !== "" && !dev)
      .map(([path, { version: one }]) => `${path.replace(/^.*node_modules\//, "")}@${one}`),
  );
  const root = bill.metadata.component["bom-ref"];
  const runtime = {
    "bom-ref": `bun@${Bun.version}`,
    type: "framework",
    name: "bun",
    version: Bun.version,
    purl: `pkg:npm/bun@${Bun.version}`,
    licenses: [{ license: { id: "MIT" } }],
  };
  const isHeld = (ref: string) => ref === root || held.has(ref);
  const components = bill.components.filter((one) => isHeld(one["bom-ref"]));
  const dependencies = bill.dependencies
    .filter(({ ref }) => isHeld(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(isHeld) }));
  // npm uses the name of the folder.
  const component = { ...bill.metadata.component, name: "channel" };
  const made = {
    ...bill,
    metadata: { ...bill.metadata, component },
    components: [runtime, ...components],
    dependencies,
  };
  return `${JSON.stringify(made, null, 2)}\n`;
}

/** The part of npm's CycloneDX that is used here. */
interface Bill {
  readonly metadata: { readonly component: { readonly "bom-ref": string } };
  readonly components: readonly { readonly "bom-ref": string }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** Licence texts of everything in the executable; they must be distributed with it. */
async function licences(bill: string): Promise<string> {
  const { components }: { components: { name: string; version: string }[] } = await Bun.file(bill).json();
  const texts: string[] = [];
  for (const { name, version } of components) {
    const folder = `${import.meta.dir}/node_modules/${name}`;
    const [file] = [
      ...new Bun.Glob("{LICENSE,LICENCE,License,license,COPYING}*").scanSync({ cwd: folder }),
    ].sort();
    const text =
      file === undefined
        ? `Licence according to its package: ${(await Bun.file(`${folder}/package.json`).json()).license}.`
        : (await Bun.file(`${folder}/${file}`).text()).trim();
    texts.push(`${name} ${version}\n\n${text}\n`);
  }
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}

function megabytes(file: string): string {
  return (Bun.file(file).size / 1e6).toFixed(0);
}

/** The commit of the sources, with a plus sign if there are uncommitted changes; `unknown` without git. */
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
