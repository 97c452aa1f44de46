/**
 * Makes every package of a release in dist/release, with checksums: `npm run release`. docs/releasing.md says what is in it.
 *   --only=linux-x64,macos-arm64   some platforms (platforms.ts); `host` is this machine
 *   --without=deb,image            without what this machine cannot make
 *   --out=FOLDER                   removed first
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../../package.json";
import { completionScript } from "../../src/commands/completion.ts";
import { COMMANDS } from "../../src/commands/definitions.ts";
import { manualPage } from "../../src/commands/manual.ts";
import { type Entry, tarGz, zip } from "./archives.ts";
import { compile, megabytes, sourceDate } from "./compile.ts";
import { billOfMaterials, thirdPartyNotices } from "./contents.ts";
import { saveImage } from "./image.ts";
import { mainPackage, platformPackage } from "./npm.ts";
import type { Made } from "./package-page.ts";
import { executableName, hostPlatform, PLATFORMS, type Platform } from "./platforms.ts";
import { wheel } from "./wheel.ts";

const ROOT = join(import.meta.dir, "../..");
const KINDS = ["npm", "wheel", "archive", "deb", "image"];

const options = parseArgs({
  options: {
    only: { type: "string", default: Object.keys(PLATFORMS).join(",") },
    without: { type: "string", default: "" },
    out: { type: "string", default: join(ROOT, "dist/release") },
  },
}).values;
const out = resolve(options.out);
const names = options.only.split(",").map((name) => (name === "host" ? hostPlatform() : name));
const without = options.without.split(",").filter((kind) => kind !== "");
refuse("platform", names, Object.keys(PLATFORMS));
refuse("kind of package", without, KINDS);
const makes = (kind: string): boolean => !without.includes(kind);

const date = sourceDate();
const sums = new Map<string, string>();
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const licence: Entry = { path: "LICENSE", content: readFileSync(join(ROOT, "LICENSE")) };
const notices = [licence, { path: "THIRD-PARTY.txt", content: await thirdPartyNotices() }];
for (const name of names) {
  const platform = PLATFORMS[name];
  if (platform !== undefined) await release(name, platform);
}
if (makes("npm")) put(mainPackage(licence, date));
for (const { path, content } of [
  ...notices,
  { path: `channel-${version}.cdx.json`, content: billOfMaterials(date) },
])
  put({ name: path, bytes: Buffer.from(content) });
// Format of sha256sum --check.
const lines = [...sums].sort().map(([name, sum]) => `${sum}  ${name}\n`);
writeFileSync(join(out, "SHA256SUMS"), lines.join(""));

async function release(name: string, platform: Platform): Promise<void> {
  const work = join(out, ".work");
  const file = join(work, executableName(platform));
  await compile(file, platform.bun);
  const executable = readFileSync(file);
  console.log(`${name}: ${megabytes(file)} MB, ${startUp(file, name)}`);
  if (makes("archive")) put(archive(name, platform, executable));
  if (makes("npm")) put(platformPackage(platform, executable, notices, date));
  if (makes("wheel")) put(wheel(platform, executable, notices, date));
  if (makes("deb") && platform.deb !== undefined) putDeb(file, platform.deb);
  if (makes("image") && name === hostPlatform()) putImage(file, name);
  rmSync(work, { recursive: true });
}

/** One folder: the executable, licences, what changed; on Linux and macOS the manual page and the completions. */
function archive(name: string, platform: Platform, executable: Uint8Array): Made {
  const folder = `channel-${version}-${name}`;
  const entries: Entry[] = [
    { path: executableName(platform), content: executable, executable: true },
    ...notices,
    { path: "CHANGELOG.md", content: readFileSync(join(ROOT, "CHANGELOG.md")) },
  ];
  if (platform.os !== "win32") {
    entries.push({ path: "channel.1", content: manualPage(COMMANDS) });
    for (const shell of ["bash", "zsh", "fish"] as const)
      entries.push({ path: `completion.${shell}`, content: `${completionScript(shell, COMMANDS)}\n` });
  }
  const inFolder = entries.map((entry) => ({ ...entry, path: `${folder}/${entry.path}` }));
  return platform.os === "win32"
    ? { name: `${folder}.zip`, bytes: zip(inFolder, date) }
    : { name: `${folder}.tar.gz`, bytes: tarGz(inFolder, date) };
}

function putDeb(executable: string, architecture: string): void {
  const script = join(ROOT, "deploy/deb.ts");
  const made = Bun.spawnSync(
    [process.execPath, script, "--executable", executable, "--architecture", architecture, "--out", out],
    { env: { ...process.env, SOURCE_DATE_EPOCH: String(date) }, stdout: "pipe", stderr: "inherit" },
  );
  if (made.exitCode !== 0) throw new Error("no Debian package (it needs dpkg-deb; or --without=deb)");
  note(`channel_${version}_${architecture}.deb`);
}

function putImage(executable: string, name: string): void {
  const file = `channel-${version}-${name}-image.tar.gz`;
  saveImage(executable, `channel:${version}`, join(out, file));
  note(file);
}

function put({ name, bytes }: Made): void {
  writeFileSync(join(out, name), bytes);
  note(name);
}

function note(name: string): void {
  sums.set(name, new Bun.CryptoHasher("sha256").update(readFileSync(join(out, name))).digest("hex"));
  console.log(`  ${name} (${megabytes(join(out, name))} MB)`);
}

/** Wall time of `--version`, median of five, if this machine can run the executable. */
function startUp(file: string, name: string): string {
  if (name !== hostPlatform()) return "not run: another platform";
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    if (Bun.spawnSync([file, "--version"]).exitCode !== 0) throw new Error(`${file} does not start`);
    times.push(performance.now() - start);
  }
  return `starts in ${times.sort((a, b) => a - b)[2]?.toFixed(0)} ms`;
}

function refuse(what: string, given: readonly string[], known: readonly string[]): void {
  const unknown = given.find((each) => !known.includes(each));
  if (unknown === undefined) return;
  console.error(`no ${what} ${JSON.stringify(unknown)}: ${known.join(", ")}`);
  process.exit(2);
}
