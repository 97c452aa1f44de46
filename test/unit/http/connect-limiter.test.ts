import { expect, test } from "bun:test";
import type { Peer } from "../../../src/auth/peer.ts";
import { ConnectLimiter } from "../../../src/http/connect-limiter.ts";
import { LocalCounts } from "../../../src/http/connection-counts.ts";
import { testConfig } from "../auth/config.ts";

const limits = testConfig().limits;
const client = (address: string): Peer => ({ address, https: false, loopback: address === "127.0.0.1" });

function limiter(changes: Partial<typeof limits>) {
  let time = 1_000;
  const made = new ConnectLimiter({ ...limits, ...changes }, undefined, () => time);
  const wait = (ms: number) => {
    time += ms;
  };
  return { made, wait };
}

test("places run out for all addresses, and become free again", () => {
  const { made } = limiter({ maxConnections: 2 });
  expect(made.admit(client("127.0.0.1"))).toBeNull();
  expect(made.admit(client("192.0.2.1"))).toBeNull();
  expect(made.admit(client("127.0.0.1"))?.status).toBe(503);
  made.release(client("192.0.2.1"));
  expect(made.admit(client("127.0.0.1"))).toBeNull();
  expect(made.open).toBe(2);
});

test("one address has a limit of its own, loopback has none", () => {
  const { made } = limiter({ maxConnectionsPerIp: 2 });
  for (let count = 0; count < 2; count++) expect(made.admit(client("192.0.2.1"))).toBeNull();
  expect(made.admit(client("192.0.2.1"))?.status).toBe(503);
  expect(made.admit(client("192.0.2.2"))).toBeNull();
  for (let count = 0; count < 10; count++) expect(made.admit(client("127.0.0.1"))).toBeNull();
  made.release(client("192.0.2.1"));
  expect(made.admit(client("192.0.2.1"))).toBeNull();
});

test("addresses of one IPv6 network share their limit", () => {
  const { made } = limiter({ maxConnectionsPerIp: 2 });
  expect(made.admit(client("2001:db8::1"))).toBeNull();
  expect(made.admit(client("2001:db8::2"))).toBeNull();
  expect(made.admit(client("2001:db8::3"))?.status).toBe(503);
  expect(made.admit(client("2001:db8:0:1::3"))).toBeNull();
});

test("a burst of ten seconds is allowed, then the configured rate; loopback is exempt", () => {
  const { made, wait } = limiter({ connectsPerSecondPerIp: 5 });
  for (let count = 0; count < 50; count++) expect(made.admit(client("192.0.2.1"))).toBeNull();
  expect(made.admit(client("192.0.2.1"))?.status).toBe(429);
  expect(made.admit(client("192.0.2.2"))).toBeNull();
  wait(1_000);
  for (let count = 0; count < 5; count++) expect(made.admit(client("192.0.2.1"))).toBeNull();
  expect(made.admit(client("192.0.2.1"))?.status).toBe(429);
  for (let count = 0; count < 100; count++) expect(made.admit(client("127.0.0.1"))).toBeNull();
});

test("those refused hold no place", () => {
  const { made } = limiter({ connectsPerSecondPerIp: 1, maxConnectionsPerIp: 3 });
  for (let count = 0; count < 100; count++) made.admit(client("192.0.2.1"));
  expect(made.open).toBe(3);
  for (let count = 0; count < 3; count++) made.release(client("192.0.2.1"));
  made.release(client("192.0.2.1"));
  expect(made.open).toBe(0);
});

test("memory is bounded, and what is full again is forgotten", () => {
  let time = 1_000;
  const counts = new LocalCounts(() => time);
  const made = new ConnectLimiter(limits, undefined, () => time, counts);
  for (let count = 0; count < 50_000; count++) {
    const address = `10.${count >> 16}.${(count >> 8) & 255}.${count & 255}`;
    made.admit(client(address));
    made.release(client(address));
  }
  expect(counts.tracked).toBeLessThanOrEqual(20_000);
  time += 10_000;
  made.admit(client("192.0.2.1"));
  expect(counts.tracked).toBe(1);
});

test("connections between two requests hold places of their address until they can be there no longer", () => {
  const { made, wait } = limiter({ maxConnectionsPerIp: 3 });
  const here = client("192.0.2.1");
  for (const port of [1, 2, 1, 2]) expect(made.request(here, port)).toBeNull();
  expect(made.admit(here)).toBeNull();
  expect(made.request(here, 3)?.status).toBe(503);
  expect(made.admit(here)?.status).toBe(503);
  expect(made.request(here, null)?.status).toBe(503);
  // An existing connection continues; other addresses and loopback are not limited.
  expect(made.request(here, 2)).toBeNull();
  expect(made.request(client("192.0.2.2"), 3)).toBeNull();
  for (let port = 0; port < 10; port++) expect(made.request(client("127.0.0.1"), port)).toBeNull();
  wait(11_000);
  expect(made.request(here, 2)).toBeNull();
  wait(11_000);
  // The first has not asked for 22 s, the second for 11.
  expect(made.request(here, 4)).toBeNull();
  expect(made.request(here, 5)?.status).toBe(503);
  wait(30_000);
  for (const port of [6, 7]) expect(made.request(here, port)).toBeNull();
  expect(made.request(here, 8)?.status).toBe(503);
});

test("requests and connections spend one rate", () => {
  const { made, wait } = limiter({ connectsPerSecondPerIp: 1 });
  const here = client("192.0.2.1");
  for (let i = 0; i < 5; i++) expect(made.request(here, null)).toBeNull();
  for (let i = 0; i < 5; i++) expect(made.admit(here)).toBeNull();
  expect(made.request(here, null)?.status).toBe(429);
  expect(made.admit(here)?.status).toBe(429);
  wait(1000);
  expect(made.request(here, null)).toBeNull();
  expect(made.mayBegin(here)?.status).toBe(429);
});
