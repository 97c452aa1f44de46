import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { type ChannelOptions, type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { connectPhoenix, mint } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { backendOn, SECRET } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "channel-listening-"));
  ends.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function start(options: ChannelOptions = {}, busPort = freePort()): Promise<ChannelProcess> {
  const channel = await startChannel({
    ...options,
    args: [
      ...["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${busPort}`, "--jwt-secret", SECRET],
      ...(options.args ?? []),
    ],
  });
  ends.push(() => channel.stop());
  return channel;
}

/** Exit code and output of a start that must fail: `"1: channel: ..."`. */
async function failure(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const bus = ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`];
  const child = Bun.spawn([channelBinary(), ...bus, "--jwt-secret", SECRET, ...args], {
    cwd: folder(),
    env,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    timeout: 10_000,
  });
  const text = await new Response(child.stderr).text();
  return `${await child.exited}: ${text}`;
}

describe("a port in use is one line and exit code 1", () => {
  const line = (port: number, host = "127.0.0.1") =>
    `1: channel: cannot listen on ${host}:${port}: the port is in use. Stop the program that uses it, or choose another with --port\n`;

  test("when another server uses it", async () => {
    const first = await start();
    expect(await failure(["--port", String(first.port)])).toBe(line(first.port));
    expect(await failure(["--port", String(first.port), "--host", "0.0.0.0"])).toBe(
      line(first.port, "0.0.0.0"),
    );
  });

  test("when a program with SO_REUSEPORT uses it", async () => {
    for (const hostname of ["127.0.0.1", "0.0.0.0"]) {
      const other = Bun.serve({ hostname, port: 0, reusePort: true, fetch: () => new Response("other") });
      ends.push(() => other.stop(true));
      expect(await failure(["--port", String(other.port)])).toBe(line(other.port ?? 0));
    }
  });

  test("and it is free as soon as the server has exited, with connections still open", async () => {
    const first = await start();
    const client = await connectPhoenix(first.url);
    expect((await client.fence()).length).toBe(0);
    expect(await first.stop()).toBe(0);
    const second = await start({ port: first.port });
    expect(second.port).toBe(first.port);
  });
});

/** Sends `text`. Resolves to the whole response when the server closes the connection. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("latin1");
    socket.on("data", (data) => {
      answer += data;
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

describe("an HTTP/1.0 request without a Host header", () => {
  test("is answered on health check paths only", async () => {
    const { port } = await start();
    const status = async (path: string, host = "") =>
      Number((await raw(port, `GET ${path} HTTP/1.0\r\n${host}\r\n`)).split(" ")[1]);
    for (const path of ["/health", "/ready", "/metrics", "/health?x=1"]) {
      expect([path, await status(path), await status(path, "Host:\r\n")]).toEqual([path, 200, 200]);
    }
    for (const path of ["/", "/token", "/admin.html", "/health/x", "/api/stats"]) {
      expect([path, await status(path)]).toEqual([path, 400]);
    }
    // HTTP/1.1 requires the header.
    expect(await raw(port, "GET /health HTTP/1.1\r\n\r\n")).toStartWith("HTTP/1.1 400");
  });

  test("is answered below a prefix", async () => {
    const { port } = await start({ toml: 'base_path = "/hub"\n' });
    expect(await raw(port, "GET /hub/health HTTP/1.0\r\n\r\n")).toStartWith("HTTP/1.1 200");
    expect(await raw(port, "GET /health HTTP/1.0\r\n\r\n")).not.toStartWith("HTTP/1.1 200");
  });
});

const mayMount =
  process.getuid?.() === 0 &&
  Bun.which("unshare") !== null &&
  Bun.spawnSync(["unshare", "--mount", "true"], { stderr: "ignore" }).exitCode === 0;

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);

describe.skipIf(!mayMount)("--host localhost", () => {
  /** Command prefix that replaces /etc/hosts with this text. */
  function withHosts(hosts: string): string[] {
    const file = join(folder(), "hosts");
    writeFileSync(file, hosts);
    const script = `mount --bind '${file}' /etc/hosts && exec "$0" "$@"`;
    return ["unshare", "--mount", "sh", "-c", script];
  }

  const BOTH = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";

  test.skipIf(!hasIpv6)("listens on every loopback address of the name, as one server", async () => {
    const busPort = freePort();
    const channel = await start({ args: ["--host", "localhost"], under: withHosts(BOTH) }, busPort);
    const token = mint({ id: "alice", channel: "room" }, SECRET);
    const clients = await Promise.all(
      ["127.0.0.1", "[::1]"].map((host) => connectPhoenix(`http://${host}:${channel.port}`)),
    );
    for (const client of clients) {
      ends.push(() => client.socket.cut());
      expect((await client.join("room", { token })).status).toBe("ok");
    }
    const backend = backendOn(busPort);
    ends.push(() => backend.stop());
    await backend.publish("to:room:news", '"for all"');
    for (const client of clients) expect((await client.event("news")).payload).toBe("for all");
    // Both are closed on shutdown.
    expect(await channel.stop()).toBe(0);
    for (const { socket } of clients) expect((await socket.closed).code).toBe(1012);
  });

  test.skipIf(!hasIpv6)("reports a port in use if one of the addresses uses it", async () => {
    const other = Bun.serve({ hostname: "::1", port: 0, fetch: () => new Response("other") });
    ends.push(() => other.stop(true));
    const child = Bun.spawn(
      [...withHosts(BOTH), channelBinary(), "--host", "localhost", "--port", String(other.port)],
      {
        cwd: folder(),
        env: { PATH: process.env.PATH ?? "" },
        stdout: "ignore",
        stderr: "pipe",
        timeout: 10_000,
      },
    );
    expect(await new Response(child.stderr).text()).toContain(`localhost:${other.port}: the port is in use`);
    expect(await child.exited).toBe(1);
  });

  test("listens on IPv4 only without IPv6", async () => {
    // The kernel has no IPv6 here, as in many containers.
    const hosts = "::1 localhost\n127.0.0.1 localhost\n";
    const without = 'echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6; exec "$0" "$@"';
    const under = ["unshare", "--net", "sh", "-c", `ip link set lo up; ${without}`, ...withHosts(hosts)];
    const child = Bun.spawn(
      [
        ...under,
        "sh",
        "-c",
        `"$0" --port 2025 --host localhost --bus embedded & server=$!
        i=0; until curl -sf http://127.0.0.1:2025/health || [ $i -gt 100 ]; do sleep 0.1; i=$((i + 1)); done
        kill $server; wait $server`,
        channelBinary(),
      ],
      {
        cwd: folder(),
        env: { PATH: process.env.PATH ?? "" },
        stdout: "pipe",
        stderr: "pipe",
        timeout: 20_000,
      },
    );
    expect(await new Response(child.stdout).text()).toContain('"status":"up"');
    expect(await child.exited).toBe(0);
  });
});

describe("the variable HOST, which shells and conda export", () => {
  test("is named in the error when it breaks the listener", async () => {
    const conda = { HOST: "x86_64-conda-linux-gnu" };
    // With and without a reachable DNS server.
    expect(await failure(["--port", "0"], conda)).toMatch(
      /^1: channel: cannot listen on x86_64-conda-linux-gnu:0 \(from the environment: HOST\): no (such host|DNS server answers)/,
    );
    expect(await failure(["--port", "0"], { HOST: "203.0.113.7" })).toStartWith(
      "1: channel: cannot listen on 203.0.113.7:0 (from the environment: HOST): this machine does not have this address. ",
    );
    expect(await failure(["--port", "0"], { HOST: "a b" })).toStartWith("2: channel: HOST must be ");
  });

  test("causes a warning when it changes the address; CHANNEL_HOST takes precedence without a warning", async () => {
    const moved = await start({ env: { HOST: "127.0.0.2" } });
    await moved.log.until(
      ({ level, message }) => level === "warn" && message.includes("HOST"),
      "the warning",
    );
    const meant = await start({ env: { HOST: "x86_64-conda-linux-gnu", CHANNEL_HOST: "127.0.0.1" } });
    expect((await fetch(`${meant.url}/health`)).status).toBe(200);
    expect(meant.output()).not.toContain("HOST");
  });
});
