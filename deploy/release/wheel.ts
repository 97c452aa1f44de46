import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { license, version } from "../../package.json";
import { type Entry, zip } from "./archives.ts";
import { DESCRIPTION, type Made, packagePage } from "./package-page.ts";
import { executableName, type Platform, PYTHON_NAME } from "./platforms.ts";

const MODULE = PYTHON_NAME.replaceAll("-", "_");

/**
 * A wheel with the executable, and commands that run it: `channel`, and one with the name of the package, for `pipx run` and `uvx`.
 * Throws where the executable needs a newer system than the tags of the wheel say.
 */
export function wheel(
  platform: Platform,
  executable: Uint8Array,
  notices: readonly Entry[],
  date: number,
): Made {
  checkTags(platform.wheel, executable);
  const tags = platform.wheel.map((tag) => `py3-none-${tag}`);
  const info = `${MODULE}-${version}.dist-info`;
  const source = (name: string): Entry => ({
    path: `${MODULE}/${name}`,
    content: readFileSync(join(import.meta.dir, "python", name)),
  });
  const metadata = [
    "Metadata-Version: 2.1",
    `Name: ${PYTHON_NAME}`,
    `Version: ${version}`,
    `Summary: ${DESCRIPTION}`,
    `License: ${license}`,
    ...notices.map(({ path }) => `License-File: ${path}`),
    "Requires-Python: >=3.8",
    "Description-Content-Type: text/markdown",
  ];
  const entries: Entry[] = [
    source("__init__.py"),
    source("__main__.py"),
    { path: `${MODULE}/${executableName(platform)}`, content: executable, executable: true },
    ...notices.map(({ path, content }) => ({ path: `${info}/licenses/${path}`, content })),
    { path: `${info}/METADATA`, content: `${metadata.join("\n")}\n\n${packagePage()}` },
    {
      path: `${info}/WHEEL`,
      content: `Wheel-Version: 1.0\nGenerator: channel ${version}\nRoot-Is-Purelib: false\n${tags.map((tag) => `Tag: ${tag}\n`).join("")}`,
    },
    {
      path: `${info}/entry_points.txt`,
      content: `[console_scripts]\n${["channel", PYTHON_NAME].map((name) => `${name} = ${MODULE}.__main__:main\n`).join("")}`,
    },
  ];
  const record = { path: `${info}/RECORD`, content: "" };
  const lines = entries.map(({ path, content }) => {
    const digest = createHash("sha256").update(content).digest("base64url");
    return `${path},sha256=${digest},${Buffer.byteLength(content)}\n`;
  });
  entries.push({ ...record, content: `${lines.join("")}${record.path},,\n` });
  return {
    name: `${MODULE}-${version}-py3-none-${platform.wheel.join(".")}.whl`,
    bytes: zip(entries, date),
  };
}

function checkTags(tags: readonly string[], executable: Uint8Array): void {
  for (const tag of tags) {
    const [, system, major = "0", minor = "0"] = /^(manylinux|macosx)_(\d+)_(\d+)_/.exec(tag) ?? [];
    if (system === undefined) continue;
    const needed = system === "manylinux" ? neededGlibc(executable) : neededMacos(executable);
    if (needed[0] > Number(major) || (needed[0] === Number(major) && needed[1] > Number(minor)))
      throw new Error(`the wheel ${tag} holds an executable that needs ${system} ${needed.join(".")}`);
  }
}

/** The newest version of glibc's symbols that an ELF file links to: `[2, 17]`. */
export function neededGlibc(executable: Uint8Array): readonly [number, number] {
  const bytes = Buffer.from(executable.buffer, executable.byteOffset, executable.byteLength);
  let minor = 0;
  // In the table of strings each name stands between zeros.
  for (let at = bytes.indexOf("\0GLIBC_2."); at >= 0; at = bytes.indexOf("\0GLIBC_2.", at + 1)) {
    const found = /^\0GLIBC_2\.(\d+)(\.\d+)?\0/.exec(bytes.toString("latin1", at, at + 20));
    if (found !== null) minor = Math.max(minor, Number(found[1]));
  }
  return [2, minor];
}

const LC_BUILD_VERSION = 0x32;

/** The oldest macOS that a Mach-O file of 64 bits runs on: `[13, 0]`. */
export function neededMacos(executable: Uint8Array): readonly [number, number] {
  const view = new DataView(executable.buffer, executable.byteOffset);
  const commands = view.getUint32(16, true);
  let at = 32;
  for (let i = 0; i < commands; i++) {
    if (view.getUint32(at, true) === LC_BUILD_VERSION) {
      const version = view.getUint32(at + 12, true);
      return [version >>> 16, (version >>> 8) & 0xff];
    }
    at += view.getUint32(at + 4, true);
  }
  throw new Error("no LC_BUILD_VERSION in the executable for macOS");
}
