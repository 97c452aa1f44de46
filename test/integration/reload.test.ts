import { afterEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CERTIFICATE, KEY } from "../unit/config/certificate.ts";
import { type ChannelOptions, channelBinary, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { type ReloadingServer, SECRETS_TOML, startReloading } from "./reloading.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "channel-reload-"));
  ends.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function start(options: ChannelOptions = {}): Promise<ReloadingServer> {
  const server = await startReloading(options);
  ends.push(() => server.stop());
  return server;
}

/** Waits for the reason with which the next reload fails or is refused. */
async function reason({ channel }: ReloadingServer, level: "warn" | "error" = "error"): Promise<unknown> {
  const line = await channel.log.until(
    (each) => each.level === level && each.message.startsWith("reload "),
    "the reason",
    45_000,
  );
  return line.reason;
}

/** Open descriptors of a process, once their number no longer changes: connections open and close. */
async function descriptors(pid: number): Promise<number> {
  const count = (): number => readdirSync(`/proc/${pid}/fd`).length;
  let last = count();
  for (let same = 0; same < 10; ) {
    await Bun.sleep(50);
    const now = count();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  return last;
}

async function joinRoom(url: string): Promise<void> {
  const client = await connectPhoenix(url);
  const token = mint({ id: "alice", channel: "room" }, SECRET);
  expect((await client.join("room", { token })).status).toBe("ok");
  client.socket.cut();
}

describe("a reload", () => {
  test("by command: the successor serves when it ends, clients get 1012, the old process ends with 0", async () => {
    const server = await start();
    const { channel } = server;
    const client = await connectPhoenix(channel.url);
    await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
    expect(await server.reload()).toBe("0: ");
    await joinRoom(channel.url);
    expect((await client.socket.closed).code).toBe(1012);
    expect(server.pid).not.toBe(channel.pid);
    await server.settled();
    expect(server.processes()).toEqual([server.pid]);
    await channel.log.until(({ message }) => message === "stopped", "the last line of the old process");
    await channel.log.atLeast(2, ({ message }) => message === "listening", "the line of each process");
    const lines = channel.lines
      .map(({ message }) => message)
      .filter((each) => !/^(audit|server |limit on open files)/.test(each));
    const since = lines.slice(lines.indexOf("reload started"));
    // Two processes write, each in its own order.
    const isOfOld = (line: string) => /^(reload|stop)/.test(line);
    expect(since.filter(isOfOld)).toEqual([
      "reload started",
      "reload complete, the new process serves",
      "stopping",
      "stopped",
    ]);
    expect(since.filter((line) => !isOfOld(line))).toEqual(["Redis connected", "listening"]);
  });

  test("by SIGHUP, with generated secrets and a port that the system chose, and again", async () => {
    const server = await start({ toml: "" });
    const { channel } = server;
    const tokenOf = async (): Promise<string> => {
      const answer = await fetch(`${channel.url}/token`, { method: "POST", body: '{"channel":"room"}' });
      return String(Object(await answer.json()).token);
    };
    const token = await tokenOf();
    for (let i = 0; i < 2; i++) {
      await server.hangUp();
      await channel.log.until(({ message }) => message.startsWith("reload complete"), "the reload");
      await server.settled();
      const client = await connectPhoenix(channel.url);
      expect((await client.join("room", { token })).status).toBe("ok");
      client.socket.cut();
    }
    // Nothing of it is visible to other processes.
    for (const file of ["cmdline", "environ"]) {
      expect(readFileSync(`/proc/${server.pid}/${file}`, "utf8")).not.toMatch(/secret/i);
    }
  });

  test("takes the configuration and the executable that are there now", async () => {
    const cwd = folder();
    const binary = join(cwd, "channel");
    symlinkSync(channelBinary(), binary);
    const server = await start({ binary, cwd, toml: `${SECRETS_TOML}base_path = "/old"\n` });
    // A wrapper shows that it was started by the path, not by the file of the running process.
    rmSync(binary);
    writeFileSync(
      binary,
      `#!/bin/sh\necho '{"level":"info","message":"wrapped"}' >&2\nexec ${channelBinary()} "$@"\n`,
    );
    chmodSync(binary, 0o755);
    writeFileSync(join(cwd, "channel.toml"), `${SECRETS_TOML}base_path = "/new"\n`);
    server.channel.kill("SIGHUP");
    await server.channel.log.until(({ message }) => message.startsWith("reload complete"), "the reload");
    expect(server.channel.lines.some(({ message }) => message === "wrapped")).toBe(true);
    expect((await fetch(`${server.channel.url}/new/health`)).status).toBe(200);
    expect((await fetch(`${server.channel.url}/old/health`)).status).toBe(404);
  });

  test("by the command with the configuration of a server with TLS on all addresses", async () => {
    const cwd = folder();
    writeFileSync(join(cwd, "certificate.pem"), CERTIFICATE);
    writeFileSync(join(cwd, "key.pem"), KEY, { mode: 0o600 });
    const tls = 'host = "0.0.0.0"\ntls_cert = "certificate.pem"\ntls_key = "key.pem"\n';
    const server = await start({ cwd, toml: SECRETS_TOML + tls });
    expect(await server.reload("--config", join(cwd, "channel.toml"))).toBe("0: ");
    const answer = await fetch(`https://127.0.0.1:${server.channel.port}/health`, {
      tls: { rejectUnauthorized: false },
    });
    expect(answer.status).toBe(200);
  });

  test("leaves neither processes nor descriptors behind, and the port to this server alone", async () => {
    const server = await start();
    const counts: number[] = [];
    for (let i = 0; i < 4; i++) {
      expect(await server.reload()).toBe("0: ");
      await server.settled();
      counts.push(await descriptors(server.pid));
    }
    expect(new Set(counts).size).toBe(1);
    const second = Bun.spawn(
      [channelBinary(), "--port", String(server.channel.port), "--redis-url", server.redis.url],
      { cwd: folder(), env: {}, stdout: "ignore", stderr: "pipe" },
    );
    expect(await second.exited).toBe(1);
    expect(await new Response(second.stderr).text()).toContain("the port is in use");
  }, 40_000);

  test("keeps /ready at 200, on connections to the old process too", async () => {
    const server = await start();
    const statuses = new Set<number>();
    let asking = true;
    const asked = (async () => {
      while (asking) {
        statuses.add((await fetch(`${server.channel.url}/ready`)).status);
        await Bun.sleep(5);
      }
    })();
    for (let i = 0; i < 2; i++) {
      expect(await server.reload()).toBe("0: ");
      await server.settled();
    }
    asking = false;
    await asked;
    expect([...statuses]).toEqual([200]);
  }, 30_000);
});

describe("the old process goes on serving", () => {
  /** Rejects a reload by SIGHUP with this reason, and serves afterwards. */
  async function expectFailure(server: ReloadingServer, expected: string | RegExp): Promise<void> {
    const client = await connectPhoenix(server.channel.url);
    ends.push(() => client.socket.cut());
    server.channel.kill("SIGHUP");
    expect(await reason(server)).toMatch(expected);
    await eventually(() => server.processes().length === 1, "that the new process ends");
    expect(server.processes()).toEqual([server.channel.pid]);
    await client.fence();
    await joinRoom(server.channel.url);
  }

  test("if the new configuration is invalid; the command fails with the reason", async () => {
    const cwd = folder();
    const server = await start({ cwd });
    const file = join(cwd, "channel.toml");
    writeFileSync(file, `${SECRETS_TOML}presence_window = "long"\n`);
    await expectFailure(server, /^channel\.toml: presence_window must be/);
    expect(await server.reload()).toMatch(
      /^1: channel: the server was not reloaded: channel\.toml: presence_window must be/,
    );
    writeFileSync(file, SECRETS_TOML);
    expect(await server.reload()).toBe("0: ");
  });

  test("if host or port changed", async () => {
    const cwd = folder();
    const server = await start({ cwd });
    writeFileSync(join(cwd, "channel.toml"), `${SECRETS_TOML}host = "127.0.0.2"\n`);
    await expectFailure(server, "host changed from 127.0.0.1 to 127.0.0.2: restart the server instead");
  });

  test("if the port changed", async () => {
    const cwd = folder();
    const port = freePort();
    // Without the flag of the test, which would win over the file.
    const dropFlag = 'program=$1; shift 3; exec "$program" "$@"';
    const server = await start({
      cwd,
      toml: `${SECRETS_TOML}port = ${port}\n`,
      under: ["sh", "-c", dropFlag, "sh"],
    });
    writeFileSync(join(cwd, "channel.toml"), `${SECRETS_TOML}port = ${port + 1}\n`);
    await expectFailure(server, `port changed from ${port} to ${port + 1}: restart the server instead`);
  });

  test("if the executable is missing, broken, not executable, or ends", async () => {
    const cwd = folder();
    const binary = join(cwd, "channel");
    symlinkSync(channelBinary(), binary);
    const server = await start({ binary, cwd });
    rmSync(binary);
    await expectFailure(server, `cannot execute ${binary}: no such file`);
    writeFileSync(binary, "garbage");
    await expectFailure(server, `cannot execute ${binary}: permission denied`);
    chmodSync(binary, 0o755);
    await expectFailure(server, `cannot execute ${binary}: not an executable of this machine`);
    rmSync(binary);
    writeFileSync(binary, "#!/bin/sh\nexit 7\n");
    chmodSync(binary, 0o755);
    await expectFailure(server, "the new process ended with code 7");
    writeFileSync(binary, "#!/bin/sh\nkill -SEGV $$\n");
    await expectFailure(server, "the new process ended with SIGSEGV");
    rmSync(binary);
    symlinkSync(channelBinary(), binary);
    expect(await server.reload()).toBe("0: ");
  });

  test.skipIf(!process.env.CHANNEL_LONG)(
    "if the successor does not reach Redis, or does nothing",
    async () => {
      const cwd = folder();
      const binary = join(cwd, "channel");
      symlinkSync(channelBinary(), binary);
      const server = await start({ binary, cwd });
      rmSync(binary);
      writeFileSync(binary, "#!/bin/sh\nexec sleep 1000\n");
      chmodSync(binary, 0o755);
      await expectFailure(server, "the new process does not serve after 35 s");
    },
    60_000,
  );

  test("as process 1 of a container", async () => {
    const enter = 'mount -t proc proc /proc; exec "$0" "$@"';
    const server = await start({
      under: ["unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-c", enter],
    });
    const inside = server.processes().at(-1);
    if (inside === undefined) throw new Error("no process in the namespace");
    process.kill(inside, "SIGHUP");
    const why = "this is process 1 of a container, which ends with it: replace the container instead";
    expect(await reason(server, "warn")).toBe(why);
    expect(await server.reload()).toBe(`1: channel: the server was not reloaded: ${why}`);
    await joinRoom(server.channel.url);
  });

  test("with the embedded bus", async () => {
    const channel = await startChannel({
      toml: SECRETS_TOML,
      args: ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`],
    });
    ends.push(() => channel.stop());
    channel.kill("SIGHUP");
    await channel.log.until(({ message }) => message === "reload refused", "the refusal");
    const answer = await fetch(`${channel.url}/api/reload`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_SECRET}` },
    });
    expect([answer.status, await answer.json()]).toEqual([
      409,
      {
        error: "the embedded bus ends with its process: restart the server, or use a Redis",
        code: "reload_failed",
      },
    ]);
    await joinRoom(channel.url);
  });

  test("while another reload runs, and if it is stopped meanwhile nothing remains", async () => {
    const cwd = folder();
    const server = await start({ cwd });
    // A successor that waits for its bus.
    server.redis.kill("SIGSTOP");
    ends.push(() => server.redis.kill("SIGCONT"));
    server.channel.kill("SIGHUP");
    await server.channel.log.until(({ message }) => message === "reload started", "the reload");
    server.channel.kill("SIGHUP");
    expect(await reason(server, "warn")).toBe("another reload is not yet complete");
    await eventually(() => server.processes().length === 2, "the successor");
    server.channel.kill("SIGTERM");
    await eventually(() => server.processes().length === 0, "that both end");
    expect(await server.channel.exited).toBe(0);
  });

  test("if it is refused for want of permission", async () => {
    const server = await start();
    const answer = await fetch(`${server.channel.url}/api/reload`, { method: "POST" });
    expect(answer.status).toBe(401);
    const wrong = Bun.spawn([channelBinary(), "reload", "--port", String(server.channel.port)], {
      env: { ADMIN_SECRET: "another-secret-of-the-administrator" },
      cwd: folder(),
      stdout: "ignore",
      stderr: "pipe",
    });
    expect(await new Response(wrong.stderr).text()).toContain("not reloaded: Wrong admin secret.");
    expect(await wrong.exited).toBe(1);
    expect(server.processes()).toEqual([server.channel.pid]);
  });
});

describe("the command without a server", () => {
  async function failure(args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
    const child = Bun.spawn([channelBinary(), "reload", ...args], {
      cwd: folder(),
      env: { ...env },
      stdout: "ignore",
      stderr: "pipe",
    });
    return `${await child.exited}: ${(await new Response(child.stderr).text()).trim()}`;
  }

  test("says what it needs", async () => {
    const port = freePort();
    // A proxy for the web must not get the secret.
    const proxy = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("{}") });
    ends.push(() => proxy.stop(true));
    expect(await failure(["--port", String(port)], { ADMIN_SECRET, http_proxy: proxy.url.href })).toBe(
      `1: channel: no server answers at http://127.0.0.1:${port}: connection refused. After a change of host or port, restart the server instead`,
    );
    expect(await failure([], {})).toStartWith("2: channel: admin_secret is not set");
    expect(await failure(["--port", "0"], { ADMIN_SECRET })).toStartWith("2: channel: the system chose");
  });
});

describe("no message and no connection is lost", () => {
  test("new connections through five reloads", async () => {
    const server = await start();
    const { port } = server.channel;
    const result = { connects: 0, failed: 0 };
    let connecting = true;
    const connectors = Array.from({ length: 20 }, async () => {
      while (connecting) {
        result.connects++;
        await request(port).catch(() => void result.failed++);
      }
    });
    for (let i = 0; i < 5; i++) {
      expect(await server.reload()).toBe("0: ");
      await server.settled();
    }
    connecting = false;
    await Promise.all(connectors);
    expect(result.connects).toBeGreaterThan(1000);
    expect(result.failed).toBe(0);
  }, 60_000);
});

/** One request on a connection of its own. Rejects if it is refused or reset. */
async function request(port: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  let answer = "";
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) =>
        void socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
      data(_, data) {
        answer += data.toString();
      },
      close: () => (answer.startsWith("HTTP/1.1 200") ? done.resolve() : done.reject(new Error("reset"))),
      error: (_, error) => done.reject(error),
    },
  });
  await done.promise;
}
