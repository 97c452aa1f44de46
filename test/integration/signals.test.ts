import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { type ChannelOptions, type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { backendOn, SECRET } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(busPort: number, options: ChannelOptions = {}): Promise<ChannelProcess> {
  const bus = ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${busPort}`];
  const channel = await startChannel({ ...options, args: [...bus, "--jwt-secret", SECRET] });
  ends.push(() => channel.stop());
  return channel;
}

/** Executes a command with a terminal of its own, whose other end stays open. */
const IN_TERMINAL = [
  "python3",
  "-c",
  `
import fcntl, os, pty, sys, termios
other, terminal = pty.openpty()
os.set_inheritable(other, True)
os.setsid()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
`,
];

test("SIGHUP from a terminal shuts down like SIGTERM: sockets are closed, backends receive the leaves", async () => {
  const busPort = freePort();
  const channel = await start(busPort, { under: IN_TERMINAL });
  const backend = backendOn(busPort);
  ends.push(() => backend.stop());
  const received = await backend.listen("to:room:presence_diff");
  const client = await connectPhoenix(channel.url);
  await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
  channel.kill("SIGHUP");
  // The kernel and the shell send one each when a terminal is closed.
  await channel.log.until(({ message }) => message === "stopping", "that it stops");
  channel.kill("SIGHUP");
  await received.until(({ payload }) => /"leaves":\{"alice"/.test(payload.toString()), "the leave");
  expect((await client.socket.closed).code).toBe(1012);
  expect(await channel.exited).toBe(0);
  expect(channel.lines.slice(-2)).toMatchObject([
    { message: "stopping", signal: "SIGHUP" },
    { message: "stopped" },
  ]);
});

test("a second SIGTERM ends a shutdown started by SIGHUP at once", async () => {
  const channel = await start(freePort(), { under: IN_TERMINAL, toml: 'drain_delay = "60s"\n' });
  channel.kill("SIGHUP");
  await channel.log.until(({ message }) => message === "stopping", "that it stops");
  channel.kill("SIGTERM");
  expect(await channel.exited).toBe(143);
});

test("ignores SIGHUP under nohup", async () => {
  const channel = await start(freePort(), { under: ["nohup"] });
  channel.kill("SIGHUP");
  channel.kill("SIGUSR1");
  await channel.log.until(({ message }) => message === "signal ignored", "the signal behind it");
  expect(channel.output()).not.toContain("stopping");
  expect((await fetch(`${channel.url}/health`)).status).toBe(200);
});

test("SIGUSR1 and SIGUSR2 are ignored and logged", async () => {
  const channel = await start(freePort());
  const client = await connectPhoenix(channel.url);
  ends.push(() => client.socket.cut());
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
    channel.kill(signal);
    await channel.log.until((line) => line.message === "signal ignored" && line.signal === signal, signal);
  }
  await client.fence();
  expect(await channel.stop()).toBe(0);
});

const mayFork =
  process.getuid?.() === 0 &&
  Bun.which("unshare") !== null &&
  Bun.spawnSync(["unshare", "--pid", "--fork", "--mount-proc", "true"], { stderr: "ignore" }).exitCode === 0;

describe.skipIf(!mayFork)("as process 1 of a container", () => {
  test("reaps orphaned children, and handles signals", async () => {
    const enter = 'mount -t proc proc /proc; exec "$0" "$@"';
    const channel = await start(freePort(), {
      under: ["unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-c", enter],
    });
    const [inside] = childrenOf(channel.pid);
    if (inside === undefined) throw new Error("no process in the namespace");
    // Orphans, as a health check leaves: their parent ends before them. They live long enough to be seen on a busy machine, and some end
    // by a signal.
    const leave =
      "for i in 1 2 3; do sh -c 'sleep 2; kill -KILL $$' & done; (exec sleep 3) & (exec sleep 4) &";
    // They would hold its output open.
    const run = Bun.spawnSync(["nsenter", "--target", String(inside), "--pid", "sh", "-c", leave], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    expect(run.exitCode).toBe(0);
    await eventually(() => childrenOf(inside).length > 0, "orphans");
    await eventually(() => childrenOf(inside).length === 0, "that they are reaped", 10_000);
    process.kill(inside, "SIGTERM");
    expect(await channel.exited).toBe(0);
  }, 60_000);
});

/** Child processes of this one, including zombies. */
function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        const stat = readFileSync(`/proc/${child}/stat`, "utf8");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
      } catch {
        return false;
      }
    });
}
