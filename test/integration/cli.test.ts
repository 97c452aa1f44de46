import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { channelBinary, startChannel } from "./channel-process.ts";
import { startRedis } from "./redis-process.ts";

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

interface Setting {
  readonly env?: Readonly<Record<string, string>>;
  /** Files of the working folder. */
  readonly files?: Readonly<Record<string, string>>;
}

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folderWith(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "channel-cli-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** Runs the executable to its end: an empty environment, an empty folder. */
async function channel(args: readonly string[], { env = {}, files }: Setting = {}): Promise<Ended> {
  const child = Bun.spawn([channelBinary(), ...args], {
    cwd: folderWith(files),
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 10_000,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

/** `"<exit code>: <line>"` of a command that must print one line on standard error and nothing else. */
async function refusal(args: readonly string[], setting?: Setting): Promise<string> {
  const { code, out, err } = await channel(args, setting);
  expect(out).toBe("");
  expect(err).toMatch(/^channel: [^\n]+\n$/);
  return `${code}: ${err.slice("channel: ".length, -1)}`;
}

describe("version and help", () => {
  test("--version prints the version, the commit and the runtime", async () => {
    for (const args of [["--version"], ["-v"], ["serve", "--version"], ["config", "-v"]]) {
      const { code, out, err } = await channel(args);
      expect([code, err]).toEqual([0, ""]);
      expect(out).toMatch(
        /^channel \d+\.\d+\.\d+ \(commit ([0-9a-f]{7,40}\+?|unknown), Bun \d+\.\d+\.\d+\)\n$/,
      );
    }
  });

  test("--help lists commands and flags, without colours in a pipe", async () => {
    const { code, out, err } = await channel(["--help"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).not.toContain("\u001b");
    for (const flag of [
      ...["--host", "--port", "--redis-url", "--jwt-secret", "--jwt-expiration-secs", "--id-length"],
      ...["--static-path", "--config", "--bus", "--log-level", "--log-format", "--help", "--version"],
    ]) {
      expect(out).toContain(flag);
    }
    expect(out).toMatch(/^ +serve /m);
    expect(out).toMatch(/^ +config /m);
  });

  test("--help of a command lists its own flags", async () => {
    expect((await channel(["config", "--help"])).out).toContain("--json");
    expect((await channel(["serve", "-h"])).out).not.toContain("--json");
  });
});

describe("an invalid setting is one line and exit code 2", () => {
  const secret = "a-long-secret-that-nobody-could-guess";
  const cases: readonly (readonly [string, readonly string[], Setting, string])[] = [
    ["an unknown flag", ["--prot", "1"], {}, "unknown flag --prot; did you mean --port?"],
    [
      "an unknown flag after a command",
      ["serve", "--prot=1"],
      {},
      "unknown flag --prot; did you mean --port?",
    ],
    ["an unknown command", ["sevre"], {}, "unknown command sevre; did you mean serve?"],
    [
      "an unknown command unlike any other",
      ["frobnicate"],
      {},
      "unknown command frobnicate; known commands: serve, ",
    ],
    ["a flag without its value", ["--bus"], {}, "--bus needs a value: --bus=<auto|redis|amqp|embedded>. "],
    ["a flag instead of a value", ["--port", "--host"], {}, "--port needs a value: --port=<PORT>. "],
    ["an extra argument", ["serve", "now"], {}, "unexpected argument now: serve takes flags only"],
    [
      "an invalid value of a flag",
      ["--port", "http"],
      {},
      '--port must be a whole number from 0 to 65535, not "http"',
    ],
    [
      "a word that is not allowed",
      ["--log-format=xml"],
      {},
      '--log-format must be one of "text", "json", not "xml"',
    ],
    [
      "an invalid variable",
      [],
      { env: { PORT: "x" } },
      'PORT must be a whole number from 0 to 65535, not "x"',
    ],
    [
      "an unknown CHANNEL_ variable",
      [],
      { env: { CHANNEL_HSOT: "x" } },
      "unknown variable CHANNEL_HSOT; did you mean CHANNEL_HOST?",
    ],
    [
      "an unknown key",
      [],
      { files: { "channel.toml": "prot = 1" } },
      "channel.toml: unknown key prot; did you mean port?",
    ],
    [
      "an invalid value in the file",
      [],
      { files: { "channel.toml": "port = true" } },
      "channel.toml: port must be a whole number from 0 to 65535, not true",
    ],
    ["a file that is not TOML", [], { files: { "channel.toml": "port =" } }, "channel.toml: line 1, column "],
    [
      "a known secret on a public address",
      ["--host", "0.0.0.0", "--jwt-secret", "secret"],
      {},
      "--jwt-secret is a secret known from examples",
    ],
    [
      "a tangram.toml with its default secret on a public address",
      [],
      { files: { "tangram.toml": '[channel]\nhost = "::"' } },
      "jwt_secret (Tangram's default) is a secret known",
    ],
    [
      "half a certificate",
      ["--jwt-secret", secret],
      { env: { TLS_CERT: "c.pem" } },
      "TLS_CERT requires tls_key: set both or neither",
    ],
  ];
  test.each(cases)("%s", async (_, args, setting, line) => {
    expect(await refusal(args, setting)).toStartWith(`2: ${line}`);
  });
});

describe("a failed start is one line and exit code 1", () => {
  test("a port in use", async () => {
    const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const line = await refusal(["--port", String(other.port)]);
    other.stop(true);
    expect(line).toBe(
      `1: cannot listen on 127.0.0.1:${other.port}: the port is in use. Stop the program that uses it, or choose another with --port`,
    );
  });

  test("an address of another machine", async () => {
    const line = await refusal([
      "--host",
      "203.0.113.7",
      "--port",
      "0",
      "--jwt-secret",
      "long-enough-to-be-let-through-here",
    ]);
    expect(line).toStartWith(
      "1: cannot listen on 203.0.113.7:0: this machine does not have this address. --host ",
    );
  });

  test("a port in use that the embedded bus needs", async () => {
    const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { code, out, err } = await channel([
      ...["--port", "0", "--bus", "embedded", "--redis-url", `redis://127.0.0.1:${other.port}`],
    ]);
    other.stop(true);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(/^channel: [^\n]+\n$/);
    expect(err).toContain(String(other.port));
  });

  test("a file that cannot be read", async () => {
    expect(await refusal(["--config", "my.toml"])).toBe("1: cannot read my.toml: no such file");
    expect(await refusal([], { files: { "channel.toml/x": "" } })).toBe(
      "1: cannot read channel.toml: is a folder",
    );
    expect(await refusal(["--static-path", "pages"])).toMatch(
      /^1: --static-path: cannot read \S+pages: no such file$/,
    );
  });
});

describe("channel config", () => {
  interface Row {
    readonly key: string;
    readonly value: unknown;
    readonly source: string;
    readonly detail: string;
  }

  async function rows(args: readonly string[], setting?: Setting): Promise<(key: string) => Row | undefined> {
    const { code, out } = await channel(["config", "--json", ...args], setting);
    expect(code).toBe(0);
    const { values }: { values: Row[] } = JSON.parse(out);
    return (wanted) => values.find(({ key }) => key === wanted);
  }

  test("shows each value and its source", async () => {
    const files = {
      "channel.toml": 'host = "localhost"\nport = 1\nid_length = 12\n[limits]\nmax_frame = "2MiB"',
    };
    const env = { PORT: "2", CHANNEL_ID_LENGTH: "16" };
    const row = await rows(["--port", "3"], { files, env });
    expect(row("port")).toEqual({ key: "port", value: 3, source: "flag", detail: "--port" });
    expect(row("id_length")).toEqual({
      key: "id_length",
      value: 16,
      source: "environment",
      detail: "CHANNEL_ID_LENGTH",
    });
    expect(row("host")).toEqual({ key: "host", value: "localhost", source: "file", detail: "channel.toml" });
    expect(row("limits.max_frame")).toMatchObject({ value: "2MiB", source: "file" });
    expect(row("bus")).toEqual({ key: "bus", value: "auto", source: "default", detail: "" });
  });

  test("prints a table to standard output and warnings to standard error", async () => {
    const { code, out, err } = await channel(["config", "--port", "3"]);
    expect(code).toBe(0);
    expect(out).toStartWith("file: none\n\nKEY ");
    expect(out).toMatch(/^port +3 +--port$/m);
    expect(out).toMatch(/^host +"127\.0\.0\.1" +default$/m);
    expect(out).toMatch(/^jwt_secret +\(random, changes at restart\) +default$/m);
    expect(err).toMatch(/^channel: warning: jwt_secret is not set: [^\n]+\n$/);
  });

  test("shows no secret", async () => {
    const env = {
      REDIS_URL: "redis://u:hunter2@h:1",
      ADMIN_SECRET: "hunter2-and-some-more",
      JWKS_URL: "https://x/k?key=hunter2",
    };
    for (const form of [[], ["--json"]]) {
      const { out, err } = await channel(["config", "--jwt-secret", "hunter2", ...form], { env });
      expect(out).toContain("redis://u:********@h:1");
      expect(out + err).not.toContain("hunter2");
    }
  });

  test("refuses what the server would refuse", async () => {
    expect(await refusal(["config", "--port", "x"])).toStartWith("2: --port must be");
  });

  test("a reader that closes the pipe early is not an error", async () => {
    const child = Bun.spawn(["sh", "-c", `"${channelBinary()}" config 2>&1 | head -n 1`], {
      cwd: folderWith(),
      env: { PATH: process.env.PATH ?? "" },
      stdout: "pipe",
      stderr: "pipe",
    });
    expect(await new Response(child.stdout).text()).toMatch(/^(file: none|channel: warning: .*)\n$/);
    expect(await new Response(child.stderr).text()).toBe("");
  });
});

describe("the working folder", () => {
  const dotenv = "PORT=99999\nCHANNEL_NONSENSE=1\nJWT_SECRET=from-the-folder\n";

  test("is not searched for .env, bunfig.toml or package.json", async () => {
    const files = {
      ".env": dotenv,
      ".env.local": dotenv,
      ".env.production": dotenv,
      ".env.development": dotenv,
      "bunfig.toml": 'preload = ["./evil.ts"]\nenv = true',
      "package.json": '{"name": "channel", "version": "6.6.6", "type": "commonjs"}',
      "tsconfig.json": '{"compilerOptions": {"paths": {"*": ["./evil.ts"]}}}',
      "evil.ts": 'console.log("evil"); process.exit(66);',
    };
    const { code, out, err } = await channel(["config", "--json"], { files });
    expect(code).toBe(0);
    expect(out + err).not.toMatch(/evil|99999|from-the-folder/);
    expect((await channel(["--version"], { files })).out).not.toContain("6.6.6");
  });
});

describe("signals and log", () => {
  test("exits with 0 on SIGTERM", async () => {
    const redis = await startRedis();
    const child = await startChannel({ args: ["--redis-url", redis.url] });
    expect(await child.stop()).toBe(0);
    await redis.stop();
  });

  test("exits with 0 on SIGINT and logs the signal", async () => {
    const redis = await startRedis();
    const child = await startChannel({ args: ["--redis-url", redis.url] });
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    expect(child.lines.slice(-2)).toMatchObject([
      { message: "stopping", signal: "SIGINT" },
      { message: "stopped" },
    ]);
    await redis.stop();
  });

  test("a second signal ends it at once", async () => {
    const redis = await startRedis();
    const child = await startChannel({ args: ["--redis-url", redis.url], toml: 'drain_delay = "60s"' });
    child.kill("SIGTERM");
    await child.log.until((line) => line.message === "stopping", "that it stops");
    child.kill("SIGTERM");
    expect(await child.exited).toBe(143);
    await redis.stop();
  });

  test("logs warnings at start without a secret", async () => {
    const redis = await startRedis();
    const child = await startChannel({ args: ["--redis-url", redis.url, "--jwt-secret", "hunter2"] });
    const warning = "jwt_secret is shorter than 32 bytes: it can be guessed from a token";
    await child.log.until((line) => line.level === "warn" && line.message === warning, "the warning");
    await child.stop();
    expect(child.output()).not.toContain("hunter2");
    await redis.stop();
  });

  test("the text log shows the address it listens on", async () => {
    const redis = await startRedis();
    const child = Bun.spawn([channelBinary(), "--port", "0", "--redis-url", redis.url], {
      cwd: folderWith(),
      env: {},
      stdout: "ignore",
      stderr: "pipe",
    });
    let text = "";
    for await (const chunk of child.stderr) {
      text += new TextDecoder().decode(chunk);
      if (/ INFO {2}listening url=http:\/\/127\.0\.0\.1:\d+/.test(text)) break;
    }
    child.kill();
    expect(await child.exited).toBe(0);
    expect(text).not.toContain("\u001b");
    await redis.stop();
  });
});
