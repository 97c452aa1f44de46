import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/config.ts";
import { type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { type Ended, runCommand } from "./cli-process.ts";
import { connectPhoenix } from "./phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { inTerminal } from "./terminal.ts";

const BINARY = channelBinary();
const SECRET = "a-long-secret-that-nobody-could-guess";

const folders: string[] = [];
const watchers: { kill(): void }[] = [];
let redis: RedisProcess;
let server: ChannelProcess;

beforeAll(async () => {
  redis = await startRedis();
  server = await startChannel({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
});

afterAll(async () => {
  for (const watcher of watchers) watcher.kill();
  await server?.stop();
  await redis?.stop();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folderWith(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "channel-commands-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

function channel(
  args: readonly string[],
  cwd = folderWith(),
  input: string | Uint8Array | null = null,
): Promise<Ended> {
  return runCommand(args, input === null ? { cwd } : { cwd, input });
}

function loaded(cwd: string, config = "channel.toml") {
  const result = loadConfig({ flags: { config }, env: {}, cwd });
  if (!result.ok) throw new Error(result.message);
  return result;
}

describe("init", () => {
  test("writes every key with its default, new secrets and file mode 0600", async () => {
    const cwd = folderWith();
    expect(await channel(["init"], cwd)).toEqual({ code: 0, out: "channel.toml\n", err: "" });
    const text = readFileSync(join(cwd, "channel.toml"), "utf8");
    expect(statSync(join(cwd, "channel.toml")).mode & 0o777).toBe(0o600);
    const { config, sources, warnings } = loaded(cwd);
    expect(warnings).toEqual([]);
    expect(config.jwtSecret).not.toBe(config.adminSecret);
    expect(config.jwtSecret.length).toBe(43);
    const written = [...sources].filter(([, { source }]) => source === "file").map(([key]) => key);
    expect(written).toEqual(["jwt_secret", "admin_secret"]);
    for (const key of sources.keys()) expect(text).toContain(`${key.split(".").at(-1)} =`);

    // Uncommented, each default gives the same configuration.
    const open = text.replaceAll(/^# (?=\[|[a-z_]+ = )/gm, "");
    writeFileSync(join(cwd, "open.toml"), open);
    expect(loaded(cwd, "open.toml").config).toMatchObject({
      ...config,
      channels: expect.anything(),
      apiKeys: expect.anything(),
      redisUrlGiven: true,
    });
  });

  test("does not overwrite a file", async () => {
    const cwd = folderWith({ "channel.toml": "port = 1" });
    const { code, out, err } = await channel(["init"], cwd);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toStartWith("channel: cannot write channel.toml: the file exists and is not overwritten.");
    expect(readFileSync(join(cwd, "channel.toml"), "utf8")).toBe("port = 1");
    expect((await channel(["init", "--config", "nowhere/a.toml"], cwd)).err).toContain("no such folder");
  });

  test("converts a tangram.toml, including its defaults", async () => {
    const cwd = folderWith({
      "tangram.toml": `[core]\nredis_url = "redis://10.0.0.1:6379"\nplugins = ["x"]\n[channel]\nport = 2400\njwt_secret = "${SECRET}"`,
    });
    expect(await channel(["init", "--from", "tangram.toml"], cwd)).toMatchObject({ code: 0, err: "" });
    const { config } = loaded(cwd);
    const before = loaded(cwd, "tangram.toml").config;
    expect(config).toEqual({ ...before, adminSecret: config.adminSecret, adminSecretGenerated: false });
    expect(config).toMatchObject({
      port: 2400,
      redisUrl: "redis://10.0.0.1:6379",
      expiry: "join",
      allowedOrigins: "*",
    });
  });

  test("converts a Channelstream configuration and reports what has no equivalent", async () => {
    const ini = `
[loggers]
keys = root
[channelstream]
; as make_config writes it
debug = false
port = 8100
host = 127.0.0.1
secret = ${SECRET}
admin_user = root
admin_secret = another-${SECRET}
allow_posting_from = 127.0.0.1,
    10.1.2.3
allow_cors = http://example.org
validate_requests: no
`;
    const cwd = folderWith({ "config.ini": ini });
    const { code, err } = await channel(["init", "--from", "config.ini"], cwd);
    expect([code, err]).toEqual([
      0,
      "channel: note: admin_user was not copied: the administrator signs in with the secret alone\n",
    ]);
    expect(loaded(cwd).config).toMatchObject({
      host: "127.0.0.1",
      port: 8100,
      adminSecret: `another-${SECRET}`,
      channelstream: {
        secret: SECRET,
        allowPostingFrom: ["127.0.0.1", "10.1.2.3"],
        allowCors: ["http://example.org"],
        validateRequests: false,
      },
    });
  });

  test("reports the errors of the old file that a server would report", async () => {
    const cwd = folderWith({
      "config.ini": "[channelstream]\nport = many",
      "other.ini": "[server]\nport = 1",
    });
    const many = await channel(["init", "--from", "config.ini"], cwd);
    expect([many.code, many.out]).toEqual([2, ""]);
    expect(many.err).toStartWith("channel: config.ini: port must be a whole number from 0 to 65535");
    expect((await channel(["init", "--from", "other.ini"], cwd)).err).toContain(
      "has no section [channelstream]",
    );
    expect(await channel(["init", "--from", "missing.toml"], cwd)).toMatchObject({
      code: 1,
      err: "channel: cannot read missing.toml: no such file\n",
    });
  });
});

describe("token", () => {
  test("prints a token that a server with this secret accepts, and nothing else in a pipe", async () => {
    const { code, out, err } = await channel([
      "token",
      "--channel",
      "room:*",
      "--id",
      "alice",
      "--jwt-secret",
      SECRET,
    ]);
    expect([code, err]).toEqual([0, ""]);
    const token = out.trimEnd();
    const client = await connectPhoenix(server.url, { params: { userToken: token } });
    client.send({
      joinRef: "1",
      ref: "1",
      topic: "room:7",
      event: "phx_join",
      payload: JSON.stringify({ token }),
    });
    expect((await client.reply("1")).status).toBe("ok");
    client.socket.close();
  });

  test("--json prints every field", async () => {
    const args = ["token", "--channel", "a", "--channel", "b", "--id=x", "--expires-in", "1h", "--json"];
    const { out } = await channel([...args, "--jwt-secret", SECRET]);
    const printed: { token: string; expires_at: string } = JSON.parse(out);
    expect(printed).toMatchObject({ id: "x", channels: ["a", "b"] });
    const claims = JSON.parse(Buffer.from(printed.token.split(".")[1] ?? "", "base64url").toString());
    expect(new Date(claims.exp * 1000).getTime()).toBe(Date.parse(printed.expires_at));
    expect(Math.abs(claims.exp - Date.now() / 1000 - 3600)).toBeLessThan(30);
  });

  test("prints no token without a secret", async () => {
    const { code, out, err } = await channel(["token", "--channel", "a"]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(/^channel: jwt_secret is not set, [^\n]+\n$/);
    const admin = await channel(["token", "--channel", "admin", "--jwt-secret", SECRET]);
    expect([admin.code, admin.err]).toEqual([2, expect.stringContaining("admin_secret is not set")]);
  });

  test("prints an error in one line", async () => {
    for (const [args, line] of [
      [["token"], "token requires --channel"],
      [["token", "--channel", "phoenix"], "--channel: phoenix is for heartbeats only"],
      [["token", "--channel", "a", "--expires-in", "soon"], "--expires-in must be a duration from 1s"],
      [["token", "--channel="], '--channel: "" is not a valid name'],
    ] as const) {
      const { code, err } = await channel([...args, "--jwt-secret", SECRET]);
      expect([code, err.split("\n").length]).toEqual([2, 2]);
      expect(err).toStartWith(`channel: ${line}`);
    }
  });
});

describe("publish and watch", () => {
  async function watching(args: readonly string[], cwd = folderWith()) {
    const child = Bun.spawn([BINARY, "watch", "--redis-url", redis.url, ...args], {
      cwd,
      env: {},
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    watchers.push(child);
    const reader = child.stderr.getReader();
    let output = "";
    while (!output.includes("watching")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`it ended: ${output}`);
      output += new TextDecoder().decode(value);
    }
    reader.releaseLock();
    return child;
  }

  test("a client receives what is published byte for byte, and watch shows both directions", async () => {
    const watcher = await watching(["--json", "--count", "4", "to:show:*", "from:show:*"]);
    const { out: token } = await channel(["token", "--channel", "show", "--jwt-secret", SECRET]);
    const client = await connectPhoenix(server.url, { params: { userToken: token.trimEnd() } });
    client.send({
      joinRef: "1",
      ref: "1",
      topic: "show",
      event: "phx_join",
      payload: JSON.stringify({ token: token.trimEnd() }),
    });
    await client.reply("1");
    const sent = await channel([
      "publish",
      "to:show:update",
      '{"n":1.0,  "n":12345678901234567890}',
      "--json",
      "--redis-url",
      redis.url,
    ]);
    expect(sent.code).toBe(0);
    expect(JSON.parse(sent.out)).toMatchObject({ topic: "to:show:update", json: true, heard: 2 });
    expect((await client.event("update")).text).toContain('{"n":1.0,  "n":12345678901234567890}');
    client.send({ joinRef: "1", ref: "2", topic: "show", event: "say", payload: '{"hello":"you"}' });
    await client.reply("2");
    const lines = (await new Response(watcher.stdout).text()).trimEnd().split("\n");
    expect(await watcher.exited).toBe(0);
    const seen = lines.map((line) => JSON.parse(line));
    expect(seen.find(({ event }) => event === "update")).toMatchObject({ direction: "to", channel: "show" });
    expect(lines.join("\n")).toContain('"payload":{"n":1.0,  "n":12345678901234567890}');
    client.socket.close();
  });

  test("publish reads a payload from standard input, which need not be JSON", async () => {
    const watcher = await watching(["--json", "--count", "1", "to:pipe:*"]);
    const bytes = Uint8Array.from([0, 255, 10, 27]);
    expect(await channel(["publish", "to:pipe:blob", "--redis-url", redis.url], folderWith(), bytes)).toEqual(
      { code: 0, out: "", err: "" },
    );
    expect(JSON.parse(await new Response(watcher.stdout).text())).toMatchObject({
      topic: "to:pipe:blob",
      base64: Buffer.from(bytes).toString("base64"),
    });
  });

  test("watch prints one line a message without control characters, and exits with 0 on a signal", async () => {
    const watcher = await watching(["to:plain:*"]);
    await channel(["publish", "to:plain:a", "\u001b[2Jtwo\nlines", "--redis-url", redis.url]);
    const reader = watcher.stdout.getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toMatch(/^\S+Z to:plain:a \\u001b\[2Jtwo\\u000alines\n$/);
    watcher.kill("SIGINT");
    expect(await watcher.exited).toBe(0);
  });

  test("publish refuses what a server would drop", async () => {
    for (const [args, line] of [
      [["system", "1"], "system is not a topic: write to:<channel>:<event>, as in to:system:update"],
      [["to:system:phx_reply", "{}"], "servers reject phx_reply from backends"],
      [["to:admin:channel.add", "{}"], "servers reject to:admin:channel.add from backends"],
      [["to:a:b", ""], "the payload is empty"],
      [
        ["to:a:b", "x".repeat(4 * 1024 * 1024 + 1)],
        "the payload has 4194305 bytes, more than limits.max_payload (4MiB)",
      ],
    ] as const) {
      const input = args[1].length > 100_000 ? args[1] : null;
      const words = input === null ? args : args.slice(0, 1);
      const { code, out, err } = await channel(
        ["publish", ...words, "--redis-url", redis.url],
        folderWith(),
        input,
      );
      expect([code, out]).toEqual([2, ""]);
      expect(err).toStartWith(`channel: ${line}`);
    }
  });

  test("an unreachable Redis is an error in one line with a hint", async () => {
    const port = freePort();
    const { code, out, err } = await channel([
      "publish",
      "to:a:b",
      "1",
      "--redis-url",
      `redis://:secret@127.0.0.1:${port}`,
    ]);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toStartWith(`channel: cannot reach Redis at 127.0.0.1:${port}: connection refused. Start it`);
    expect(err).not.toContain("secret");
  });
});

describe("in a terminal", () => {
  test("publish and token print a confirmation", async () => {
    const published = inTerminal(
      `${BINARY} publish to:system:update '{"a":1}' --redis-url ${redis.url}`,
      folderWith(),
    );
    expect(await published.exited).toBe(0);
    expect(published.screen()).toContain("to:system:update: 7 bytes of JSON to 1 server at ");
    const minted = inTerminal(
      `${BINARY} token --channel system --id alice --jwt-secret ${SECRET}`,
      folderWith(),
    );
    expect(await minted.exited).toBe(0);
    expect(minted.screen()).toContain("allows system for alice until 20");
  });

  test("watch shows one line a message, truncated to the terminal width, until Ctrl-C", async () => {
    const watcher = inTerminal(`${BINARY} watch --redis-url ${redis.url} 'to:wide:*'`, folderWith());
    await watcher.until("watching to:wide:*");
    await channel(["publish", "to:wide:load", JSON.stringify("x".repeat(500)), "--redis-url", redis.url]);
    await watcher.until("...");
    const line = watcher
      .screen()
      .split("\r\n")
      .find((one) => one.includes("wide") && one.includes("xxx"));
    expect(line).toContain("\u001b[");
    expect(Bun.stringWidth(Bun.stripANSI(line ?? ""))).toBeLessThanOrEqual(100);
    watcher.type("\u0003");
    expect(await watcher.exited).toBe(0);
  });

  test("NO_COLOR and help are respected", async () => {
    const colored = inTerminal(`${BINARY} --help`, folderWith());
    expect(await colored.exited).toBe(0);
    expect(colored.screen()).toContain("\u001b[");
    const plain = inTerminal(`${BINARY} publish --help`, folderWith(), { NO_COLOR: "1" });
    expect(await plain.exited).toBe(0);
    expect(plain.screen()).not.toContain("\u001b");
    expect(plain.screen()).toContain("EXAMPLES");
  });

  test("publish does not wait for input from a terminal", async () => {
    const asked = inTerminal(`${BINARY} publish to:a:b --redis-url ${redis.url}`, folderWith());
    expect(await asked.exited).toBe(2);
    expect(asked.screen()).toContain("publish requires a payload");
  });
});

describe("output generated from the definitions", () => {
  test("bash completes commands, flags and words", async () => {
    const { out } = await channel(["completion", "bash"]);
    const complete = async (...words: string[]) => {
      const last = words.length;
      const run = `${out}\nCOMP_WORDS=(channel ${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${last}; _channel; echo "\${COMPREPLY[@]}"`;
      return (
        await new Response(Bun.spawn(["bash", "-c", run], { stderr: "inherit" }).stdout).text()
      ).trimEnd();
    };
    expect(await complete("pub")).toBe("publish");
    expect(await complete("token", "--ch")).toBe("--channel");
    expect(await complete("--bus", "r")).toBe("redis");
    expect(await complete("completion", "f")).toBe("fish");
    expect(await complete("serve", "--log-format", "=", "j")).toBe("json");
    expect(await complete("help", "pub")).toBe("publish");
    // A flag of one name takes a file in "init" and no value in "watch".
    expect(await complete("watch", "--from", "--ev")).toBe("--event");
  });

  test.skipIf(Bun.which("zsh") === null)("zsh accepts its script", async () => {
    const { out } = await channel(["completion", "zsh"]);
    const child = Bun.spawn(
      ["zsh", "-f", "-c", `autoload -U compinit; compinit -D; ${out}\nprint \${_comps[channel]}`],
      {
        stderr: "pipe",
      },
    );
    expect([await new Response(child.stdout).text(), await new Response(child.stderr).text()]).toEqual([
      "_channel\n",
      "",
    ]);
  });

  test.skipIf(Bun.which("fish") === null)("fish completes with descriptions", async () => {
    const { out } = await channel(["completion", "fish"]);
    const complete = async (line: string) =>
      new Response(
        Bun.spawn(["fish", "--no-config", "-c", `${out}\ncomplete -C '${line}'`], {
          env: { HOME: folderWith() },
        }).stdout,
      ).text();
    expect(await complete("channel pub")).toBe(
      "publish\tPublish a message to the clients of a channel, as a backend does.\n",
    );
    expect(await complete("channel --bus e")).toContain("embedded");
    expect(await complete("channel completion b")).toContain("bash");
  });

  test("the manual names every command and key", async () => {
    const { code, out } = await channel(["manual"]);
    expect(code).toBe(0);
    expect(out).toStartWith(".TH CHANNEL 1");
    for (const word of [
      "channel publish",
      "limits.max\\-frame".replace("\\-", "_"),
      "channelstream.secret",
      "\\-\\-expires\\-in",
    ])
      expect(out).toContain(word);
    if (Bun.which("mandoc") !== null) {
      const lint = Bun.spawn(["mandoc", "-T", "lint", "-W", "error"], {
        stdin: Buffer.from(out),
        stdout: "pipe",
      });
      expect(await new Response(lint.stdout).text()).toBe("");
    }
  });
});
