import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";

const SECRET = "a-long-secret-that-nobody-could-guess";
const cwd = mkdtempSync(join(tmpdir(), "channel-bench-"));
let redis: RedisProcess;
let other: RedisProcess;
let server: ChannelProcess;

beforeAll(async () => {
  [redis, other] = await Promise.all([startRedis(), startRedis()]);
  server = await startChannel({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
});

afterAll(async () => {
  await server?.stop();
  await Promise.all([redis?.stop(), other?.stop()]);
  rmSync(cwd, { recursive: true, force: true });
});

async function bench(args: readonly string[]) {
  const child = Bun.spawn([channelBinary(), "bench", ...args], {
    cwd,
    env: {},
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 25_000,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

describe("bench", () => {
  test("generates the requested load, shows progress and prints a table", async () => {
    const load = ["--clients", "40", "--channels", "4", "--rate", "50", "--payload", "200", "--for", "2s"];
    const { code, out, err } = await bench([...load, "--redis-url", redis.url, server.url]);
    expect(code).toBe(0);
    // 50 messages a second for two seconds, each to the ten clients of a channel.
    expect(out).toContain("40 clients in 4 channels, 50 messages per second in total");
    expect(out).toMatch(/published +100 messages of 200 bytes/);
    expect(out).toMatch(/delivered +1,000 of 1,000 \(100 %\)/);
    expect(out).toMatch(/latency +p50 [\d.]+ ms, p99 [\d.]+ ms/);
    expect(out).not.toContain("LOST");
    expect(err).toMatch(/connecting 40 clients.*joining.*1 of 2 s.*2 of 2 s/s);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    expect(metrics).toMatch(/^channel_joins_total 40$/m);
  });

  test("signs its own tokens with --jwt-secret and prints JSON with --json", async () => {
    const args = [
      "--clients",
      "5",
      "--for",
      "1s",
      "--json",
      "--jwt-secret",
      SECRET,
      "--redis-url",
      redis.url,
    ];
    const { code, out } = await bench([...args, `ws://127.0.0.1:${server.port}/socket/websocket`]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ clients: 5, rate: 10, expected: 50, arrived: 50, closed: 0 });
  });

  test("prints the results up to now when it is interrupted", async () => {
    const child = Bun.spawn(
      [channelBinary(), "bench", "--clients", "5", "--for", "10m", "--redis-url", redis.url, server.url],
      { cwd, env: {}, stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: 25_000 },
    );
    let seen = "";
    let interrupted = false;
    for await (const chunk of child.stderr) {
      seen += Buffer.from(chunk).toString();
      if (interrupted || !seen.includes("2 of 600 s")) continue;
      interrupted = true;
      child.kill("SIGINT");
    }
    expect(await child.exited).toBe(0);
    expect(await new Response(child.stdout).text()).toMatch(/delivered .*\(100 %\)/);
  });

  test("refuses a remote address without --yes-i-own-this-server", async () => {
    const { code, out, err } = await bench(["ws://192.0.2.1:2025"]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toBe(
      "channel: 192.0.2.1 is not this machine: if you are allowed to put load on it, add --yes-i-own-this-server\n",
    );
    const far = await bench(["--redis-url", "redis://redis.example", server.url]);
    expect({ code: far.code, out: far.out }).toEqual({ code: 2, out: "" });
    expect(far.err).toContain("redis.example is not this machine");
  });

  test("accepts any address with --yes-i-own-this-server", async () => {
    // The kernel treats 0.0.0.0 as this machine; the command does not.
    const args = ["--clients", "2", "--for", "1s", "--json", "--redis-url", redis.url];
    const address = `ws://0.0.0.0:${server.port}`;
    const refused = await bench([...args, address]);
    expect(refused).toMatchObject({ code: 2, out: "" });
    expect(refused.err).toContain("0.0.0.0 is not this machine");
    const { code, out } = await bench([...args, "--yes-i-own-this-server", "--jwt-secret", SECRET, address]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ expected: 20, arrived: 20 });
  });

  test("prints an error in one line without a stack trace", async () => {
    const wrong: [readonly string[], number, RegExp][] = [
      [[], 2, /bench needs <url>/],
      [["nowhere"], 2, /nowhere is not a server address/],
      [["wss://127.0.0.1"], 2, /does not support TLS/],
      [["--clients", "none", server.url], 2, /--clients must be a whole number from 1/],
      [["--payload", "1", server.url], 2, /--payload must be a size from/],
      [["--rate", "0", server.url], 2, /--rate must be a whole number/],
      [["--for", "soon", server.url], 2, /--for must be a duration/],
      [["--clients", "10", "--channels", "3", server.url], 2, /multiple of --channels/],
      [["--clients", "900000", server.url], 2, /can open \d+ connections/],
      [["--redis-url", redis.url, "ws://127.0.0.1:1"], 1, /no answer from 127\.0\.0\.1:1/],
      [["--redis-url", redis.url, "--jwt-secret", SECRET, "ws://127.0.0.1:1"], 1, /./],
      [
        ["--redis-url", redis.url, "--jwt-secret", "another-secret-of-somebody-elses", server.url],
        1,
        /rejected/,
      ],
      [["--redis-url", other.url, server.url], 1, /no client received messages published/],
      [["--redis-url", "redis://127.0.0.1:1", server.url], 1, /cannot reach Redis/],
    ];
    for (const [args, code, message] of wrong) {
      const ended = await bench(["--clients", "2", ...args]);
      expect({ args, code: ended.code, out: ended.out }).toEqual({ args, code, out: "" });
      const lines = ended.err.trim().split("\n");
      expect(lines.at(-1)).toMatch(message);
      expect(ended.err).not.toContain("    at ");
      if (code === 2) expect(lines).toHaveLength(1);
    }
  }, 60_000);
});
