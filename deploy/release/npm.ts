import { readFileSync } from "node:fs";
import { join } from "node:path";
import { license, version } from "../../package.json";
import { type Entry, tarGz } from "./archives.ts";
import { DESCRIPTION, type Made, packagePage } from "./package-page.ts";
import { executableName, NPM_NAME, PLATFORMS, type Platform } from "./platforms.ts";

const COMMON = { version, license, keywords: ["websocket", "realtime", "redis", "phoenix", "pubsub"] };

const holderOf = ({ os, cpu, libc }: Platform): string =>
  `${NPM_NAME}-${os}-${cpu}${libc === "musl" ? "-musl" : ""}`;

/** The package that people install: a launcher, and one optional package for each platform. npm installs only that of the machine. */
export function mainPackage(licence: Entry, date: number): Made {
  const optionalDependencies = Object.fromEntries(
    Object.values(PLATFORMS).map((platform) => [holderOf(platform), version]),
  );
  const manifest = {
    name: NPM_NAME,
    description: DESCRIPTION,
    ...COMMON,
    bin: { channel: "channel.cjs" },
    engines: { node: ">=18" },
    optionalDependencies,
  };
  return pack(
    manifest,
    [
      {
        path: "channel.cjs",
        content: readFileSync(join(import.meta.dir, "channel.cjs")),
        executable: true,
      },
      { path: "README.md", content: packagePage() },
      licence,
    ],
    date,
  );
}

/** The package with the executable of one platform. */
export function platformPackage(
  platform: Platform,
  executable: Uint8Array,
  notices: readonly Entry[],
  date: number,
): Made {
  const { os, cpu, libc } = platform;
  const manifest = {
    name: holderOf(platform),
    description: `The executable of ${NPM_NAME} for ${os} ${cpu}${libc === "musl" ? " with musl" : ""}. Install ${NPM_NAME} instead.`,
    ...COMMON,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    // Yarn can start no executable from an archive.
    preferUnplugged: true,
  };
  return pack(
    manifest,
    [{ path: executableName(platform), content: executable, executable: true }, ...notices],
    date,
  );
}

/** What `npm pack` makes, with the same bytes each time. */
function pack(
  manifest: { readonly name: string; readonly version: string },
  entries: readonly Entry[],
  date: number,
): Made {
  const all = [{ path: "package.json", content: `${JSON.stringify(manifest, null, 2)}\n` }, ...entries];
  const inFolder = all.map((entry) => ({ ...entry, path: `package/${entry.path}` }));
  return { name: `${manifest.name}-${manifest.version}.tgz`, bytes: tarGz(inFolder, date) };
}
