import { describe, expect, test } from "bun:test";
import type { Config } from "../../../src/config/config.ts";
import { checkHost, checkOrigin, corsHeaders, preflightHeaders } from "../../../src/http/admission.ts";
import { testConfig } from "../auth/config.ts";

function host(name: string | null, changes: Partial<Config> = {}): number {
  const headers = name === null ? new Headers() : new Headers({ host: name });
  return checkHost(headers, testConfig(changes))?.status ?? 200;
}

describe("the host asked for", () => {
  test("by itself: addresses and loopback names, with any port", () => {
    const good = [
      "127.0.0.1:2025",
      "localhost",
      "LOCALHOST:1",
      "a.localhost:80",
      "[::1]:2025",
      "192.168.1.4",
      "localhost.",
    ];
    for (const name of good) expect(host(name)).toBe(200);
    for (const name of [
      "evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "evillocalhost",
    ]) {
      expect(host(name)).toBe(403);
    }
    expect(host(null)).toBe(200);
  });

  test("what is no host name is a bad request", () => {
    for (const name of [
      "evil.example/127.0.0.1",
      "user@localhost",
      "a b",
      "",
      ":",
      "[::1",
      "localhost:x",
      "?",
    ]) {
      expect(host(name)).toBe(400);
    }
  });

  test("the name of public_url and those listed are good beside them", () => {
    expect(host("hub.example", { publicUrl: "https://hub.example/x" })).toBe(200);
    expect(host("other.example", { publicUrl: "https://hub.example" })).toBe(403);
    expect(host("a.example:8080", { allowedHosts: ["a.example"] })).toBe(200);
    expect(host("localhost", { allowedHosts: ["a.example"] })).toBe(200);
    expect(host("b.a.example", { allowedHosts: ["a.example"] })).toBe(403);
  });

  test("listening beyond loopback any name is good, until public_url is set or some are listed", () => {
    expect(host("evil.example", { host: "0.0.0.0" })).toBe(200);
    const named = { host: "0.0.0.0", publicUrl: "https://hub.example/x" };
    expect(host("evil.example", named)).toBe(403);
    expect(host("hub.example", named)).toBe(200);
    // No name leads a browser to them.
    for (const good of ["192.0.2.4:2025", "[2001:db8::1]", "localhost:2025"])
      expect(host(good, named)).toBe(200);
    expect(host("evil.example", { host: "0.0.0.0", allowedHosts: ["a.example"] })).toBe(403);
  });

  test("the refusal names the key to change, and is short", () => {
    const refusal = checkHost(
      new Headers({ host: `${"a".repeat(60)}.${"b".repeat(60)}.example` }),
      testConfig(),
    );
    expect(refusal?.reason).toContain("allowed_hosts");
    expect(refusal?.reason.length).toBeLessThan(200);
  });
});

function origin(from: string | null, changes: Partial<Config> = {}, to = "127.0.0.1:2025"): boolean {
  const headers = new Headers({ host: to });
  if (from !== null) headers.set("origin", from);
  return checkOrigin(headers, testConfig(changes)) === null;
}

describe("the origin", () => {
  test("same-host: any port of the host asked for", () => {
    expect(origin("http://hub.example:5173", {}, "hub.example:2025")).toBe(true);
    expect(origin("https://hub.example", {}, "HUB.example")).toBe(true);
    expect(origin("http://evil.example", {}, "hub.example")).toBe(false);
    expect(origin("http://a.hub.example", {}, "hub.example")).toBe(false);
    expect(origin("http://hub.example.evil.example", {}, "hub.example")).toBe(false);
  });

  test("all loopback names are one host", () => {
    for (const name of ["localhost:3000", "127.0.0.1", "[::1]:1", "127.0.0.2", "x.localhost"]) {
      expect(origin(`http://${name}`)).toBe(true);
      expect(origin(`http://${name}`, {}, "[::1]:2025")).toBe(true);
      expect(origin(`http://${name}`, {}, "hub.example")).toBe(false);
    }
    expect(origin("http://0.0.0.0:3000")).toBe(false);
  });

  test("absent is allowed, null and what is no website are foreign", () => {
    expect(origin(null)).toBe(true);
    for (const name of [
      "null",
      "",
      "file://",
      "chrome-extension://127.0.0.1",
      "http://",
      "127.0.0.1",
      "ws://127.0.0.1",
    ]) {
      expect(origin(name)).toBe(false);
    }
  });

  test("with * every origin is allowed, null included", () => {
    expect(origin("http://evil.example", { allowedOrigins: "*" })).toBe(true);
    expect(origin("null", { allowedOrigins: "*" })).toBe(true);
  });

  test("a list is exact, and our own pages stand beside it", () => {
    const allowedOrigins = ["https://app.example"];
    expect(origin("https://app.example", { allowedOrigins })).toBe(true);
    expect(origin("http://app.example", { allowedOrigins })).toBe(false);
    expect(origin("https://app.example:8443", { allowedOrigins })).toBe(false);
    expect(origin("http://127.0.0.1:3000", { allowedOrigins })).toBe(false);
    expect(origin("http://127.0.0.1:2025", { allowedOrigins })).toBe(true);
    expect(origin("null", { allowedOrigins })).toBe(false);
  });

  test("public_url is our own address although a proxy asks for another", () => {
    expect(origin("https://hub.example", { publicUrl: "https://hub.example/x" })).toBe(true);
    expect(origin("https://hub2.example", { publicUrl: "https://hub.example/x" })).toBe(false);
  });
});

describe("CORS", () => {
  const headers = (from?: string) =>
    new Headers({ host: "127.0.0.1:2025", ...(from === undefined ? {} : { origin: from }) });

  test("an allowed origin may read the answer, a foreign one may not, caches keep them apart", () => {
    expect(corsHeaders(headers("http://localhost:3000"), testConfig())).toEqual({
      "access-control-allow-origin": "http://localhost:3000",
      vary: "Origin",
    });
    expect(corsHeaders(headers("http://evil.example"), testConfig())).toEqual({ vary: "Origin" });
    expect(corsHeaders(headers(), testConfig())).toEqual({ vary: "Origin" });
    expect(corsHeaders(headers("null"), testConfig({ allowedOrigins: "*" }))).toEqual({
      "access-control-allow-origin": "*",
    });
  });

  test("a question beforehand is answered with the headers that it asked for", () => {
    const asking = headers("http://localhost:3000");
    asking.set("access-control-request-headers", "content-type, x-phoenix-authtoken");
    expect(preflightHeaders(asking, testConfig(), "POST")).toEqual({
      "access-control-allow-origin": "http://localhost:3000",
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "content-type, x-phoenix-authtoken",
      "access-control-max-age": "600",
      vary: "Origin, Access-Control-Request-Headers",
    });
  });
});
