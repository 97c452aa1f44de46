import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ALLOCATOR_OPTIONS, optionAt } from "../../../deploy/release/allocator-options.ts";
import { readArguments } from "../../../src/commands/arguments.ts";
import { COMMANDS } from "../../../src/commands/definitions.ts";
import { loadConfig } from "../../../src/config/config.ts";
import { channelBinary } from "../channel-process.ts";
import { eventually } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";

const DEPLOY = join(import.meta.dir, "../../../deploy");
const SECRET = "a-long-secret-that-nobody-could-guess";
const hasSystemd = Bun.which("systemd-analyze") !== null && Bun.which("systemd-notify") !== null;

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "channel-deploy-"));
  folders.push(made);
  return made;
}

function read(name: string): string {
  return readFileSync(join(DEPLOY, name), "utf8");
}

test.skipIf(!hasSystemd)("the unit is a good one, and exposed to 2.0 at the most", () => {
  const cwd = folder();
  const unit = join(cwd, "channel.service");
  // The two things that only an installation has.
  writeFileSync(
    unit,
    read("channel.service")
      .replace("/usr/bin/channel", channelBinary())
      .replace(/^Documentation=.*$/m, ""),
  );
  const verify = Bun.spawnSync(["systemd-analyze", "verify", "--man=no", unit], { stderr: "pipe" });
  expect([verify.exitCode, verify.stderr.toString()]).toEqual([0, ""]);
  const security = Bun.spawnSync(
    ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit],
    { stdout: "pipe", stderr: "pipe" },
  );
  expect(security.stdout.toString()).toMatch(/Overall exposure level for channel.service: [01]\.\d/);
  expect(security.exitCode).toBe(0);
});

test.skipIf(process.platform !== "linux")("the executable keeps freed memory for reuse", () => {
  const executable = readFileSync(channelBinary());
  const values = Object.keys(ALLOCATOR_OPTIONS).map((name) => [
    name,
    executable.readBigInt64LE(optionAt(executable, name)),
  ]);
  expect(values).toEqual([
    ["purge_delay", 60_000n],
    ["purge_holes_min_interval", 10_000n],
  ]);
});

/** A unix datagram socket that prints what it receives, as a service manager would. */
const LISTENER = `
import socket, sys, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    data, ancillary, flags, address = s.recvmsg(65536, 4096)
    for line in data.decode().splitlines():
        print(line, flush=True)
    # BARRIER=1 hands over a descriptor, and waits until it is closed.
    for level, kind, fds in ancillary:
        os.close(int.from_bytes(fds[:4], sys.byteorder))
`;

test.skipIf(!hasSystemd)(
  "started as the unit starts it, it says when it is ready and when it stops",
  async () => {
    const cwd = folder();
    const path = join(cwd, "notify");
    const credentials = join(cwd, "credentials");
    mkdirSync(credentials);
    for (const name of ["jwt_secret", "admin_secret"])
      writeFileSync(join(credentials, name), `${name}-${SECRET}\n`);
    const listener = Bun.spawn(["python3", "-c", LISTENER, path], { stdout: "pipe", stderr: "inherit" });
    let told = "";
    void (async () => {
      for await (const chunk of listener.stdout) told += new TextDecoder().decode(chunk);
    })();
    await eventually(() => told.includes("bound"), "the listener");

    // %d is the folder of the credentials.
    const unit = read("channel.service").replaceAll("%d", credentials);
    const environment = Object.fromEntries(
      (/^Environment=(.*)$/m.exec(unit)?.[1] ?? "").split(" ").map((pair) => pair.split("=", 2)),
    );
    const [, ...args] = (/^ExecStart=(.*)$/m.exec(unit)?.[1] ?? "").split(" ");
    writeFileSync(join(cwd, "channel.toml"), read("channel.toml"));
    const server = Bun.spawn(
      [
        channelBinary(),
        ...args.map((arg) => (arg.startsWith("/etc/channel") ? join(cwd, "channel.toml") : arg)),
        "--port",
        "0",
      ],
      {
        cwd,
        env: { PATH: process.env.PATH ?? "", NOTIFY_SOCKET: path, ...environment },
        stdout: "ignore",
        stderr: "pipe",
      },
    );
    const output = new Response(server.stderr).text();
    try {
      // The last line of the message.
      const status = /^STATUS=listening on http:\/\/127\.0\.0\.1:\d+\n/m;
      await eventually(() => status.test(told), "the status", 15_000);
      expect(told).toContain("READY=1\n");
      expect(told).toContain(`MAINPID=${server.pid}\n`);
      server.kill("SIGTERM");
      await eventually(() => told.includes("STOPPING=1"), "STOPPING=1");
      expect(await server.exited).toBe(0);
      const log = await output;
      expect(log).not.toContain("one-time admin link");
      expect(log).not.toContain(SECRET);
      expect(log).not.toContain("WARN  jwt_secret is not set");
    } finally {
      server.kill("SIGKILL");
      listener.kill();
      await listener.exited;
    }
  },
  30_000,
);

test("the example configuration loads, without a warning once it has its secrets", () => {
  const cwd = folder();
  writeFileSync(join(cwd, "channel.toml"), read("channel.toml"));
  const loaded = loadConfig({ flags: {}, env: { JWT_SECRET: SECRET, ADMIN_SECRET: SECRET }, cwd });
  expect(loaded.ok ? loaded.warnings : loaded.message).toEqual([]);
});

test("every command line in deploy/ is one that the program takes", () => {
  const lines: string[] = [];
  for (const name of [
    "channel.service",
    "supervisord.conf",
    "Procfile",
    "process-compose.yaml",
    "Containerfile",
  ]) {
    for (const [, line] of read(name).matchAll(
      /(?:=\/usr\/bin\/|command: |channel: |localhost:\d+ |channel )(channel(?: .*)?)$/gm,
    )) {
      if (line !== undefined) lines.push(line);
    }
  }
  const compose = Bun.YAML.parse(read("compose.yaml"));
  const command: unknown = Object(Object(Object(compose).services).channel).command;
  expect(command).toBeArray();
  if (Array.isArray(command)) lines.push(command.join(" "));
  expect(lines.length).toBeGreaterThanOrEqual(6);
  for (const line of lines) {
    const [, ...words] = line.replace(/"\$\([^)]*\)"/, "secret").split(" ");
    expect([line, readArguments(words, COMMANDS, "serve")]).toMatchObject([
      line,
      { ok: true, command: "serve" },
    ]);
  }
});

test("the service ends at a share of the memory, leaves no core dump, and is not root under supervisord either", () => {
  const unit = read("channel.service");
  expect(unit).toMatch(/^LimitCORE=0$/m);
  expect(unit).toMatch(/^MemoryMax=\d+%$/m);
  expect(read("supervisord.conf")).toMatch(/^user=channel$/m);
});

test("images are named to the last digit of their version, and no example has a secret among its arguments", () => {
  const images = [
    ...`${read("Containerfile")}\n${read("compose.yaml")}`.matchAll(/^(?:FROM| +image:) +(\S+)$/gm),
  ];
  expect(images.length).toBe(2);
  for (const [, image] of images) expect(image).toMatch(/:\d+(\.\d+)+[\w-]*$/);
  const files = [...new Bun.Glob("**/*").scanSync({ cwd: DEPLOY })].filter((file) => !file.endsWith(".json"));
  for (const file of [...files, "../docs/deployment.md"]) {
    expect([file, /--(jwt|admin)-secret[ =]["$]/.exec(read(file))?.[0]]).toEqual([file, undefined]);
  }
});

test("the compose file keeps what it promises: read-only, without capabilities, secrets as files", () => {
  const { services, secrets } = Object(Bun.YAML.parse(read("compose.yaml")));
  for (const service of Object.values(Object(services))) {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
    });
  }
  expect(Object.keys(Object(secrets)).sort()).toEqual([...Object(services).channel.secrets].sort());
  expect(Object(services).channel.environment).toMatchObject({ JWT_SECRET_FILE: "/run/secrets/jwt_secret" });
  expect(Object(Bun.YAML.parse(read("process-compose.yaml"))).processes).toHaveProperty("channel");
});

const mayRemount =
  process.getuid?.() === 0 &&
  Bun.which("unshare") !== null &&
  Bun.which("setpriv") !== null &&
  Bun.spawnSync(["unshare", "--mount", "mount", "-o", "remount,ro,bind", "/"], { stderr: "ignore" })
    .exitCode === 0;

/** The image's own user, command and health check on a read-only root; no engine is needed for that. */
test.skipIf(!mayRemount)(
  "what the image runs needs no root, no capability and nothing to write to",
  async () => {
    const containerfile = read("Containerfile");
    const user = /^USER (\d+):(\d+)$/m.exec(containerfile);
    const check: unknown = JSON.parse(/^ +CMD (\[.*\])$/m.exec(containerfile)?.[1] ?? "null");
    expect(user).not.toBeNull();
    if (!Array.isArray(check)) throw new Error("the image has no health check");
    const cwd = folder();
    writeFileSync(
      join(cwd, "check.sh"),
      check.map((word) => `'${String(word).replaceAll("'", "'\\''")}'`).join(" "),
    );
    const script = `
    mount --make-rprivate / && mount -o remount,ro,bind /
    cd / && exec setpriv --reuid ${user?.[1]} --regid ${user?.[2]} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
      /bin/sh -c '"$0" --redis-url redis://127.0.0.1:1 --bus redis --jwt-secret ${SECRET} & server=$!
        i=0; until /bin/sh '${join(cwd, "check.sh")}' 2>/dev/null || [ $i -gt 100 ]; do sleep 0.1; i=$((i + 1)); done
        touch /proof 2>/dev/null && echo writable; id -u; /bin/sh '${join(cwd, "check.sh")}' && echo healthy
        kill $server; wait $server; echo "ended $?"; /bin/sh '${join(cwd, "check.sh")}' 2>/dev/null || echo unhealthy' ${channelBinary()}`;
    Bun.spawnSync(["chmod", "-R", "a+rX", cwd]);
    const port = String(freePort());
    const run = Bun.spawn(["unshare", "--mount", "sh", "-c", script], {
      env: { PATH: process.env.PATH ?? "", CHANNEL_HOST: "auto", PORT: port },
      stdout: "pipe",
      stderr: "pipe",
      timeout: 30_000,
    });
    const told = (await new Response(run.stdout).text()).trim().split("\n");
    expect([told, (await run.exited) === 0 ? "" : await new Response(run.stderr).text()]).toEqual([
      ["2025", "healthy", "ended 0", "unhealthy"],
      "",
    ]);
  },
  40_000,
);
