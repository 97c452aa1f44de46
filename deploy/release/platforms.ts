/** Names under which the packages are published. The npm packages of platforms are `NPM_NAME-linux-x64` and so on. */
export const NPM_NAME = "channel-hub";
export const PYTHON_NAME = "channel-hub";

export interface Platform {
  readonly bun: Bun.Build.CompileTarget;
  /** As Node names it: `process.platform` and `process.arch`. */
  readonly os: "linux" | "darwin" | "win32";
  readonly cpu: "x64" | "arm64";
  readonly libc?: "glibc" | "musl";
  /** Platform tags of the wheel. A test compares them with what the executables need. */
  readonly wheel: readonly string[];
  readonly deb?: string;
}

export const PLATFORMS: Readonly<Record<string, Platform>> = {
  "linux-x64": {
    bun: "bun-linux-x64",
    os: "linux",
    cpu: "x64",
    libc: "glibc",
    wheel: ["manylinux2014_x86_64", "manylinux_2_17_x86_64"],
    deb: "amd64",
  },
  "linux-arm64": {
    bun: "bun-linux-arm64",
    os: "linux",
    cpu: "arm64",
    libc: "glibc",
    wheel: ["manylinux2014_aarch64", "manylinux_2_17_aarch64"],
    deb: "arm64",
  },
  // These need libstdc++ too, which no tag can say.
  "linux-x64-musl": {
    bun: "bun-linux-x64-musl",
    os: "linux",
    cpu: "x64",
    libc: "musl",
    wheel: ["musllinux_1_2_x86_64"],
  },
  "linux-arm64-musl": {
    bun: "bun-linux-arm64-musl",
    os: "linux",
    cpu: "arm64",
    libc: "musl",
    wheel: ["musllinux_1_2_aarch64"],
  },
  "macos-x64": { bun: "bun-darwin-x64", os: "darwin", cpu: "x64", wheel: ["macosx_13_0_x86_64"] },
  "macos-arm64": { bun: "bun-darwin-arm64", os: "darwin", cpu: "arm64", wheel: ["macosx_13_0_arm64"] },
  "windows-x64": { bun: "bun-windows-x64", os: "win32", cpu: "x64", wheel: ["win_amd64"] },
  "windows-arm64": { bun: "bun-windows-arm64", os: "win32", cpu: "arm64", wheel: ["win_arm64"] },
};

/** The platform of this machine: `linux-x64`. Musl is taken for glibc. */
export function hostPlatform(): string {
  const found = Object.entries(PLATFORMS).find(
    ([, { os, cpu, libc }]) => os === process.platform && cpu === process.arch && libc !== "musl",
  );
  if (found === undefined) throw new Error(`no platform ${process.platform}-${process.arch}`);
  return found[0];
}

/** The file name of the executable in packages. */
export function executableName({ os }: Platform): string {
  return os === "win32" ? "channel.exe" : "channel";
}
