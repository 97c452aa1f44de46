import { describe, expect, test } from "bun:test";
import { withoutSessions } from "../../../src/auth/admin.ts";
import { mayUseCookies } from "../../../src/auth/same-origin.ts";

const LISTED = ["https://app.example", "https://other.example:8443"];

/** Whether cookies of a page count, or of no page with `origin` `null`. */
function counts(
  origin: string | null,
  {
    host = "hub.example",
    allowed = "same-host" as "same-host" | "*" | readonly string[],
    publicUrl = null as string | null,
    https = false,
    site = null as string | null,
  } = {},
): boolean {
  const headers = new Headers({ host });
  if (origin !== null) headers.set("origin", origin);
  if (site !== null) headers.set("sec-fetch-site", site);
  return mayUseCookies(headers, { allowedOrigins: allowed, publicUrl }, https);
}

describe("cookies of a client count", () => {
  test("where they come from no page", () => {
    expect(counts(null)).toBe(true);
    expect(counts(null, { site: "same-origin" })).toBe(true);
    for (const site of ["cross-site", "same-site"]) expect(counts(null, { site })).toBe(false);
  });

  test("from a page of the same host, at any port", () => {
    for (const allowed of ["same-host", "*", LISTED] as const) {
      expect(counts("http://hub.example", { allowed })).toBe(true);
      expect(counts("http://hub.example:8000", { allowed, host: "hub.example:2025" })).toBe(true);
      expect(counts("https://hub.example", { allowed, https: true })).toBe(true);
    }
    expect(counts("http://localhost:8000", { host: "127.0.0.1:2025" })).toBe(true);
    const publicUrl = "http://hub.example";
    expect(counts("http://localhost:8000", { host: "127.0.0.1:2025", publicUrl })).toBe(false);
    expect(counts("https://www.example", { publicUrl: "https://www.example", host: "10.0.0.1" })).toBe(true);
  });

  test("not from another one, though any may connect", () => {
    for (const allowed of ["same-host", "*", LISTED] as const) {
      for (const origin of [
        "https://evil.example",
        "http://hub.example.evil.example",
        "http://sub.hub.example",
        "http://hub.example@evil.example",
        "http://evil.example\\@hub.example",
        "null",
        "file://",
        "",
      ])
        expect({ origin, counts: counts(origin, { allowed }) }).toEqual({ origin, counts: false });
      expect(counts("http://localhost", { allowed })).toBe(false);
    }
  });

  test("from a page of an origin that is listed, exactly", () => {
    for (const origin of LISTED) {
      expect(counts(origin, { allowed: LISTED })).toBe(true);
      expect(counts(origin)).toBe(false);
      expect(counts(origin, { allowed: "*" })).toBe(false);
    }
    expect(counts("https://app.example:8443", { allowed: LISTED })).toBe(false);
    expect(counts("http://app.example", { allowed: LISTED })).toBe(false);
  });

  test("not from a page without TLS where the server has it: an attacker on the network can forge one", () => {
    expect(counts("http://hub.example", { https: true })).toBe(false);
    const publicUrl = "https://hub.example";
    expect(counts("http://hub.example", { publicUrl })).toBe(false);
    expect(counts("https://hub.example", { publicUrl })).toBe(true);
  });

  test("not where the Host is no name", () => {
    expect(counts("http://hub.example", { host: "hub.example/x" })).toBe(false);
  });
});

describe("a cookie header", () => {
  test("is forwarded without the administrator's sessions", () => {
    expect(withoutSessions("a=1; channel_session=x.y; b=2;channel_session=z")).toBe("a=1; b=2");
    expect(withoutSessions("channel_session=x")).toBe("");
    expect(withoutSessions("a=1;  b=channel_session=2")).toBe("a=1; b=channel_session=2");
    expect(withoutSessions("a=1;b=2")).toBe("a=1;b=2");
  });
});
