import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../../package.json";
import lock from "../../../package-lock.json";

const ROOT = join(import.meta.dir, "../../..");
const RELEASE = join(ROOT, "dist/release");
const LINUX = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl"];

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

test.skipIf(!process.env.CHANNEL_LONG)(
  "a release has its checksums and its list of contents, and what this machine can run runs",
  async () => {
    const build = Bun.spawn([process.execPath, "build.ts", `--only=${LINUX.join(",")}`], {
      cwd: ROOT,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [said, code] = await Promise.all([new Response(build.stdout).text(), build.exited]);
    expect(code).toBe(0);
    for (const line of readFileSync(join(RELEASE, "SHA256SUMS"), "utf8").trim().split("\n")) {
      const [sum, file = ""] = line.split("  ");
      expect(
        createHash("sha256")
          .update(readFileSync(join(RELEASE, file)))
          .digest("hex"),
      ).toBe(sum ?? "");
    }
    const bill = JSON.parse(readFileSync(join(RELEASE, `channel-${version}.cdx.json`), "utf8"));
    expect(bill).toMatchObject({
      bomFormat: "CycloneDX",
      metadata: { component: { name: "channel", version } },
    });
    const names: string[] = bill.components.map(({ name }: { name: string }) => name);
    const packages: Record<string, { version?: string; dev?: boolean }> = lock.packages;
    const held = Object.entries(packages).filter(([path, { dev }]) => path !== "" && !dev);
    const paths = held.map(([path]) => path.replace(/^.*node_modules\//, ""));
    expect([...names].sort()).toEqual(["bun", ...paths].sort());
    const notices = readFileSync(join(RELEASE, "THIRD-PARTY.txt"), "utf8");
    for (const name of names) expect(notices).toContain(`${name} `);

    let ran = 0;
    for (const platform of LINUX) {
      expect(said).toMatch(new RegExp(`channel-${version}-${platform} +\\d+ MB `));
      const by = runner(platform);
      if (by === null) {
        console.log(`${platform}: nothing here runs it`);
        continue;
      }
      const run = Bun.spawnSync([...by, join(RELEASE, `channel-${version}-${platform}`), "--version"], {
        env: {},
        stdout: "pipe",
      });
      expect([platform, run.stdout.toString()]).toEqual([
        platform,
        expect.stringContaining(`channel ${version} (commit `),
      ]);
      ran++;
    }
    expect(ran).toBeGreaterThan(0);
  },
  300_000,
);
