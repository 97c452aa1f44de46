import { describe, expect, test } from "bun:test";
import { good, load, refusal, toml } from "./workspace.ts";

describe("durations", () => {
  test("are seconds as a number, or text with a unit", () => {
    for (const [text, ms] of [
      ["5", 5000],
      ["0.25", 250],
      ['"5s"', 5000],
      ['"50ms"', 50],
      ['"5"', 5000],
      ['"1.5s"', 1500],
    ] as const) {
      expect(good(toml(`presence_window = ${text}`)).presenceWindow).toBe(ms);
    }
    expect(good({ env: { SHUTDOWN_GRACE: "2m" } }).shutdownGrace).toBe(120_000);
    expect(good({ flags: { "jwt-expiration-secs": "1h" } }).jwtExpirationSecs).toBe(3600);
    expect(good({ flags: { "jwt-expiration-secs": "3d" } }).jwtExpirationSecs).toBe(259_200);
  });

  test("that are none, or out of bounds, are refused with what is allowed", () => {
    const allowed = 'a duration from 1s to 16m, in seconds or as "50ms", "5s", "10m"';
    for (const bad of [
      "961",
      '"17m"',
      "0",
      '"999ms"',
      '"5 apples"',
      '"s"',
      '""',
      "-5",
      "nan",
      "inf",
      "true",
      "[5]",
    ]) {
      expect(refusal(toml(`limits = { idle_timeout = ${bad} }`))).toStartWith(
        `2: channel.toml: limits.idle_timeout must be ${allowed}, not `,
      );
    }
    expect(good(toml("limits = { idle_timeout = 960 }")).limits.idleTimeout).toBe(960_000);
  });

  test("of tokens are whole seconds", () => {
    expect(refusal({ flags: { "jwt-expiration-secs": "1500ms" } })).toStartWith(
      "2: --jwt-expiration-secs must be",
    );
    expect(refusal({ flags: { "jwt-expiration-secs": "0" } })).toStartWith(
      "2: --jwt-expiration-secs must be",
    );
  });
});

describe("sizes", () => {
  test("are bytes, or text with a unit", () => {
    for (const [text, bytes] of [
      ["1000", 1000],
      ['"1000"', 1000],
      ['"1000B"', 1000],
      ['"64KiB"', 65_536],
      ['"2MiB"', 2 << 20],
      ['"2 mib"', 2 << 20],
      ['"2MB"', 2_000_000],
      ['"0.5MiB"', 524_288],
    ] as const) {
      expect(good(toml(`limits.max_frame = ${text}`)).limits.maxFrame).toBe(bytes);
    }
    expect(good({ env: { LIMITS_MAX_BUFFERED: "1GiB" } }).limits.maxBuffered).toBe(2 ** 30);
  });

  test("that are none, or out of bounds, are refused with what is allowed", () => {
    for (const bad of ["0", "-1", "1.5", '"1.5"', '"many"', '"5XB"', '"1TiB"', '"9999GiB"', "true"]) {
      expect(refusal(toml(`limits.max_frame = ${bad}`))).toStartWith(
        '2: channel.toml: limits.max_frame must be a size from 256 to 512MiB, in bytes or as "64KiB", "4MiB", "1GiB", not ',
      );
    }
  });

  test("a client may always hold two messages", () => {
    expect(refusal(toml('[limits]\nmax_buffered_per_client = "7MiB"'))).toBe(
      "2: channel.toml: limits.max_buffered_per_client: limits.max_buffered_per_client (7MiB) must be at least twice limits.max_payload (4MiB): at least 8MiB",
    );
    expect(refusal({ env: { LIMITS_MAX_PAYLOAD: "33MiB" } })).toBe(
      "2: LIMITS_MAX_PAYLOAD: limits.max_buffered_per_client (64MiB) must be at least twice limits.max_payload (33MiB): at least 66MiB",
    );
    const { limits } = good(toml('[limits]\nmax_payload = "1KiB"\nmax_buffered_per_client = "2KiB"'));
    expect([limits.maxPayload, limits.maxBufferedPerClient]).toEqual([1024, 2048]);
  });
});

describe("values", () => {
  test("the defaults are those of the documentation", () => {
    const { jwtSecret, adminSecret, ...config } = good();
    expect(config).toEqual({
      host: "127.0.0.1",
      port: 2025,
      basePath: "",
      publicUrl: null,
      redisUrl: "redis://127.0.0.1:6379",
      redisUrlGiven: false,
      sentinelUsername: null,
      sentinelPassword: null,
      prefix: "",
      workers: 1,
      bus: "auto",
      amqpUrl: "amqp://127.0.0.1:5672",
      amqpExchangeTo: "channel.to",
      amqpExchangeFrom: "channel.from",
      amqpQueueBytes: 67_108_864,
      jwtSecretGenerated: true,
      jwtKid: null,
      olderJwtSecrets: [],
      jwtExpirationSecs: 259_200,
      idLength: 8,
      jwtPublicKey: null,
      jwksUrl: null,
      jwtIssuer: null,
      jwtAudience: null,
      claims: { id: "id", channels: "channels" },
      expiry: "close",
      tokenEndpoint: "open",
      tokenChannels: ["*"],
      tokenIds: "any",
      adminSecretGenerated: true,
      fleetSecrets: [],
      hookSecret: null,
      webhook: null,
      webhookEvents: ["channel_occupied", "channel_vacated", "member_added", "member_removed", "gap"],
      nodeName: null,
      nodeUrl: null,
      nodeUrls: [],
      olderAdminSecrets: [],
      allowedOrigins: "same-host",
      allowedHosts: null,
      trustedProxies: [],
      tls: null,
      staticPath: null,
      groups: true,
      sse: true,
      datetime: true,
      adminEvents: true,
      presenceEvents: true,
      presenceWindow: 50,
      shutdownGrace: 5000,
      drainDelay: 0,
      logLevel: "info",
      logFormat: "text",
      limits: {
        maxFrame: 1 << 20,
        maxBody: 1 << 20,
        maxPayload: 4 << 20,
        maxBuffered: 512 << 20,
        maxBufferedPerClient: 64 << 20,
        maxChannels: 100,
        maxSubscriptions: 1000,
        maxConnections: 100_000,
        maxConnectionsPerIp: 5000,
        connectsPerSecondPerIp: 100,
        framesPerSecond: 200,
        callsInFlight: 10_000,
        clientEventsPerSecond: 10,
        bytesPerSecond: 1024 * 1024,
        bytesPerSecondPerIp: 4 * 1024 * 1024,
        historyBytes: 64 * 1024 * 1024,
        maxInbound: 32 * 1024 * 1024,
        frameTimeout: 10_000,
        idleTimeout: 60_000,
      },
      channels: [],
      channelstream: {
        secret: null,
        allowPostingFrom: ["127.0.0.1"],
        validateRequests: true,
        allowCors: [],
        enforceHttps: false,
        wakeConnectionsAfter: 5000,
        gcConnsAfter: 15_000,
        gcUsersAfter: 86_400_000,
        legacyDate: false,
        maxUsers: 100_000,
        maxChannels: 100_000,
        maxHistory: 1000,
        maxUserState: 16 << 10,
        maxStored: 256 << 20,
      },
      apiKeys: [],
    });
    expect(jwtSecret).toMatch(/^[\w-]{43}$/);
    expect(adminSecret).toMatch(/^[\w-]{43}$/);
  });

  test("secrets that are made are never the same", () => {
    const made = [good(), good()].flatMap(({ jwtSecret, adminSecret }) => [jwtSecret, adminSecret]);
    expect(new Set(made).size).toBe(4);
  });

  test("nothing of it can be changed", () => {
    const config = good(toml('token_channels = ["a"]\n[channels."x"]\npresence = false'));
    for (const part of [
      config,
      config.limits,
      config.claims,
      config.tokenChannels,
      config.channels,
      config.channels[0],
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  test("hosts are taken in their shortest form", () => {
    for (const [given, taken] of [
      ["0.0.0.0", "0.0.0.0"],
      ["[::1]", "::1"],
      ["0:0:0:0:0:0:0:1", "::1"],
      ["Example.ORG", "example.org"],
    ] as const) {
      expect(good({ flags: { host: given } }).host).toBe(taken);
    }
    for (const bad of ["", " ", "a b", "http://x", "x:80", "-x", "*"]) {
      expect(refusal({ flags: { host: bad } })).toStartWith(
        "2: --host must be an IP address or a host name, not ",
      );
    }
  });

  test("a base path has a slash before it and none behind", () => {
    for (const [given, taken] of [
      ["/", ""],
      ["/hub", "/hub"],
      ["/a/b/", "/a/b"],
    ] as const) {
      expect(good(toml(`base_path = "${given}"`)).basePath).toBe(taken);
    }
    for (const bad of ["hub", "/a b", "/a/../b", "//", "/?x"]) {
      expect(refusal(toml(`base_path = "${bad}"`))).toStartWith(
        '2: channel.toml: base_path must be empty, or a path such as "/channel", not ',
      );
    }
  });

  test("the public address has no slash at the end, no query and no password", () => {
    expect(good(toml('public_url = "https://Example.org:443/hub/"')).publicUrl).toBe(
      "https://example.org/hub",
    );
    for (const bad of ["example.org", "ftp://x", "https://u:p@x", "https://x/?a=1", ""]) {
      expect(refusal(toml(`public_url = "${bad}"`))).toStartWith(
        "2: channel.toml: public_url must be an address",
      );
    }
  });

  test("every kind of Redis address is taken, and nothing else", () => {
    for (const url of [
      "redis://localhost:6379",
      "redis://:pass@host/2",
      "rediss://user:p%40ss@host:6380",
      "unix:/run/redis.sock",
      "unix:///run/redis.sock",
      "redis+sentinel://a:26379,b:26379/master",
      "redis+cluster://a:1,b:2",
    ]) {
      expect(good({ flags: { "redis-url": url } })).toMatchObject({ redisUrl: url, redisUrlGiven: true });
    }
    for (const bad of ["localhost:6379", "http://x", "redis://", "unix:", "redis:///0", "redis://a b"]) {
      expect(refusal({ flags: { "redis-url": bad } })).toStartWith(
        "2: --redis-url must be an address: redis://",
      );
    }
  });

  test("origins are a rule or a list, as browsers write them", () => {
    expect(good({ env: { ALLOWED_ORIGINS: "*" } }).allowedOrigins).toBe("*");
    expect(
      good({ env: { ALLOWED_ORIGINS: "https://A.example:443/, http://b:8080" } }).allowedOrigins,
    ).toEqual(["https://a.example", "http://b:8080"]);
    expect(good(toml('allowed_origins = ["capacitor://localhost"]')).allowedOrigins).toEqual([
      "capacitor://localhost",
    ]);
    for (const bad of [
      '["*"]',
      '"example.org"',
      '["https://x/path"]',
      '["https://*.x"]',
      "5",
      "[5]",
      '["null"]',
    ]) {
      expect(refusal(toml(`allowed_origins = ${bad}`))).toStartWith(
        '2: channel.toml: allowed_origins must be "same-host", "*", or a list of origins',
      );
    }
  });

  test("lists are arrays in the file, and commas elsewhere", () => {
    expect(good(toml('token_channels = ["system", "streaming-{id}"]')).tokenChannels).toEqual([
      "system",
      "streaming-{id}",
    ]);
    expect(good({ env: { TOKEN_CHANNELS: "system, streaming-{id}" } }).tokenChannels).toEqual([
      "system",
      "streaming-{id}",
    ]);
    expect(good({ env: { TRUSTED_PROXIES: "10.0.0.1,0:0::1" } }).trustedProxies).toEqual(["10.0.0.1", "::1"]);
    expect(good(toml('allowed_hosts = ["Hub.example"]')).allowedHosts).toEqual(["hub.example"]);
    expect(refusal(toml('token_channels = ["a", ""]'))).toStartWith(
      "2: channel.toml: token_channels must be a list of names",
    );
    expect(refusal(toml('trusted_proxies = ["proxy"]'))).toStartWith(
      "2: channel.toml: trusted_proxies must be a list of IP",
    );
    expect(refusal(toml('allowed_hosts = ["hub:80"]'))).toStartWith(
      "2: channel.toml: allowed_hosts must be a list of host",
    );
  });

  test("words are one of a few", () => {
    for (const [key, allowed] of [
      ["expiry", '"close", "join"'],
      ["token_endpoint", '"open", "admin", "off"'],
      ["token_ids", '"any", "own"'],
      ["log_level", '"debug", "info", "warn", "error"'],
      ["log_format", '"text", "json"'],
    ] as const) {
      expect(refusal(toml(`${key} = "maybe"`))).toBe(
        `2: channel.toml: ${key} must be one of ${allowed}, not "maybe"`,
      );
    }
  });

  test("a switch is true or false", () => {
    expect(good(toml("datetime = false")).datetime).toBe(false);
    expect(good({ env: { DATETIME: "false" } }).datetime).toBe(false);
    expect(refusal({ env: { DATETIME: "no" } })).toBe('2: DATETIME must be true or false, not "no"');
  });

  test("numbers are whole and within bounds", () => {
    for (const bad of ["70000", "-1", "1.5", "0x10", "1e3", " 1", ""]) {
      expect(refusal({ flags: { port: bad } })).toBe(
        `2: --port must be a whole number from 0 to 65535, not ${JSON.stringify(bad)}`,
      );
    }
    expect(refusal({ flags: { "id-length": "3" } })).toStartWith(
      "2: --id-length must be a whole number from 4 to 64",
    );
  });

  test("settings of channels come the longest pattern first, and take from wider ones what they leave open", () => {
    const { channels } = good(
      toml(`
        channels."*".presence = false
        [channels."room:*"]
        [channels."room:big:*"]
        presence = true
        [channels."room"]
        [channels."room*"]
        presence = true
      `),
    );
    expect(channels.map(({ pattern, presence }) => ({ pattern, presence }))).toEqual([
      { pattern: "room:big:*", presence: true },
      { pattern: "room:*", presence: true },
      { pattern: "room", presence: true },
      { pattern: "room*", presence: true },
      { pattern: "*", presence: false },
    ]);
    expect(refusal(toml('channels."room:*".presence = 1'))).toBe(
      '2: channel.toml: channels."room:*".presence must be true, false or "count", not 1',
    );
    expect(refusal(toml('[channels.""]'))).toBe(
      '2: channel.toml: "" under [channels] is not a channel name or pattern',
    );
  });

  test("trusted_json is off unless a pattern turns it on, and narrower patterns inherit it", () => {
    const { channels } = good(
      toml(`[channels."*"]
        history = 1
        [channels."raw:*"]
        trusted_json = true
        [channels."raw:people:*"]
        trusted_json = false
        [channels."raw:planes:*"]
        history = 2`),
    );
    expect(channels.map(({ pattern, trustedJson }) => ({ pattern, trustedJson }))).toEqual([
      { pattern: "raw:people:*", trustedJson: false },
      { pattern: "raw:planes:*", trustedJson: true },
      { pattern: "raw:*", trustedJson: true },
      { pattern: "*", trustedJson: false },
    ]);
    expect(refusal(toml('channels."raw:*".trusted_json = "yes"'))).toBe(
      '2: channel.toml: channels."raw:*".trusted_json must be true or false, not "yes"',
    );
  });

  const HOOKS = 'hook_secret = "a secret of these hooks"\n';

  test("authorize is a URL, which a narrower pattern can turn off, and requires hook_secret", () => {
    const { channels } = good(
      toml(`${HOOKS}
        [channels."room:*"]
        authorize = "http://127.0.0.1:8000/authorize?a=1"
        authorize_headers = ["Cookie", "x-session"]
        [channels."room:open:*"]
        authorize = "off"
        [channels."room:own:*"]
      `),
    );
    expect(channels.map(({ pattern, authorize }) => [pattern, authorize])).toEqual([
      ["room:open:*", null],
      ["room:own:*", "http://127.0.0.1:8000/authorize?a=1"],
      ["room:*", "http://127.0.0.1:8000/authorize?a=1"],
    ]);
    expect(channels[1]?.authorizeHeaders).toEqual(["cookie", "x-session"]);
    expect(good(toml('channels."x".presence = false')).channels[0]).toMatchObject({
      authorize: null,
      authorizeTimeout: 2000,
      authorizeHeaders: ["cookie", "authorization"],
    });
    expect(refusal(toml('channels."room:*".authorize = "https://app.example/"'))).toBe(
      '2: channels."room:*".authorize requires hook_secret',
    );
    for (const url of [
      "/authorize",
      "ftp://app.example",
      "https://u:hunter2@app.example",
      "https://a/#x",
      "https://a b",
    ])
      expect(refusal(toml(`${HOOKS}channels."*".authorize = "${url}"`))).toBe(
        '2: channel.toml: channels."*".authorize must be an http:// or https:// address without user and fragment, or "off"',
      );
  });

  test("authorize_headers are names of headers that do not belong to the hook's own request", () => {
    for (const name of [
      "host",
      "Content-Length",
      "transfer-encoding",
      "x-channel-signature",
      "a b",
      "a:b",
      "a\\r\\nb",
      "",
    ])
      expect(refusal(toml(`${HOOKS}channels."*".authorize_headers = ["${name}"]`))).toStartWith(
        '2: channel.toml: channels."*".authorize_headers must be a list of names of request headers',
      );
  });

  test("client events are events, or patterns with a star at the end", () => {
    const events = ["cursor", "draw*", "*"];
    const { channels } = good(toml(`channels."*".client_events = ${JSON.stringify(events)}`));
    expect(channels[0]).toMatchObject({ clientEvents: events, clientEventsSender: false });
    for (const event of ["a:b", "*a", ""]) {
      expect(refusal(toml(`channels."*".client_events = ["${event}"]`))).toStartWith(
        '2: channel.toml: channels."*".client_events must be a list of events, without colons',
      );
    }
  });
});

describe("calls", () => {
  const SECRET = 'hook_secret = "the secret of an application"\n';

  test("go to Redis, a queue or an address", () => {
    const targets = [
      ["redis", "redis"],
      ["queue:a.b-c_d:9", "queue:a.b-c_d:9"],
      ["https://app.example/calls?k=1", "https://app.example/calls?k=1"],
      ["http://127.0.0.1:8000", "http://127.0.0.1:8000/"],
    ];
    for (const [to, taken] of targets) {
      const { channels } = good(toml(`${SECRET}[channels."*"]\ncalls = ["a*"]\ncall_to = "${to}"`));
      expect(channels[0]).toMatchObject({ calls: ["a*"], callTo: taken, callTimeout: 8000 });
    }
    for (const to of [
      "",
      "queue:",
      "queue:a b",
      "queue:a*",
      "ftp://x",
      "Redis",
      "https://me:x@app.example",
      "x",
    ]) {
      expect(refusal(toml(`channels."*".call_to = "${to}"`))).toBe(
        '2: channel.toml: channels."*".call_to must be "redis", "queue:" with a name of at most 64 letters, digits and - _ . :, or an http:// or https:// address without a user',
      );
    }
  });

  test("are signed where they go to an address", () => {
    const settings = 'channels."room:*" = { calls = ["a"], call_to = "https://app.example/" }';
    expect(refusal(toml(settings))).toBe(
      '2: channel.toml: channels."room:*".call_to requires hook_secret, which signs the requests',
    );
    // Nothing is sent to it.
    good(toml('channels."room:*".call_to = "https://app.example/"'));
    good(toml(SECRET + settings));
  });

  test("are no client events of the same pattern, inherited ones included", () => {
    const both = "an event is a call or goes to other members, not both";
    for (const [calls, events, call, event] of [
      ["a", "a", "a", "a"],
      ["b", "a*", "", ""],
      ["ab", "a*", "ab", "a*"],
      ["ab*", "a*", "ab*", "a*"],
      ["a*", "ab*", "a*", "ab*"],
      ["*", "cursor", "*", "y"],
    ]) {
      const text = `channels."*" = { calls = ["x", "${calls}"], client_events = ["y", "${events}"] }`;
      if (call === "") good(toml(text));
      else {
        expect(refusal(toml(text))).toBe(
          `2: channel.toml: channels."*".calls has ${call} and client_events has ${event}: ${both}`,
        );
      }
    }
    const inherited = 'channels."*".client_events = ["a"]\nchannels."room:*".calls = ["a"]';
    expect(refusal(toml(inherited))).toBe(
      `2: channel.toml: channels."room:*".calls has a and client_events has a: ${both}`,
    );
    good(toml('channels."a:*".client_events = ["a"]\nchannels."room:*".calls = ["a"]'));
  });
});

describe("what is printed", () => {
  test("has no secret in it", () => {
    const loaded = load({
      env: {
        JWT_SECRET: "the-jwt-secret-of-this-test-0123456789",
        ADMIN_SECRET: "the-admin-secret",
        REDIS_URL: "redis://user:the-password@h:1/0?password=the-query",
        JWKS_URL: "https://me:the-key@x/keys?token=the-token",
      },
    });
    expect(loaded.ok).toBe(true);
    const printed = JSON.stringify(loaded.ok ? [...loaded.sources] : []);
    expect(printed).toContain("redis://user:********@h:1/0?********");
    expect(printed).not.toMatch(/the-/);
  });

  test("a bad secret is not repeated", () => {
    const messages = [
      refusal({ flags: { "redis-url": "http://u:hunter2@x" } }),
      refusal({ flags: { "jwt-secret": "hunter2\n" } }),
      refusal({ env: { JWKS_URL: "hunter2" } }),
    ];
    for (const message of messages) expect(message).not.toContain("hunter2");
  });
});

test("a prefix has letters, digits and - _ . : only, and a variable PREFIX of other programs is ignored", () => {
  for (const prefix of ["", "one.", "a-b_c:9", "x".repeat(64)]) {
    expect(good(toml(`prefix = "${prefix}"`)).prefix).toBe(prefix);
  }
  for (const bad of ["a*", "a b", "[a]", "ü", "x".repeat(65)]) {
    expect(refusal(toml(`prefix = "${bad}"`))).toStartWith(
      "2: channel.toml: prefix must be at most 64 letters, digits and - _ . :, not ",
    );
  }
  expect(good({ env: { PREFIX: "/usr/local", CHANNEL_PREFIX: "one." } }).prefix).toBe("one.");
  expect(good({ env: { PREFIX: "/usr/local" } }).prefix).toBe("");
});
