import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { neededGlibc, neededMacos } from "../../../deploy/release/wheel.ts";
import { version } from "../../../package.json";
import lock from "../../../package-lock.json";
import { findPython } from "../python.ts";
import { startWorld } from "../world.ts";
import { startRegistry } from "./npm-registry.ts";

const ROOT = join(import.meta.dir, "../../..");
const RELEASE = [process.execPath, "deploy/release/release.ts"];
const VERSION = new RegExp(`^channel ${version.replaceAll(".", "\\.")} \\(commit `);
/** For each step, in ms: compression and installation are slow on a busy machine. */
const TIMEOUT = 240_000;

/** Nothing that configures this machine's npm and pip configures these. */
const clean = (home: string): Record<string, string> => ({ PATH: process.env.PATH ?? "", HOME: home });

/** Runs a program without blocking the registry of this process; returns what it prints, and fails if it fails. */
async function run(
  command: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<string> {
  const child = Bun.spawn([...command], { ...options, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [printed, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const code = await child.exited;
  if (code !== 0) throw new Error(`${command.join(" ")}: exit code ${code}: ${printed}${errors}`);
  return printed;
}

/** A server that this command starts serves a client and a backend, and SIGTERM to the command ends the server. */
async function serves(binary: string): Promise<void> {
  const world = await startWorld("embedded", { binary });
  try {
    const client = await world.connect();
    await client.join("room:1", { token: world.token("room:1") });
    await world.backend.publish("to:room:1:news", '{"n":1}');
    expect((await client.event("news")).payload).toEqual({ n: 1 });
    const stopped = world.channel.log.until(({ message }) => message === "stopped", "the end");
    expect(await world.channel.stop()).toBe(0);
    await stopped;
  } finally {
    await world.stop();
  }
}

/** How this machine runs what is made for another: by itself, by QEMU's user mode over a system of that kind, or not. */
function runner(platform: string): string[] | null {
  const native = process.arch === "arm64" ? "arm64" : "x64";
  const musl = platform.endsWith("-musl");
  const here = platform.split("-")[1] === native;
  const name = platform.includes("arm64") ? "aarch64" : "x86_64";
  // Musl needs libstdc++ beside it, as Alpine has it, and 1.2.5: 1.2.3 crashes the runtime itself.
  if (here) return !musl || existsSync(`/usr/lib/libstdc++.so.6`) ? [] : null;
  const emulator = Bun.which(`qemu-${name}-static`) ?? Bun.which(`qemu-${name}`);
  const system = `/usr/${name}-linux-${musl ? "musl" : "gnu"}`;
  return emulator === null || !existsSync(join(system, "lib")) ? null : [emulator, "-L", system];
}

describe.skipIf(process.platform !== "linux")("packages of this platform, in empty folders", () => {
  let folder = "";
  let home = "";
  const platform = `linux-${process.arch}`;
  const without = Bun.which("dpkg-deb") === null ? "deb,image" : "image";

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "channel-release-"));
    folder = join(home, "release");
    await run([...RELEASE, "--only=host", `--without=${without}`, `--out=${folder}`], { cwd: ROOT });
  }, TIMEOUT);
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  test(
    "the folder holds each of them, checksums, licences and the bill of materials",
    async () => {
      const files = readdirSync(folder).sort();
      const endings = [".tar.gz", ".tgz", ".whl", ".cdx.json", ...(without.includes("deb") ? [] : [".deb"])];
      for (const ending of endings) expect(files.filter((file) => file.endsWith(ending))).not.toEqual([]);
      const checked = await run(["sha256sum", "--check", "SHA256SUMS"], { cwd: folder });
      expect(checked.trim().split("\n").sort()).toEqual(
        files.filter((file) => file !== "SHA256SUMS").map((file) => `${file}: OK`),
      );
      const bill = JSON.parse(readFileSync(join(folder, `channel-${version}.cdx.json`), "utf8"));
      expect(bill).toMatchObject({
        bomFormat: "CycloneDX",
        metadata: { component: { name: "channel", version } },
      });
      const names: string[] = bill.components.map(({ name }: { name: string }) => name);
      const packages: Record<string, { version?: string; dev?: boolean }> = lock.packages;
      const held = Object.entries(packages).filter(([path, { dev }]) => path !== "" && !dev);
      const paths = held.map(([path]) => path.replace(/^.*node_modules\//, ""));
      expect([...names].sort()).toEqual(["bun", ...paths].sort());
      const notices = readFileSync(join(folder, "THIRD-PARTY.txt"), "utf8");
      for (const name of names) expect(notices).toContain(`${name} `);
    },
    TIMEOUT,
  );

  test(
    "npm installs the command; npx runs it; without the package of the platform it says which is missing",
    async () => {
      const registry = startRegistry(folder);
      try {
        const env = {
          ...clean(home),
          npm_config_registry: registry.url,
          npm_config_cache: join(home, "npm-cache"),
          npm_config_update_notifier: "false",
          npm_config_audit: "false",
          npm_config_fund: "false",
        };
        const prefix = join(home, "npm");
        await run(["npm", "install", "--global", "--prefix", prefix, "channel-hub"], { cwd: home, env });
        const launcher = join(prefix, "bin/channel");
        expect(await run([launcher, "--version"], { cwd: home, env })).toMatch(VERSION);
        expect(await run(["npx", "--yes", "channel-hub", "--version"], { cwd: home, env })).toMatch(VERSION);
        await serves(launcher);

        const fails = Bun.spawnSync([launcher, "nonsense"], { env, stderr: "pipe" });
        expect([fails.exitCode, fails.stderr.toString()]).toEqual([
          2,
          expect.stringContaining("unknown command"),
        ]);

        const held = join(prefix, "lib/node_modules/channel-hub/node_modules");
        expect(readdirSync(held)).toEqual([expect.stringMatching(/^channel-hub-linux-/)]);
        rmSync(held, { recursive: true });
        const missing = Bun.spawnSync([launcher, "--version"], { env, stderr: "pipe" });
        expect([missing.exitCode, missing.stderr.toString()]).toEqual([
          1,
          expect.stringMatching(/^channel: the package channel-hub-linux-\S+ is not installed/),
        ]);
      } finally {
        await registry.stop();
      }
    },
    TIMEOUT,
  );

  test(
    "pip installs the command without a network",
    async () => {
      const venv = join(home, "venv");
      const env = clean(home);
      await run([findPython("pip"), "-m", "venv", "--without-pip", venv], { cwd: home, env });
      const pip = [
        findPython("pip"),
        "-m",
        "pip",
        "--python",
        join(venv, "bin/python"),
        "--disable-pip-version-check",
      ];
      await run([...pip, "install", "--no-index", "--find-links", folder, "channel-hub"], { cwd: home, env });
      for (const command of [["channel"], ["channel-hub"], ["python", "-m", "channel_hub"]]) {
        const [name = "", ...args] = command;
        expect(await run([join(venv, "bin", name), ...args, "--version"], { cwd: home, env })).toMatch(
          VERSION,
        );
      }
      await serves(join(venv, "bin/channel"));
      await run([...pip, "uninstall", "--yes", "channel-hub"], { cwd: home, env });
      expect(readdirSync(join(venv, "bin")).filter((name) => name.startsWith("channel"))).toEqual([]);
    },
    TIMEOUT,
  );

  test(
    "the archive holds an executable that runs where it is unpacked",
    async () => {
      const archive = join(folder, `channel-${version}-${platform}.tar.gz`);
      await run(["tar", "--extract", "--gzip", "--file", archive], { cwd: home });
      const unpacked = join(home, `channel-${version}-${platform}`);
      expect(readdirSync(unpacked).sort()).toEqual(
        [
          "CHANGELOG.md",
          "LICENSE",
          "THIRD-PARTY.txt",
          "channel",
          "channel.1",
          "completion.bash",
          "completion.fish",
          "completion.zsh",
        ].sort(),
      );
      expect(await run([join(unpacked, "channel"), "--version"], { cwd: home, env: {} })).toMatch(VERSION);
    },
    TIMEOUT,
  );

  test.skipIf(without.includes("deb"))(
    "the Debian package has version and requirements",
    async () => {
      const deb = readdirSync(folder).find((file) => file.endsWith(".deb")) ?? "";
      const fields = await run(["dpkg-deb", "--field", join(folder, deb), "Package", "Version", "Depends"], {
        cwd: home,
      });
      expect(fields).toBe(`Package: channel\nVersion: ${version}\nDepends: libc6 (>= 2.17)\n`);
    },
    TIMEOUT,
  );
});

test.skipIf(!process.env.CHANNEL_LONG)(
  "executables of other platforms need no newer system than documented, and what this machine can run runs",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "channel-platforms-"));
    try {
      const platforms = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl", "macos-arm64"];
      const options = [`--only=${platforms.join(",")}`, "--without=npm,wheel,deb,image", `--out=${folder}`];
      await run([...RELEASE, ...options], { cwd: ROOT });
      let ran = 0;
      for (const platform of platforms) {
        const name = `channel-${version}-${platform}`;
        await run(["tar", "--extract", "--gzip", "--file", join(folder, `${name}.tar.gz`)], { cwd: folder });
        const file = join(folder, name, "channel");
        if (platform.startsWith("macos")) {
          expect(neededMacos(readFileSync(file))).toEqual([13, 0]);
          continue;
        }
        if (!platform.endsWith("musl")) expect(neededGlibc(readFileSync(file))).toEqual([2, 17]);
        const by = runner(platform);
        if (by === null) {
          console.log(`${platform}: nothing here runs it`);
          continue;
        }
        expect(await run([...by, file, "--version"], { cwd: folder, env: {} })).toMatch(VERSION);
        ran++;
      }
      expect(ran).toBeGreaterThan(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  600_000,
);
