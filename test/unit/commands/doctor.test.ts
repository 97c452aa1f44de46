import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RedisInspection } from "../../../src/bus/redis/redis-inspection.ts";
import { checkCertificate, checkFiles } from "../../../src/commands/doctor/file-checks.ts";
import { judgeRedis } from "../../../src/commands/doctor/redis-checks.ts";
import { type Config, loadConfig } from "../../../src/config/config.ts";

const folder = mkdtempSync(join(tmpdir(), "channel-doctor-"));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function configOf(
  flags: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): Config {
  const loaded = loadConfig({ flags, env, cwd: folder, systemFile: join(folder, "none.toml") });
  if (!loaded.ok) throw new Error(loaded.message);
  return loaded.config;
}

const HEALTHY: RedisInspection = {
  where: "127.0.0.1:6379",
  version: "7.2.4",
  unfit: null,
  bufferLimit: null,
  clockAheadMs: 0,
  missing: { required: [], others: [] },
};

describe("a Redis", () => {
  test("that is in order has no remedy", () => {
    expect(judgeRedis(HEALTHY).map(({ status, remedy }) => [status, remedy])).toEqual(
      Array.from({ length: 6 }, () => ["ok", null]),
    );
  });

  test.each([
    ["redis version", { version: "5.0.14" }, "warning"],
    ["redis version", { version: null }, "skipped"],
    ["redis output buffers", { bufferLimit: 33_554_432 }, "warning"],
    ["redis output buffers", { bufferLimit: undefined }, "skipped"],
    ["redis output buffers", { bufferLimit: 40_000_000 }, "ok"],
    ["clock", { clockAheadMs: 4999 }, "ok"],
    ["clock", { clockAheadMs: 5000 }, "failed"],
    ["clock", { clockAheadMs: -60_000 }, "failed"],
    ["clock", { clockAheadMs: null }, "skipped"],
    ["redis acl", { missing: null }, "warning"],
  ] as const)("%s of %p: %s", (name, part, status) => {
    const [check, other] = judgeRedis({ ...HEALTHY, ...part }).filter((each) => each.name === name);
    expect([check?.status, other]).toEqual([status, undefined]);
  });

  test("says which clock is behind", () => {
    const found = (clockAheadMs: number) =>
      judgeRedis({ ...HEALTHY, clockAheadMs }).find(({ name }) => name === "clock")?.found;
    expect(found(60_000)).toStartWith("this machine is 60 s behind the clock of Redis");
    expect(found(-7250)).toStartWith("this machine is 7.3 s ahead of the clock of Redis");
  });
});

test("open files: one for each client, and some more", () => {
  const config = configOf({}, { LIMITS_MAX_CONNECTIONS: "1000" });
  expect(checkFiles(config, 1064).status).toBe("ok");
  expect(checkFiles(config, 1063)).toMatchObject({
    status: "warning",
    found: "1063 here: 999 clients instead of 1000 (limits.max_connections)",
  });
  expect(checkFiles(config, 10).found).toStartWith("10 here: 0 clients");
  expect(checkFiles(config, Number.POSITIVE_INFINITY).status).toBe("skipped");
});

describe.skipIf(Bun.which("openssl") === null)("a certificate", () => {
  const cert = join(folder, "cert.pem");
  const key = join(folder, "key.pem");
  const day = 86_400_000;

  function configWith(publicUrl: string): Config {
    const made = Bun.spawnSync(
      [
        ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        ...["-keyout", key, "-out", cert, "-days", "100", "-subj", "/CN=channel.example.org"],
        ...["-addext", "subjectAltName=DNS:channel.example.org"],
      ],
      { stdout: "ignore", stderr: "ignore" },
    );
    expect(made.exitCode).toBe(0);
    return configOf({}, { TLS_CERT: cert, TLS_KEY: key, PUBLIC_URL: publicUrl });
  }

  test("is checked for its dates and the name of public_url", async () => {
    const named = configWith("http://channel.example.org");
    const status = async (config: Config, now: number) => (await checkCertificate(config, now))[0];
    expect(await status(named, Date.now())).toMatchObject({ name: "certificate", status: "ok" });
    expect(await status(named, Date.now() + 90 * day)).toMatchObject({ status: "warning" });
    expect((await status(named, Date.now() + 101 * day))?.found).toStartWith("expired on 20");
    expect((await status(named, Date.now() - day))?.found).toStartWith("valid from ");
    const other = { ...named, publicUrl: "http://other.example.org" };
    expect(await status(other, Date.now())).toMatchObject({
      status: "failed",
      found: "not for other.example.org",
    });
    const address = { ...named, publicUrl: "http://192.0.2.1" };
    expect(await status(address, Date.now())).toMatchObject({ found: "not for 192.0.2.1" });
  });

  test("of public_url is fetched, and refused as a browser does", async () => {
    const config = configWith("http://channel.example.org");
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: { cert: config.tls?.cert ?? "", key: config.tls?.key ?? "" },
      fetch: () => new Response(),
    });
    const publicUrl = `https://127.0.0.1:${server.port}`;
    const [check] = await checkCertificate({ ...config, tls: null, publicUrl }, Date.now());
    await server.stop(true);
    expect(check).toMatchObject({ name: "public certificate", status: "failed" });
    expect(check?.found).toStartWith("browsers refuse it: ");
    const [gone] = await checkCertificate({ ...config, tls: null, publicUrl }, Date.now());
    expect(gone).toMatchObject({
      status: "failed",
      found: expect.stringMatching(/^127\.0\.0\.1:\d+: .*ECONNREFUSED/),
    });
  });

  test("is skipped without TLS", async () => {
    expect(await checkCertificate(configOf({}), Date.now())).toMatchObject([{ status: "skipped" }]);
  });
});
