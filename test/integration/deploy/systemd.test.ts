import { expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { channelBinary } from "../channel-process.ts";
import { eventually } from "../phoenix-client.ts";

const ROOT = join(import.meta.dir, "../../..");
const SYSTEMD = "/lib/systemd/systemd";

function mayBoot(): boolean {
  if (process.getuid?.() !== 0 || !existsSync(SYSTEMD) || Bun.which("dpkg-deb") === null) return false;
  const probe =
    "mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/b /mnt/c && mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/a,workdir=/mnt/b /mnt/c && mount -t cgroup2 cgroup2 /mnt/a";
  return (
    Bun.spawnSync(["unshare", "--mount", "--cgroup", "sh", "-c", probe], { stderr: "ignore" }).exitCode === 0
  );
}

/** A copy of this system in name spaces of its own, gone afterwards, with systemd as its first process. */
const BOOT = `
set -e
folder=$1
mount --make-rprivate /
mkdir "$folder/mount"
mount -t tmpfs tmpfs "$folder/mount"
cd "$folder/mount"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --bind /dev dev
mkdir -p result
mount --bind "$folder/result" result
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
rm -f etc/systemd/system/*.wants/*
: > etc/machine-id
cp result/probe.service etc/systemd/system/
mkdir -p old
pivot_root . old
umount -l /old
# As on a machine: what systemd mounts for one service has to reach it.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin ${SYSTEMD} --system --unit=probe.service
`;

const PROBE = `
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
main() { systemctl show channel.service -p MainPID --value; }
show() { echo "$1: $(systemctl show channel.service -p ActiveState,StatusText --value | tr '\\n' ' ')"; }
ip link set lo up
redis-server --save "" --daemonize yes > /dev/null
dpkg --force-unsafe-io --install /result/channel.deb
show installed
grep -E "^(Uid|CapEff|NoNewPrivs|Seccomp):" /proc/$(main)/status | tr '\\t' ' '
echo "health $(curl -s http://127.0.0.1:2025/health)"
token=$(JWT_SECRET_FILE=/etc/channel/credentials/jwt_secret channel token --channel system)
secret=$(cat /etc/channel/credentials/admin_secret)
echo "admin $(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $secret" http://127.0.0.1:2025/api/stats)"
systemctl restart channel.service && show restarted
before=$(main)
systemctl reload channel.service && echo "reloaded $?"
test "$before" != "$(main)" && grep -q channel /proc/$(main)/cmdline && echo "main process replaced"
i=0; while test -e /proc/$before && test $i -lt 100; do sleep 0.1; i=$((i + 1)); done
show reloaded
echo "restarts $(systemctl show channel.service -p NRestarts --value)"
before=$(main)
since=$(systemctl show channel.service -p ActiveEnterTimestampMonotonic --value)
dpkg --force-unsafe-io --install /result/channel.deb
test "$since" = "$(systemctl show channel.service -p ActiveEnterTimestampMonotonic --value)" && test "$before" != "$(main)" && echo "upgraded without a restart"
i=0; while test -e /proc/$before && test $i -lt 100; do sleep 0.1; i=$((i + 1)); done
before=$(main)
kill -HUP $before
i=0; while test "$before" = "$(main)" && test $i -lt 100; do sleep 0.1; i=$((i + 1)); done
test "$before" != "$(main)" && echo "main process replaced by SIGHUP"
i=0; while test -e /proc/$before && test $i -lt 100; do sleep 0.1; i=$((i + 1)); done
before=$(main)
echo 'no_such_key = 1' >> /etc/channel/channel.toml
systemctl reload channel.service || echo "reload refused $?"
test "$before" = "$(main)" && echo "main process kept"
sed -i '$d' /etc/channel/channel.toml
mv /usr/bin/channel /usr/bin/channel.good
echo garbage > /usr/bin/channel && chmod 755 /usr/bin/channel
kill -HUP $before
sleep 1
mv /usr/bin/channel.good /usr/bin/channel
test "$before" = "$(main)" && show broken
kill -9 $(main)
sleep 4
show killed
workers() { pgrep --count --parent $(main); }
sed -i '1i workers = 2' /etc/channel/channel.toml
before=$(main)
systemctl reload channel.service && test "$before" != "$(main)" && show "workers by reload"
i=0; while test -e /proc/$before && test $i -lt 100; do sleep 0.1; i=$((i + 1)); done
systemctl restart channel.service && show "workers by restart"
echo "number $(workers)"
before=$(main)
systemctl reload channel.service && test "$before" != "$(main)" && show "workers reloaded"
i=0; while test -e /proc/$before && test $i -lt 100; do sleep 0.1; i=$((i + 1)); done
before=$(main)
kill -9 $(pgrep --parent $before --newest)
sleep 2
echo "number $(workers)"
test "$before" = "$(main)" && show "workers but one"
kill -9 $before
sleep 4
test "$before" != "$(main)" && show "workers killed"
echo "number $(workers), $(pgrep --count --uid "$(systemctl show channel.service -p UID --value)") processes"
systemctl stop channel.service
show stopped
journalctl --no-pager --unit channel --output cat
dpkg --purge channel
test -e /etc/channel || echo purged
echo finished
`;

const UNIT = `[Service]
Type=oneshot
ExecStart=/bin/sh /result/probe.sh
StandardOutput=file:/result/told
StandardError=inherit
`;

test.skipIf(!process.env.CHANNEL_LONG || !mayBoot())(
  "under a real systemd the package's service starts with its secrets, says when it is ready, is reloaded, comes back and goes",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "channel-systemd-"));
    const result = join(folder, "result");
    mkdirSync(result);
    const made = Bun.spawnSync(
      [process.execPath, join(ROOT, "deploy/deb.ts"), "--executable", channelBinary(), "--out", folder],
      { stdout: "pipe", stderr: "pipe" },
    );
    expect(made.exitCode).toBe(0);
    Bun.spawnSync(["mv", made.stdout.toString().trim(), join(result, "channel.deb")]);
    writeFileSync(join(result, "probe.sh"), PROBE);
    writeFileSync(join(result, "probe.service"), UNIT);
    writeFileSync(join(folder, "boot.sh"), BOOT);
    const machine = Bun.spawn(
      [
        ...["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"],
        ...["sh", join(folder, "boot.sh"), folder],
      ],
      { env: { PATH: process.env.PATH ?? "" }, stdin: "ignore", stdout: "ignore", stderr: "ignore" },
    );
    const told = () => (existsSync(join(result, "told")) ? readFileSync(join(result, "told"), "utf8") : "");
    try {
      await eventually(() => told().includes("finished"), "the service's life", 120_000).catch((error) => {
        throw new Error(`${String(error)}\n${told()}`);
      });
      const all = told();
      expect(all).toContain("installed: listening on http://127.0.0.1:2025 active");
      expect(all).toMatch(/^Uid: (6[1-5]\d{3}) \1 \1 \1$/m);
      for (const line of ["CapEff: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2"])
        expect(all).toContain(line);
      expect(all).toContain('health {"status":"up","bus":"redis"}');
      expect(all).toContain("admin 200");
      expect(all).toContain("restarted: listening on http://127.0.0.1:2025 active");
      expect(all).toContain(
        "reloaded 0\nmain process replaced\nreloaded: listening on http://127.0.0.1:2025 active",
      );
      expect(all).toContain("restarts 0\n");
      expect(all).toContain("upgraded without a restart\nmain process replaced by SIGHUP");
      expect(all).toMatch(/^reload refused [1-9]\d*\nmain process kept$/m);
      expect(all).toContain("broken: listening on http://127.0.0.1:2025 active");
      expect(all).toMatch(/^channel: .*channel\.toml: unknown key no_such_key/m);
      expect(all).toMatch(/reload failed, .*cannot execute \/usr\/bin\/channel: not an executable/);
      expect(all).toContain("killed: listening on http://127.0.0.1:2025 active");
      for (const when of ["by reload", "by restart", "reloaded", "but one", "killed"])
        expect(all).toContain(`workers ${when}: listening on http://127.0.0.1:2025 active`);
      expect(all.match(/^number .*$/gm)).toEqual(["number 2", "number 2", "number 2, 3 processes"]);
      expect(all).toMatch(/^stopped: .*inactive $/m);
      expect(all).toContain("purged");
      expect(all).not.toContain("systemd-notify failed");
    } finally {
      machine.kill("SIGKILL");
      await machine.exited;
      rmSync(folder, { recursive: true, force: true });
    }
  },
  180_000,
);
