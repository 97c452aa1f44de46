import { afterEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { channelBinary } from "./channel-process.ts";
import { connectPhoenix, eventually, mint } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { backendOn, SECRET } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Running {
  readonly url: string;
  readonly pid: number;
  readonly busPort: number;
  readonly exited: Promise<number>;
  /** Resumes the reader of the log, which is paused from the start. */
  read(): void;
  /** Lines that the reader has read. */
  lines(): string[];
}

/** How standard error is connected: as by a shell, a container or a service manager. */
const WAYS = ["a pipe", "a pipe of another user", "a socket"] as const;

/**
 * Connects standard error to a process that copies it to the file `log` and that stops itself before it reads. Then runs the
 * rest of the command line, with the given user id unless it is 0. A third process keeps setting standard error to blocking
 * mode, as a shell or a runtime does when it restores the mode.
 */
const LAUNCHER = `
import fcntl, os, signal, socket, sys, time
kind, user, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
if kind == "socket":
    ends = socket.socketpair()
    source, sink = ends[0].detach(), ends[1].detach()
else:
    source, sink = os.pipe()
if os.fork() == 0:
    os.close(sink)
    os.setsid()
    with open("log", "wb", buffering=0) as log:
        with open("reader", "w") as file:
            file.write(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
        while data := os.read(source, 65536):
            log.write(data)
    os._exit(0)
os.close(source)
server = os.getpid()
if os.fork() == 0:
    while os.getppid() == server:
        fcntl.fcntl(sink, fcntl.F_SETFL, fcntl.fcntl(sink, fcntl.F_GETFL) & ~os.O_NONBLOCK)
        time.sleep(0.01)
    os._exit(0)
os.dup2(sink, 2)
os.close(sink)
if user != 0:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
os.execv(command[0], command)`;

async function start(way: (typeof WAYS)[number]): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "channel-log-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  // Accessible for the other user.
  chmodSync(folder, 0o755);
  const [port, busPort] = [freePort(), freePort()];
  const child = Bun.spawn(
    [
      ...["python3", "-c", LAUNCHER, way === "a socket" ? "socket" : "pipe"],
      way === "a pipe of another user" ? "65534" : "0",
      ...[channelBinary(), "--port", String(port), "--log-format", "json", "--log-level", "debug"],
      ...["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${busPort}`, "--jwt-secret", SECRET],
    ],
    {
      cwd: folder,
      env: { PATH: process.env.PATH ?? "" },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "inherit",
    },
  );
  const path = (name: string) => join(folder, name);
  ends.push(() => {
    child.kill("SIGKILL");
    return child.exited;
  });
  // The file is there before its text is.
  const reader = await eventually(
    () => (existsSync(path("reader")) ? Number(readFileSync(path("reader"), "utf8")) : 0) || null,
    "the reader",
    10_000,
  );
  ends.push(() => {
    try {
      process.kill(reader, "SIGKILL");
    } catch {
      // It ended with the server.
    }
  });
  await eventually(() => isStopped(reader), "that the reader stops itself", 10_000);
  const url = `http://127.0.0.1:${port}`;
  await eventually(
    async () => (await fetch(`${url}/health`).catch(() => null))?.ok,
    "that it listens",
    10_000,
  );
  return {
    ...{ url, busPort, pid: child.pid, exited: child.exited },
    read: () => void process.kill(reader, "SIGCONT"),
    lines: () => readFileSync(path("log"), "utf8").split("\n").slice(0, -1),
  };
}

function isStopped(pid: number): boolean {
  return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

/** Causes more log lines than all buffers hold: one for each ignored message at debug level. */
async function flood({ busPort }: Running): Promise<void> {
  const backend = backendOn(busPort);
  ends.push(() => backend.stop());
  for (let times = 0; times < 20; times++) {
    await Promise.all(Array.from({ length: 1000 }, () => backend.publish("to:no-event", "x")));
  }
}

describe.each(WAYS.filter((way) => way !== "a pipe of another user" || process.getuid?.() === 0))(
  "standard error is %s without an active reader",
  (way) => {
    test("serves clients, counts dropped lines and reports the count when the reader resumes", async () => {
      const channel = await start(way);
      const client = await connectPhoenix(channel.url);
      ends.push(() => client.socket.cut());
      await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
      await flood(channel);
      await client.fence();
      channel.read();
      const dropped = await eventually(() => {
        const line = channel.lines().find((each) => each.includes("log lines dropped"));
        return line === undefined ? null : Number(Object(JSON.parse(line)).dropped);
      }, "the number of dropped lines");
      // Each line is complete, and each one was written or counted.
      const ignored = channel
        .lines()
        .filter((line) => JSON.parse(line).message.startsWith("ignored message"));
      expect(ignored.length + dropped).toBeGreaterThanOrEqual(20_000);
      process.kill(channel.pid, "SIGUSR2");
      await eventually(() => channel.lines().some((line) => line.includes("SIGUSR2")), "later lines");
      process.kill(channel.pid, "SIGTERM");
      expect(await channel.exited).toBe(0);
      await eventually(() => channel.lines().at(-1)?.includes('"stopped"'), "the last line");
    }, 40_000);

    test("exits on SIGTERM", async () => {
      const channel = await start(way);
      await flood(channel);
      process.kill(channel.pid, "SIGTERM");
      expect(await channel.exited).toBe(0);
    }, 40_000);
  },
);
