import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { channelBinary } from "../channel-process.ts";

const ROOT = join(import.meta.dir, "../../..");

/** Whether this machine lets us lay a file system of our own over its own, in a name space of our own. */
function mayOverlay(): boolean {
  if (process.getuid?.() !== 0 || Bun.which("dpkg-deb") === null || Bun.which("unshare") === null)
    return false;
  const probe =
    "mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b /mnt/c && mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/a,workdir=/mnt/b /mnt/c";
  return Bun.spawnSync(["unshare", "--mount", "sh", "-c", probe], { stderr: "ignore" }).exitCode === 0;
}

/**
 * The package is installed, started, upgraded, removed and purged by dpkg on a copy of this very system that is gone
 * afterwards. No systemd runs in it: the server is started by hand as the unit says, and that `systemctl` is called is
 * seen by what stands in its place.
 */
const SCRIPT = `
set -eu
root=$1; old=$2; new=$3
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/system"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/system"
mount -t proc proc "$root/system/proc"
mount --bind /dev "$root/system/dev"
cp "$old" "$root/system/old.deb"
cp "$new" "$root/system/new.deb"
chroot "$root/system" /bin/sh -eu <<'INSIDE'
export DEBIAN_FRONTEND=noninteractive
mkdir -p /run/systemd/system /usr/local/sbin
printf '#!/bin/sh\\necho "systemctl $*" >> /systemctl.log\\n' > /usr/local/sbin/systemctl
chmod +x /usr/local/sbin/systemctl
serve() {
  : > /server.log
  /usr/bin/channel serve --config /etc/channel/channel.toml --bus redis --port 0 2> /server.log &
  server=$!
  i=0
  until grep -q listening /server.log || [ $i -gt 100 ]; do sleep 0.1; i=$((i + 1)); done
  if grep -q listening /server.log; then echo started; else cat /server.log; exit 1; fi
  kill -TERM $server
  wait $server && echo "stopped"
}
export JWT_SECRET_FILE=/etc/channel/credentials/jwt_secret ADMIN_SECRET_FILE=/etc/channel/credentials/admin_secret
dpkg --force-unsafe-io --install /old.deb
echo "version $(dpkg-query -W -f '\${Version}' channel)"
stat -c '%a %U %n' /etc/channel/credentials /etc/channel/credentials/* /etc/channel/channel.toml
serve
cat /etc/channel/credentials/jwt_secret > /secret
echo '# mine' >> /etc/channel/channel.toml
dpkg --force-unsafe-io --install /new.deb
echo "version $(dpkg-query -W -f '\${Version}' channel)"
cmp /secret /etc/channel/credentials/jwt_secret && echo "secret kept"
grep -q '# mine' /etc/channel/channel.toml && echo "configuration kept"
serve
man --path channel > /dev/null 2>&1 && echo "manual there"
dpkg --remove channel
test ! -e /usr/bin/channel && test -e /etc/channel/channel.toml && echo "removed"
dpkg --purge channel
test ! -e /etc/channel && echo "purged"
cat /systemctl.log
INSIDE
`;

test.skipIf(!process.env.CHANNEL_LONG || !mayOverlay())(
  "the package is installed, started, upgraded, removed and purged",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "channel-package-"));
    try {
      const [old, next] = ["0.0.1", "0.0.2"].map((version) => {
        const made = Bun.spawnSync(
          [
            process.execPath,
            join(ROOT, "deploy/deb.ts"),
            "--executable",
            channelBinary(),
            "--version",
            version,
            "--out",
            folder,
          ],
          { stdout: "pipe", stderr: "pipe" },
        );
        if (made.exitCode !== 0) throw new Error(made.stderr.toString());
        return made.stdout.toString().trim();
      });
      const script = join(folder, "script.sh");
      writeFileSync(script, SCRIPT);
      const mounts = mkdtempSync(join(folder, "mounts-"));
      const run = Bun.spawnSync(
        [
          "unshare",
          "--mount",
          "--pid",
          "--fork",
          "--kill-child",
          "sh",
          script,
          mounts,
          old ?? "",
          next ?? "",
        ],
        // Nothing that configures tests configures the server.
        { env: { PATH: process.env.PATH ?? "" }, stdout: "pipe", stderr: "pipe" },
      );
      const told = run.stdout.toString();
      expect([run.exitCode, run.exitCode === 0 ? "" : `${told}${run.stderr}`]).toEqual([0, ""]);
      const expected = [
        "version 0.0.1",
        "700 root /etc/channel/credentials",
        "600 root /etc/channel/credentials/jwt_secret",
        "644 root /etc/channel/channel.toml",
        "version 0.0.2",
        "secret kept",
        "configuration kept",
        "removed",
        "purged",
        "systemctl enable --quiet channel.service",
        "systemctl restart channel.service",
        "systemctl reload channel.service",
        "systemctl disable --now --quiet channel.service",
      ];
      for (const line of expected) expect(told).toContain(line);
      expect(told.match(/^(started|stopped)$/gm)).toEqual(["started", "stopped", "started", "stopped"]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  240_000,
);
