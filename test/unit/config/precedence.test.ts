import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { folderWith, good, load, refusal, toml } from "./workspace.ts";

describe("what wins", () => {
  const cwd = folderWith({ "channel.toml": "port = 1" });
  const flags = { port: "4" };
  const env = { PORT: "2", CHANNEL_PORT: "3" };

  test("flags win over the environment, the prefix over the bare name, both over the file, the file over the default", () => {
    expect(good({ cwd, env, flags }).port).toBe(4);
    expect(good({ cwd, env }).port).toBe(3);
    expect(good({ cwd, env: { PORT: "2" } }).port).toBe(2);
    expect(good({ cwd }).port).toBe(1);
    expect(good().port).toBe(2025);
  });

  test("each value says where it came from", () => {
    const sources = [{ cwd, env, flags }, { cwd, env }, { cwd }, {}].map((input) => {
      const loaded = load(input);
      const origin = loaded.ok ? loaded.sources.get("port") : undefined;
      return [origin?.source, origin?.detail, origin?.printed];
    });
    expect(sources).toEqual([
      ["flag", "--port", 4],
      ["environment", "CHANNEL_PORT", 3],
      ["file", "channel.toml", 1],
      ["default", "", 2025],
    ]);
  });

  test("an empty variable says nothing", () => {
    expect(good({ cwd, env: { CHANNEL_PORT: "", PORT: "2" } }).port).toBe(2);
    expect(good({ env: { JWT_SECRET: "" } }).jwtSecretGenerated).toBe(true);
  });

  test("a bad value in the file is an error even where a flag wins", () => {
    expect(refusal({ ...toml('port = "x"'), flags })).toStartWith("2: channel.toml: port must be");
  });

  test("keys of sections have variables too", () => {
    const env = { LIMITS_MAX_FRAME: "2KiB", CHANNEL_LIMITS_IDLE_TIMEOUT: "10m", CLAIMS_ID: "user" };
    const { limits, claims } = good({ env });
    expect([limits.maxFrame, limits.idleTimeout, claims]).toEqual([
      2048,
      600_000,
      { id: "user", channels: "channels" },
    ]);
  });
});

describe("the file", () => {
  const file = (port: number) => `port = ${port}`;

  test("channel.toml comes before tangram.toml, and that before the one of the system", () => {
    const etc = { "etc/channel.toml": file(3) };
    const tangram = { "tangram.toml": `[channel]\n${file(2)}` };
    expect(good({ cwd: folderWith({ "channel.toml": file(1), ...tangram, ...etc }) }).port).toBe(1);
    expect(good({ cwd: folderWith({ ...tangram, ...etc }) }).port).toBe(2);
    expect(good({ cwd: folderWith(etc) }).port).toBe(3);
  });

  test("--config is read instead of all others, and files it names lie beside it", () => {
    const cwd = folderWith({
      "channel.toml": file(1),
      "deep/my.toml": `${file(7)}\nstatic_path = "pages"`,
      "deep/pages/x": "",
    });
    const config = good({ cwd, flags: { config: "deep/my.toml" } });
    expect([config.port, config.staticPath]).toEqual([7, join(cwd, "deep/pages")]);
  });

  test("a file named that is not there, or cannot be read, ends with 1", () => {
    expect(refusal({ flags: { config: "nope.toml" } })).toBe("1: cannot read nope.toml: no such file");
    const cwd = folderWith({ "channel.toml/x": "" });
    expect(refusal({ cwd })).toBe("1: cannot read channel.toml: is a folder");
  });

  test("what is no TOML is named by line and column, in one line", () => {
    expect(refusal(toml("port = 1\nhost = \n"))).toMatch(/^2: channel\.toml: line 2, column \d+: [^\n]+$/);
  });

  test("an unknown key names the nearest one", () => {
    expect(refusal(toml("prot = 1"))).toBe("2: channel.toml: unknown key prot; did you mean port?");
    expect(refusal(toml("max_frame = 1"))).toBe(
      "2: channel.toml: unknown key max_frame; did you mean limits.max_frame?",
    );
    expect(refusal(toml("[limits]\nmax_fram = 1"))).toBe(
      "2: channel.toml: unknown key limits.max_fram; did you mean limits.max_frame?",
    );
    expect(refusal(toml('[channels."room:*"]\npresense = true'))).toBe(
      '2: channel.toml: unknown key "channels.\\"room:*\\".presense"; did you mean presence?',
    );
  });

  test("a key that is like none says where the known ones are", () => {
    expect(refusal(toml("flurble = 1"))).toBe(
      '2: channel.toml: unknown key flurble; "channel config" lists the known keys',
    );
  });

  test("what other issues bring is unknown until it does something", () => {
    for (const text of ["[channelstream]\nx = 1"]) {
      expect(refusal(toml(text))).toStartWith("2: channel.toml: unknown key");
    }
  });

  test("names from the file cannot break the line", () => {
    expect(refusal(toml('"a\\nb\\u001b[31m" = 1'))).toMatch(
      /^2: channel\.toml: unknown key "a\\nb\\u001b\[31m"; [^\n]*$/,
    );
    expect(refusal(toml('host = "a\\nb"'))).toBe(
      '2: channel.toml: host must be an IP address or a host name, not "a\\nb"',
    );
  });

  test("a section that is a value, and a value that is a section, are named", () => {
    expect(refusal(toml("limits = 5"))).toBe("2: channel.toml: limits must be a section: [limits]");
    expect(refusal(toml("channels = 5"))).toBe(
      '2: channel.toml: channels must be a section: [channels."<pattern>"]',
    );
    expect(refusal(toml("[port]\nx = 1"))).toBe(
      "2: channel.toml: port must be a whole number from 0 to 65535, not a section",
    );
  });

  test("names that every object has are no keys", () => {
    for (const name of ["__proto__", "constructor", "toString"]) {
      expect(refusal(toml(`"${name}" = 1`))).toStartWith("2: channel.toml: unknown key");
    }
  });
});

describe("the environment", () => {
  test("an unknown name with our prefix names the nearest one", () => {
    expect(refusal({ env: { CHANNEL_PROT: "1" } })).toBe(
      "2: unknown variable CHANNEL_PROT; did you mean CHANNEL_PORT?",
    );
    expect(refusal({ env: { CHANNEL_XYZZY: "1" } })).toBe(
      '2: unknown variable CHANNEL_XYZZY; "channel config" lists the known keys',
    );
  });

  test("a bad value names its variable", () => {
    expect(refusal({ env: { PORT: "http" } })).toBe(
      '2: PORT must be a whole number from 0 to 65535, not "http"',
    );
    expect(refusal({ env: { CHANNEL_BUS: "nats" } })).toBe(
      '2: CHANNEL_BUS must be one of "auto", "redis", "amqp", "embedded", not "nats"',
    );
  });

  test("what Kubernetes and a proxy of Vite put there is not ours", () => {
    const env = {
      CHANNEL_PORT: "tcp://10.0.0.1:2025",
      CHANNEL_PORT_2025_TCP: "tcp://10.0.0.1:2025",
      CHANNEL_PORT_2025_TCP_ADDR: "10.0.0.1",
      CHANNEL_SERVICE_HOST: "10.0.0.1",
      CHANNEL_SERVICE_PORT: "2025",
      CHANNEL_SERVICE_PORT_HTTP: "2025",
      CHANNEL_SERVICE: "http://127.0.0.1:2347",
    };
    expect(good({ env }).port).toBe(2025);
  });

  test("names of other programs are ignored", () => {
    expect(good({ env: { PATH: "/bin", PROT: "x", LIMITS: "x" } }).port).toBe(2025);
  });
});

describe("a tangram.toml", () => {
  const tangram = (text: string) => ({ cwd: folderWith({ "tangram.toml": text }) });

  test("has Tangram's own defaults", () => {
    const {
      host,
      port,
      jwtSecret,
      jwtSecretGenerated,
      jwtExpirationSecs,
      idLength,
      expiry,
      allowedOrigins,
      redisUrlGiven,
    } = good(tangram('[core]\nplugins = ["tangram_system"]\n'));
    expect({
      host,
      port,
      jwtSecret,
      jwtSecretGenerated,
      jwtExpirationSecs,
      idLength,
      expiry,
      allowedOrigins,
      redisUrlGiven,
    }).toEqual({
      host: "127.0.0.1",
      port: 2347,
      jwtSecret: "secret",
      jwtSecretGenerated: false,
      jwtExpirationSecs: 315_360_000,
      idLength: 8,
      expiry: "join",
      allowedOrigins: "*",
      redisUrlGiven: false,
    });
  });

  test("gives us [core] redis_url and [channel], and keeps the rest to itself", () => {
    const config = good(
      tangram(`
        [core]
        redis_url = "redis://10.1.1.1:7000"
        log_level = "INFO"
        theme = { light = "a", dark = "b" }
        [server]
        port = 2346
        [channel]
        port = 2400
        public_url = "http://hub.example:2400"
        expiry = "close"
        [channel.limits]
        max_frame = "2MiB"
        [channel.channels."streaming-*"]
        presence = false
        [plugins.tangram_jet1090]
        anything = 1
      `),
    );
    expect([config.redisUrl, config.redisUrlGiven, config.port]).toEqual([
      "redis://10.1.1.1:7000",
      true,
      2400,
    ]);
    expect([config.publicUrl, config.expiry, config.limits.maxFrame]).toEqual([
      "http://hub.example:2400",
      "close",
      2 << 20,
    ]);
    expect(config.channels).toMatchObject([{ pattern: "streaming-*", presence: false }]);
  });

  test("names the place of a mistake as it is written there", () => {
    expect(refusal(tangram("[channel]\nprot = 1"))).toBe(
      "2: tangram.toml: unknown key channel.prot; did you mean port?",
    );
    expect(refusal(tangram("[channel]\nport = 70000"))).toBe(
      "2: tangram.toml: channel.port must be a whole number from 0 to 65535, not 70000",
    );
    expect(refusal(tangram('[core]\nredis_url = "http://x"'))).toStartWith(
      "2: tangram.toml: core.redis_url must be an address",
    );
    expect(refusal(tangram("channel = 1"))).toBe("2: tangram.toml: channel must be a section: [channel]");
  });

  test("is one by its name, wherever it lies", () => {
    const cwd = folderWith({ "etc/tangram.toml": "[channel]\nid_length = 9" });
    const config = good({ cwd, flags: { config: "etc/tangram.toml" } });
    expect([config.port, config.idLength]).toEqual([2347, 9]);
  });

  test("flags and environment stand above its defaults", () => {
    const config = good({ ...tangram(""), flags: { port: "5" }, env: { ALLOWED_ORIGINS: "same-host" } });
    expect([config.port, config.allowedOrigins]).toEqual([5, "same-host"]);
  });
});
