import { chmodSync, constants, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import containerfile from "../../deploy/Containerfile" with { type: "text" };
import unit from "../../deploy/channel.service" with { type: "text" };
import settings from "../../deploy/channel.toml" with { type: "text" };
import compose from "../../deploy/compose.yaml" with { type: "text" };
import { fileErrorText } from "../config/file.ts";
import { freshSecret } from "./init-secrets.ts";

export type DeploymentKind = "docker" | "systemd";

/** One file of a deployment. */
interface DeploymentFile {
  /** Relative to the folder. */
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

interface Deployment {
  readonly files: readonly DeploymentFile[];
  /** Folders that only their owner may enter. */
  readonly privateFolders: readonly string[];
  /** Whether the executable is copied beside the files. */
  readonly executable: boolean;
  /** What to do next, in one line. */
  readonly next: string;
}

/** Whether a copy of this executable runs in a container of Debian: it is compiled, for Linux and glibc. */
function runsInContainers(): boolean {
  return (
    process.platform === "linux" && basename(process.execPath) !== "bun" && !existsSync("/etc/alpine-release")
  );
}

function secretsIn(folder: string, mode: number): DeploymentFile[] {
  return ["jwt_secret", "admin_secret"].map((name) => ({
    path: join(folder, name),
    text: `${freshSecret()}\n`,
    mode,
  }));
}

function forDocker(): Deployment {
  const image = containerfile
    .replace(/^(#.*\n)+/, "# The image of compose.yaml: the executable beside this file, on Debian.\n")
    .replace("COPY --chmod=0755 dist/channel ", "COPY --chmod=0755 channel ")
    .replace(/^COPY .* LICENSE .*\n/m, "");
  const services = compose
    .replace(/^(#.*\n)+/, "# Channel with its own Redis: docker compose up, or podman compose up.\n")
    .replace("context: ..", "context: .")
    .replace("dockerfile: deploy/Containerfile", "dockerfile: Containerfile")
    .replaceAll(/file: \.\/(\w+)/g, "file: ./secrets/$1");
  const executable = runsInContainers();
  const run = "docker compose up --build";
  return {
    // The user of the container reads the secrets, but no other user of this machine enters their folder.
    files: [
      { path: "Containerfile", text: image, mode: 0o644 },
      { path: "compose.yaml", text: services, mode: 0o644 },
      { path: ".dockerignore", text: "*\n!channel\n", mode: 0o644 },
      ...secretsIn("secrets", 0o644),
    ],
    privateFolders: ["secrets"],
    executable,
    next: executable
      ? run
      : `put the executable for Linux here as "channel" (npm run build -- --platform=linux-x64 makes dist/channel), then ${run}`,
  };
}

const INSTALL = `#!/bin/sh
# Installs what "channel init --systemd" wrote: sudo sh install.sh
# Secrets and settings that are installed already are kept.
set -eu
cd "$(dirname "$0")"
root=\${DESTDIR:-}
install -D -m 755 channel "$root/usr/bin/channel"
install -D -m 644 channel.service "$root/etc/systemd/system/channel.service"
install -d -m 700 "$root/etc/channel/credentials"
for file in channel.toml credentials/jwt_secret credentials/admin_secret; do
  mode=600
  if [ "$file" = channel.toml ]; then mode=644; fi
  [ -e "$root/etc/channel/$file" ] || install -m "$mode" "$file" "$root/etc/channel/$file"
done
if [ -z "$root" ]; then
  systemctl daemon-reload
  systemctl enable channel.service
  systemctl restart channel.service
fi
`;

function forSystemd(): Deployment {
  const executable = runsInContainers();
  const install = "set public_url in channel.toml, then: sudo sh install.sh";
  return {
    files: [
      { path: "channel.service", text: unit, mode: 0o644 },
      { path: "channel.toml", text: settings, mode: 0o644 },
      { path: "install.sh", text: INSTALL, mode: 0o755 },
      ...secretsIn("credentials", 0o600),
    ],
    privateFolders: ["credentials"],
    executable,
    next: executable ? install : `put the executable for Linux here as "channel", ${install}`,
  };
}

const EXECUTABLE = "channel";

const EXISTS = (path: string) => `${path} exists and is not overwritten: run the command in an empty folder`;

/** The result of writing a deployment: the paths, or why nothing was written. */
export type Written =
  | { readonly ok: true; readonly paths: readonly string[]; readonly next: string }
  | { readonly ok: false; readonly message: string };

/** Writes the files of a deployment into a folder: all, or none if one exists or cannot be written. */
export function writeDeployment(kind: DeploymentKind, folder: string): Written {
  const { files, privateFolders, executable, next } = kind === "docker" ? forDocker() : forSystemd();
  const paths = [...files.map(({ path }) => path), ...(executable ? [EXECUTABLE] : [])];
  // An existing folder of secrets may be open to other users.
  const existing = [...paths, ...privateFolders].find((path) => existsSync(join(folder, path)));
  if (existing !== undefined) return { ok: false, message: EXISTS(existing) };
  const made: string[] = [];
  let path = "";
  try {
    for (const file of files) {
      ({ path } = file);
      const name = dirname(path);
      const target = join(folder, name);
      if (name !== "." && !existsSync(target)) {
        mkdirSync(target, { mode: privateFolders.includes(name) ? 0o700 : 0o755 });
        made.push(target);
      }
      made.push(join(folder, path));
      writeFileSync(join(folder, path), file.text, { flag: "wx", mode: file.mode });
      // Whatever the umask: the user of the container has to read them.
      chmodSync(join(folder, path), file.mode);
    }
    if (executable) {
      path = EXECUTABLE;
      made.push(join(folder, path));
      copyFileSync(
        process.execPath,
        join(folder, path),
        constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL,
      );
    }
  } catch (error) {
    const exists = error instanceof Error && "code" in error && error.code === "EEXIST";
    if (exists) made.pop();
    for (const each of made.reverse()) rmSync(each, { recursive: true, force: true });
    return { ok: false, message: exists ? EXISTS(path) : `cannot write ${path}: ${fileErrorText(error)}` };
  }
  return { ok: true, paths, next };
}
