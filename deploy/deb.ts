/**
 * Makes a Debian package of an executable: `npm run deb -- [--executable dist/channel] [--architecture amd64]
 * [--version 1.2.3] [--out dist]`. Needs dpkg-deb. Prints the path of the package.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { completionScript } from "../src/commands/completion.ts";
import { COMMANDS } from "../src/commands/definitions.ts";
import { manualPage } from "../src/commands/manual.ts";
import { VERSION } from "../src/version.ts";
import { sourceDate } from "./release/compile.ts";
import { thirdPartyNotices } from "./release/contents.ts";

const HERE = import.meta.dir;
const { executable, architecture, out, version } = parseArgs({
  options: {
    executable: { type: "string", default: join(HERE, "../dist/channel") },
    architecture: { type: "string", default: process.arch === "arm64" ? "arm64" : "amd64" },
    version: { type: "string", default: VERSION },
    out: { type: "string", default: join(HERE, "../dist") },
  },
}).values;

const root = mkdtempSync(join(tmpdir(), "channel-deb-"));
chmodSync(root, 0o755);

function put(path: string, content: string | Uint8Array, mode = 0o644): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  writeFileSync(file, content);
  chmodSync(file, mode);
}

mkdirSync(join(root, "usr/bin"), { recursive: true, mode: 0o755 });
cpSync(executable, join(root, "usr/bin/channel"));
chmodSync(join(root, "usr/bin/channel"), 0o755);
put("lib/systemd/system/channel.service", readFileSync(join(HERE, "channel.service")));
put("etc/channel/channel.toml", readFileSync(join(HERE, "channel.toml")));
put("usr/share/man/man1/channel.1.gz", gzipSync(manualPage(COMMANDS)));
put("usr/share/bash-completion/completions/channel", `${completionScript("bash", COMMANDS)}\n`);
put("usr/share/zsh/vendor-completions/_channel", `${completionScript("zsh", COMMANDS)}\n`);
put("usr/share/fish/vendor_completions.d/channel.fish", `${completionScript("fish", COMMANDS)}\n`);
put("usr/share/doc/channel/copyright", readFileSync(join(HERE, "../LICENSE")));
put("usr/share/doc/channel/THIRD-PARTY.gz", gzipSync(await thirdPartyNotices()));
put("usr/share/doc/channel/changelog.gz", gzipSync(readFileSync(join(HERE, "../CHANGELOG.md"))));
for (const name of ["nginx.conf", "Caddyfile"])
  put(`usr/share/doc/channel/examples/${name}`, readFileSync(join(HERE, name)));

put(
  "DEBIAN/control",
  `Package: channel
Version: ${version}
Architecture: ${architecture}
Maintainer: The Channel maintainers <channel@localhost>
Section: net
Priority: optional
Depends: libc6 (>= 2.17)
Recommends: redis-server, systemd (>= 250)
Description: real-time hub between browsers and Redis
 Browsers join channels by the Phoenix protocol, event groups or Channelstream's;
 backends send with a plain Redis PUBLISH and receive with SUBSCRIBE.
`,
);
put("DEBIAN/conffiles", "/etc/channel/channel.toml\n");
for (const name of ["postinst", "prerm", "postrm"])
  put(`DEBIAN/${name}`, readFileSync(join(HERE, "debian", name)), 0o755);

mkdirSync(resolve(out), { recursive: true });
const file = join(resolve(out), `channel_${version}_${architecture}.deb`);
const made = Bun.spawnSync(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, file], {
  // dpkg-deb gives files this time: the same contents are the same bytes.
  env: { ...process.env, SOURCE_DATE_EPOCH: String(sourceDate()) },
  stdout: "ignore",
  stderr: "inherit",
});
rmSync(root, { recursive: true });
if (made.exitCode !== 0) process.exit(1);
console.log(file);
