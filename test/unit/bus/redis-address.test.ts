import { describe, expect, test } from "bun:test";
import { BusError } from "../../../src/bus/bus-error.ts";
import { parseRedisAddress } from "../../../src/bus/redis/redis-address.ts";
import { pauseBefore } from "../../../src/bus/redis/redis-connection.ts";

describe("addresses of a Redis", () => {
  test.each([
    ["redis://localhost", "localhost:6379", { host: "localhost", port: 6379 }],
    ["redis://localhost:6380/0", "localhost:6380", { host: "localhost", port: 6380 }],
    ["REDIS://h/", "h:6379", { host: "h", port: 6379 }],
    ["redis://:secret@h:1", "h:1", { host: "h", port: 1, password: "secret" }],
    ["redis://u:p%40%2F%3A@h", "h:6379", { host: "h", port: 6379, username: "u", password: "p@/:" }],
    ["redis://u:100%@h", "h:6379", { host: "h", port: 6379, username: "u", password: "100%" }],
    ["redis://u:a@b@h", "h:6379", { host: "h", port: 6379, username: "u", password: "a@b" }],
    ["redis://u@h", "h:6379", { host: "h", port: 6379, username: "u" }],
    ["redis://[::1]:7000", "[::1]:7000", { host: "::1", port: 7000 }],
    ["rediss://h:6380", "h:6380", { host: "h", port: 6380, tls: {} }],
    [
      "rediss://h?ssl_cert_reqs=none",
      "h:6379",
      { host: "h", port: 6379, tls: { rejectUnauthorized: false } },
    ],
    ["unix:/run/redis.sock", "/run/redis.sock", { path: "/run/redis.sock" }],
    ["unix:///run/redis.sock", "/run/redis.sock", { path: "/run/redis.sock" }],
    ["unix://:pw@/run/r%20s", "/run/r s", { path: "/run/r s", password: "pw" }],
    ["redis+cluster://a,b:7001", "a:6379,b:7001", {}],
    ["rediss+cluster://:pw@a:1", "a:1", { password: "pw", tls: {} }],
    [
      "redis+sentinel://u:pw@a,[::1]:5/my%20master/0",
      "my master of a:26379,[::1]:5",
      {
        username: "u",
        password: "pw",
        name: "my master",
        sentinels: [
          { host: "a", port: 26379 },
          { host: "::1", port: 5 },
        ],
      },
    ],
    [
      "rediss+sentinel://a/m",
      "m of a:26379",
      {
        name: "m",
        sentinels: [{ host: "a", port: 26379 }],
        tls: {},
        sentinelTLS: {},
        enableTLSForSentinelMode: true,
      },
    ],
  ])("%s", (url, shown, options) => {
    const address = parseRedisAddress(url);
    expect(address.shown).toBe(shown);
    expect(address.options).toEqual(options);
  });

  test.each([
    "",
    "localhost:6379",
    "http://h",
    "redis:",
    "redis://",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:x",
    "redis://a,b",
    "redis://h/db",
    "redis://h?db=1",
    "redis+sentinel://a",
    "redis+sentinel://a/",
    "redis+cluster://a,,b",
    "unix:",
    "unix:relative",
    "unix:/",
    "redis://u:hunter2@",
    "redis://u:hunter2@h:port",
    "rediss://u:hunter2@h?x=hunter2",
    "redys://u:hunter2@h",
  ])("%p is refused in one sentence that does not repeat it", (url) => {
    let caught: unknown;
    try {
      parseRedisAddress(url);
    } catch (error) {
      caught = error;
    }
    if (!(caught instanceof BusError)) throw new Error("not refused");
    expect(caught.code).toBe("bad-address");
    expect(caught.message).toMatch(/^redis_url is invalid: [^\n]+\.$/);
    expect(caught.message).not.toContain("hunter2");
  });

  test("pauses between tries grow, are jittered and never longer than 1.5 s", () => {
    for (let attempt = 1; attempt < 2000; attempt += attempt < 20 ? 1 : 100) {
      const pauses = Array.from({ length: 50 }, () => pauseBefore(attempt));
      expect(Math.max(...pauses)).toBeLessThanOrEqual(1500);
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(25);
      expect(new Set(pauses).size).toBeGreaterThan(10);
    }
    expect(pauseBefore(1)).toBeLessThanOrEqual(50);
    expect(pauseBefore(20)).toBeGreaterThanOrEqual(750);
  });
});
