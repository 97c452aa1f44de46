import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../../src/config/config.ts";
import { LIMITS } from "../../../src/config/settings.ts";
import { channelBinary } from "../channel-process.ts";

/*
 * The files of deploy/ exactly as they lie, in name spaces where their ports and folders are free.
 */

const INSTALLED = join(import.meta.dir, "installed.ts");
const DEPLOY = join(import.meta.dir, "../../../deploy");

/** Folders that the files name, empty, and the one name that they hold. */
const SETUP = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /etc/ssl
mount -t tmpfs tmpfs /var/log
echo "127.0.0.1 localhost channel.example.org" > "$1/hosts"
mount --bind "$1/hosts" /etc/hosts
ip link set lo up
shift
exec "$@"
`;

const SPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", SETUP, "sh"];

function maySetUp(): boolean {
  if (process.getuid?.() !== 0 || Bun.which("unshare") === null || Bun.which("ip") === null) return false;
  const folder = mkdtempSync(join(tmpdir(), "channel-probe-"));
  const probe = Bun.spawnSync([...SPACES, folder, "true"], { stderr: "ignore" });
  rmSync(folder, { recursive: true, force: true });
  return probe.exitCode === 0;
}

describe.skipIf(!maySetUp())("the proxy's file and channel.toml as they lie", () => {
  test.each(["nginx", "caddy"])(
    "%s lets visitors in, and the log names whom it refuses",
    async (proxy) => {
      const folder = mkdtempSync(join(tmpdir(), "channel-spaces-"));
      try {
        const run = Bun.spawn([...SPACES, folder, process.execPath, INSTALLED, proxy], {
          // The certificates of this machine are out of sight there.
          env: { PATH: process.env.PATH ?? "", CHANNEL_BIN: channelBinary(), TMPDIR: folder },
          stdin: "ignore",
          stdout: "pipe",
          stderr: "pipe",
          timeout: 80_000,
          killSignal: "SIGKILL",
        });
        const [told, errors] = await Promise.all([
          new Response(run.stdout).text(),
          new Response(run.stderr).text(),
        ]);
        const code = await run.exited;
        expect([code, code === 0 ? "" : errors]).toEqual([0, ""]);
        const { log, ...seen } = JSON.parse(told);
        // Caddy answers for the names of its file only.
        expect(seen).toEqual({
          health: 200,
          ready: 200,
          page: 200,
          token: 200,
          foreignOrigin: 403,
          foreignHost: proxy === "nginx" ? 403 : 200,
          heard: { websocket: "hello", longpoll: "hello" },
        });
        expect(log).toMatch(/WARN +origin refused origin="?https:\/\/elsewhere\.example/);
        if (proxy === "nginx") expect(log).toMatch(/WARN +host refused host="?elsewhere\.example/);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
    90_000,
  );
});

test("channel.toml leaves each address its limits", () => {
  const cwd = mkdtempSync(join(tmpdir(), "channel-limits-"));
  try {
    const loaded = loadConfig({ flags: { config: join(DEPLOY, "channel.toml") }, env: {}, cwd });
    if (!loaded.ok) throw new Error(loaded.message);
    const { limits } = loaded.config;
    expect(limits.maxConnectionsPerIp).toBe(LIMITS.maxConnectionsPerIp.default);
    expect(limits.maxConnectionsPerIp).toBeLessThan(limits.maxConnections);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
});
