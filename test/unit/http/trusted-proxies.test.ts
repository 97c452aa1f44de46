import { describe, expect, test } from "bun:test";
import { addressBlock, plainAddress } from "../../../src/auth/peer.ts";
import { createPeerOf } from "../../../src/http/trusted-proxies.ts";
import { testConfig } from "../auth/config.ts";

const behind = createPeerOf(
  testConfig({ trustedProxies: ["10.0.0.1", "10.0.0.2", "2001:db8::1"] }),
  () => {},
);

function through(peer: string | null, forwarded?: string, proto?: string) {
  const headers = new Headers();
  if (forwarded !== undefined) headers.set("x-forwarded-for", forwarded);
  if (proto !== undefined) headers.set("x-forwarded-proto", proto);
  return behind(headers, peer);
}

describe("the client's address", () => {
  test("is the peer's, whatever an untrusted peer says", () => {
    expect(through("192.0.2.7", "127.0.0.1", "https")).toEqual({
      address: "192.0.2.7",
      https: false,
      loopback: false,
    });
  });

  test("is the first from the right that is no trusted proxy", () => {
    expect(through("10.0.0.1", "203.0.113.9").address).toBe("203.0.113.9");
    expect(through("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2").address).toBe("203.0.113.9");
    expect(through("10.0.0.1", "127.0.0.1, 203.0.113.9")).toMatchObject({
      address: "203.0.113.9",
      loopback: false,
    });
    expect(through("2001:DB8:0::1", "2001:db8::0:99").address).toBe("2001:db8::99");
  });

  test("is loopback only if a trusted proxy says so or there is no proxy", () => {
    expect(through("10.0.0.1", "127.0.0.1").loopback).toBe(true);
    expect(through("::1").loopback).toBe(true);
    expect(through("::ffff:127.0.0.1")).toMatchObject({ address: "127.0.0.1", loopback: true });
    expect(through(null)).toEqual({ address: "unknown", https: false, loopback: false });
  });

  test("is not loopback where a proxy that is not trusted stands between; the first such proxy is reported, once", () => {
    for (const name of ["x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "via"]) {
      const reported: string[] = [];
      const clientOf = createPeerOf(testConfig({}), (peer) => reported.push(peer));
      expect(clientOf(new Headers(), "127.0.0.1").loopback).toBe(true);
      for (let times = 0; times < 2; times++) {
        expect(clientOf(new Headers({ [name]: "127.0.0.1" }), "127.0.0.1")).toEqual({
          address: "unknown",
          https: false,
          loopback: false,
        });
        expect(clientOf(new Headers({ [name]: "x" }), "192.0.2.7").address).toBe("192.0.2.7");
      }
      expect(reported).toEqual(["127.0.0.1"]);
    }
  });

  test("what can't be read hides everything left of it", () => {
    for (const bad of [
      "unknown",
      "",
      "1.2.3",
      "evil.example",
      "_hidden",
      "999.1.1.1",
      "fe80::1%eth0",
      "[::1",
      "::1]",
    ]) {
      expect(through("10.0.0.1", `203.0.113.9, ${bad}`).address).toBe("10.0.0.1");
      expect(through("10.0.0.1", `203.0.113.9, ${bad}, 10.0.0.2`).address).toBe("10.0.0.2");
    }
    expect(through("10.0.0.1").address).toBe("10.0.0.1");
  });

  test("is not loopback where a trusted proxy on this machine does not say for whom it asks", () => {
    const clientOf = createPeerOf(testConfig({ trustedProxies: ["127.0.0.1"] }), () => {});
    const loopback = (forwarded?: string) =>
      clientOf(new Headers(forwarded === undefined ? {} : { "x-forwarded-for": forwarded }), "127.0.0.1")
        .loopback;
    for (const unusable of [undefined, "", "unknown", "_hidden", "evil.example, 127.0.0.1", "127.0.0.1,"]) {
      expect([unusable, loopback(unusable)]).toEqual([unusable, false]);
    }
    expect(loopback("127.0.0.1")).toBe(true);
    expect(loopback("127.0.0.2, 127.0.0.1")).toBe(true);
    expect(loopback("203.0.113.1")).toBe(false);
  });

  test("may come with a port, and as IPv4 in IPv6", () => {
    expect(through("10.0.0.1", "203.0.113.9:4711").address).toBe("203.0.113.9");
    expect(through("10.0.0.1", "[2001:db8::99]:4711").address).toBe("2001:db8::99");
    expect(through("::ffff:10.0.0.1", "::ffff:203.0.113.9").address).toBe("203.0.113.9");
  });

  test("https is the listener's, unless a trusted proxy says otherwise", () => {
    expect(through("10.0.0.1", "1.1.1.1", "https").https).toBe(true);
    expect(through("10.0.0.1", "1.1.1.1", "http, HTTPS").https).toBe(true);
    expect(through("10.0.0.1", "1.1.1.1", "https, http").https).toBe(false);
    const tls = createPeerOf(
      testConfig({ tls: { cert: "", key: "" }, trustedProxies: ["10.0.0.1"] }),
      () => {},
    );
    expect(tls(new Headers(), "192.0.2.7").https).toBe(true);
    expect(tls(new Headers({ "x-forwarded-proto": "http" }), "10.0.0.1").https).toBe(false);
  });

  test("has one text, and limits take an IPv6 network as one owner", () => {
    expect(plainAddress("2001:DB8:0:0:0:0:0:1")).toBe("2001:db8::1");
    expect(plainAddress("nonsense")).toBeNull();
    expect(addressBlock("192.0.2.7")).toBe("192.0.2.7");
    expect(addressBlock("2001:db8::1")).toBe(addressBlock("2001:db8::ffff:1:2:3"));
    expect(addressBlock("2001:db8:0:1::1")).not.toBe(addressBlock("2001:db8::1"));
    expect(addressBlock("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2::/64");
    expect(addressBlock("::1")).toBe("0:0:0:0::/64");
    expect(addressBlock("1:2:3:4:5:6:7::")).toBe("1:2:3:4::/64");
  });
});
