import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** Builds the image of deploy/Containerfile for this machine's architecture, and saves it, for `gunzip --stdout FILE | podman load`. */
export function saveImage(executable: string, tag: string, to: string): void {
  const engine = ["podman", "docker"].find((name) => Bun.which(name) !== null);
  if (engine === undefined) throw new Error("the image needs podman or docker (or --without=image)");
  const context = mkdtempSync(join(tmpdir(), "channel-image-"));
  try {
    mkdirSync(join(context, "dist"));
    copyFileSync(executable, join(context, "dist/channel"));
    copyFileSync(join(ROOT, "LICENSE"), join(context, "LICENSE"));
    cpSync(join(ROOT, "deploy"), join(context, "deploy"), { recursive: true });
    const archive = join(context, "image.tar");
    // Docker has this format only.
    const format = engine === "podman" ? ["--format", "docker"] : [];
    run(context, [engine, "build", ...format, "--file", "deploy/Containerfile", "--tag", tag, "."]);
    run(context, [engine, "save", "--output", archive, tag]);
    run(context, ["gzip", "--no-name", archive]);
    copyFileSync(`${archive}.gz`, to);
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

function run(cwd: string, command: readonly string[]): void {
  const done = Bun.spawnSync([...command], { cwd, stdout: "ignore", stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")}: ${done.stderr.toString().trim()}`);
}
