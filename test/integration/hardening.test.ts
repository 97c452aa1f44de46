import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sign } from "../../src/auth/signature.ts";
import { CERTIFICATE, KEY } from "../unit/config/certificate.ts";
import { call } from "./api-client.ts";
import { startChannel } from "./channel-process.ts";
import { ADMIN_SECRET, BUSES, SECRET, startWorld, type World } from "./world.ts";

const READER = "a key that reads one channel only";
const WATCHER = "a key that reads all of the channels";
const KEYS = `
[[api_keys]]
key = "${READER}"
can = ["read", "publish"]
channels = ["room:*"]
[[api_keys]]
key = "${WATCHER}"
can = ["read"]
`;

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "channel-hardening-"));
  folders.push(made);
  return made;
}

describe.each(BUSES)("a payload published by the API, with the %s bus", (bus) => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(bus);
  });
  afterAll(() => world.stop());

  test("is sent byte for byte: numbers, names, depth and white space", async () => {
    const received = await world.backend.listen("to:room:news");
    const payloads = [
      '{"n":12345678901234567890,"f":1.0,"e":1E400,"__proto__":{"a":1},"__proto__":2}',
      '{ "a" : [ 1 ,\n 2 ] }',
      '"\\ud83d\\ude00 \\u0061"',
      "null",
      "0",
      `${"[".repeat(200_000)}${"]".repeat(200_000)}`,
      `"${"x".repeat(3 << 20)}"`,
    ];
    for (const payload of payloads) {
      const body = `{"channel":"room","payload":1,"p\\u0061yload": ${payload} ,"event":"news"}`;
      const answer = await call(world.channel.url, "/api/publish", { method: "POST", body });
      expect([payload.slice(0, 40), answer.status]).toEqual([payload.slice(0, 40), 200]);
      const { payload: bytes } = await received.next();
      expect(bytes.toString() === payload).toBe(true);
    }
    for (const body of [
      '{"channel":"room","event":"news"}',
      '{"channel":"room","event":"news","payload":}',
    ]) {
      expect((await call(world.channel.url, "/api/publish", { method: "POST", body })).status).toBeOneOf([
        400, 422,
      ]);
    }
  });

  test("has its own size limit", async () => {
    const body = { channel: "room", event: "news", payload: "x".repeat((4 << 20) + (70 << 10)) };
    const answer = await call(world.channel.url, "/api/publish", { body });
    expect(answer).toMatchObject({ status: 413, body: { error: expect.any(String) } });
  });
});

describe("an API key that reads one channel", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld("embedded", { toml: `trusted_proxies = ["127.0.0.1"]\n${KEYS}` });
  });
  afterAll(() => world.stop());

  test("is denied the statistics of the server", async () => {
    const headers = { "x-forwarded-for": "203.0.113.7" };
    for (const path of ["/api/stats", "/api/history", "/api/connections", "/metrics"]) {
      const ask = async (secret: string) =>
        [path, (await call(world.channel.url, path, { secret, headers })).status] as const;
      expect(await ask(READER)).toEqual([path, 403]);
      expect(await ask(WATCHER)).toEqual([path, 200]);
      expect(await ask(ADMIN_SECRET)).toEqual([path, 200]);
    }
    expect((await call(world.channel.url, "/api/channels", { secret: READER })).body).toMatchObject({
      total: 0,
    });
  });
});

test("a request of a trusted proxy without a client address is not treated as local", async () => {
  const world = await startWorld("embedded", { toml: `trusted_proxies = ["127.0.0.1"]\n` });
  try {
    const status = async (headers: Readonly<Record<string, string>>) =>
      (await call(world.channel.url, "/metrics", { secret: null, headers })).status;
    expect(await status({})).toBe(401);
    expect(await status({ "x-forwarded-for": "unknown" })).toBe(401);
    expect(await status({ "x-forwarded-for": "127.0.0.1" })).toBe(200);
  } finally {
    await world.stop();
  }
});

test("rejects a request from an http page with the cookie of an https server", async () => {
  const certs = folder();
  const [cert, key] = [join(certs, "cert.pem"), join(certs, "key.pem")];
  writeFileSync(cert, CERTIFICATE);
  writeFileSync(key, KEY, { mode: 0o600 });
  const channel = await startChannel({
    args: ["--bus", "embedded"],
    toml: `admin_secret = "${ADMIN_SECRET}"\njwt_secret = "${SECRET}"\ntls_cert = "${cert}"\ntls_key = "${key}"\n`,
  });
  try {
    const host = `localhost:${channel.port}`;
    const ask = (path: string, headers: Record<string, string>, body: unknown) =>
      fetch(`https://${host}${path}`, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        tls: { ca: CERTIFICATE },
      });
    const signedIn = await ask("/admin/sign_in", {}, { secret: ADMIN_SECRET });
    const cookie = signedIn.headers.get("set-cookie")?.split(";")[0] ?? "";
    const publish = async (origin: string) =>
      (await ask("/api/publish", { cookie, origin }, { channel: "a", event: "b", payload: 1 })).status;
    expect(await publish(`https://${host}`)).toBe(200);
    expect(await publish(`http://${host}`)).toBe(403);
  } finally {
    await channel.stop();
  }
});

test("limits wrong Channelstream signatures by address and does not count expired ones", async () => {
  const secret = "a-secret-of-the-web-application-here";
  const world = await startWorld("embedded", {
    toml: `trusted_proxies = ["127.0.0.1"]\n[channelstream]\nsecret = "${secret}"\nallow_posting_from = ["0.0.0.0"]\n`,
  });
  const info = (signed: string, address: string, headers: Record<string, string> = {}) =>
    fetch(`${world.channel.url}/info`, {
      method: "POST",
      headers: { "x-channelstream-secret": signed, "x-forwarded-for": address, ...headers },
    });
  const good = () => sign("x", secret, Date.now());
  try {
    for (let round = 0; round < 12; round++) {
      expect((await info(sign("x", secret, Date.now() - 600_000), "203.0.113.1")).status).toBe(401);
    }
    expect((await info(good(), "203.0.113.1")).status).toBe(200);
    const statuses: number[] = [];
    for (let round = 0; round < 12; round++) {
      statuses.push((await info(sign("x", `guess ${round}`, Date.now()), "203.0.113.2")).status);
    }
    expect(statuses.filter((status) => status === 401).length).toBeWithin(10, 12);
    const limited = await info(good(), "203.0.113.2");
    expect(limited.status).toBe(429);
    expect(Number(limited.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await limited.json()).toMatchObject({ code: "too_many_wrong_secrets" });
    expect((await info(good(), "203.0.113.3")).status).toBe(200);
  } finally {
    await world.stop();
  }
});

test("serves no hidden file or folder except .well-known", async () => {
  const site = folder();
  for (const name of [".git", ".well-known/acme-challenge", "a/.ssh", "..data"]) {
    mkdirSync(join(site, name), { recursive: true });
  }
  for (const name of [
    ".env",
    ".git/config",
    "a/.ssh/id",
    "a/.well-known",
    ".well-known/acme-challenge/token",
    "..data/app.js",
    "index.html",
  ]) {
    writeFileSync(join(site, name), name);
  }
  // The layout of a Kubernetes ConfigMap.
  symlinkSync("..data/app.js", join(site, "app.js"));
  const channel = await startChannel({ args: ["--static-path", site] });
  try {
    const status = async (path: string) => [path, (await fetch(channel.url + path)).status];
    for (const path of [
      "/.env",
      "/%2eenv",
      "/.git/config",
      "/.git/",
      "/.git",
      "/a/.ssh/id",
      "/a/.well-known",
      "/..data/app.js",
    ]) {
      expect(await status(path)).toEqual([path, 404]);
    }
    for (const path of ["/", "/app.js", "/.well-known/acme-challenge/token"]) {
      expect(await status(path)).toEqual([path, 200]);
    }
  } finally {
    await channel.stop();
  }
});

test("an https public_url makes the cookie Secure and sends Strict-Transport-Security", async () => {
  const world = await startWorld("embedded", { toml: 'public_url = "https://hub.example"\n' });
  const plain = await startWorld("embedded");
  const signIn = (url: string) =>
    fetch(`${url}/admin/sign_in`, { method: "POST", body: JSON.stringify({ secret: ADMIN_SECRET }) });
  try {
    expect((await signIn(world.channel.url)).headers.get("set-cookie")).toContain("; Secure");
    expect((await signIn(plain.channel.url)).headers.get("set-cookie")).not.toContain("Secure");
    for (const path of ["/", "/admin.html", "/health", "/token", "/nothing"]) {
      const of = async (url: string) => (await fetch(url + path)).headers.get("strict-transport-security");
      expect(await of(world.channel.url)).toBe("max-age=31536000");
      expect(await of(plain.channel.url)).toBeNull();
    }
  } finally {
    await world.stop();
    await plain.stop();
  }
});

test("warns at start of world-readable files with secrets and of key sets over plain http", async () => {
  const cwd = folder();
  const secret = "a-secret-that-is-long-enough-for-anybody";
  const write = (name: string, text: string, mode: number) => writeFileSync(join(cwd, name), text, { mode });
  write("channel.toml", `jwt_secret = "${secret}"\n`, 0o644);
  write("admin", secret, 0o644);
  write("closed", secret, 0o640);
  const warned = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const channel = await startChannel({ cwd, args: ["--bus", "embedded", ...args], env });
    await channel.stop();
    const warnings = channel.lines.filter(({ level }) => level === "warn");
    return warnings.map(({ message }) => message).filter((text) => /contains secrets|jwks_url/.test(text));
  };
  const about = (name: string) => expect.stringMatching(new RegExp(`${name}.* contains secrets`));
  expect(await warned([])).toEqual([about("channel.toml")]);
  expect(await warned([], { ADMIN_SECRET_FILE: join(cwd, "admin") })).toEqual([
    about("channel.toml"),
    about("admin"),
  ]);
  write("public.toml", 'redis_url = "redis://127.0.0.1:6379"\nport = 0\n', 0o644);
  const files = ["--config", "public.toml"];
  expect(await warned(files, { ADMIN_SECRET_FILE: join(cwd, "closed"), CHANNEL_JWT_SECRET: secret })).toEqual(
    [],
  );
  for (const [address, times] of [
    ["http://keys.example/jwks", 1],
    ["https://keys.example/jwks", 0],
    ["http://127.0.0.1:1/jwks", 0],
    ["http://[::1]:1/jwks", 0],
  ] as const) {
    expect([address, (await warned(files, { JWKS_URL: address })).length]).toEqual([address, times]);
  }
}, 20_000);
