import { afterAll, beforeAll, expect, test } from "bun:test";
import { labelled, readMetrics } from "../../soak/samples.ts";
import { addressOf } from "../phoenix-client.ts";
import { askRaw, openRawHttp, type RawHttp } from "../raw-http.ts";
import { openWebSocket } from "../websocket.ts";
import { ask, begin, startPoller } from "../wild/poller.ts";
import { ADMIN_SECRET, startWorld, type World } from "../world.ts";

/** Per address: the rate per second, and the burst. */
const RATE = 1;
const BURST = 10 * RATE;
const PLACES = 15;

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `
trusted_proxies = ["127.0.0.1"]
[[api_keys]]
key = "a-key-that-may-read-and-nothing-else"
can = ["read"]
[channelstream]
secret = "a-secret-of-channelstream-long-enough"
[limits]
connects_per_second_per_ip = ${RATE}
max_connections_per_ip = ${PLACES}
`,
  });
});
afterAll(() => world.stop());

/** Sends a request as a client with this address, behind the trusted proxy. */
function from(
  address: string,
  path: string,
  init: { method?: string; headers?: object; body?: string } = {},
) {
  const headers = { "x-forwarded-for": address, connection: "close", ...init.headers };
  return fetch(world.channel.url + path, { ...init, headers });
}

async function statuses(count: number, ask: () => Promise<{ readonly status: number }>): Promise<number[]> {
  const all: number[] = [];
  for (let i = 0; i < count; i++) all.push((await ask()).status);
  return all;
}

/** Uses what an address has left, and the next one that it gets: from then on its requests are refused for a second. */
async function exhaust(address: string): Promise<void> {
  for (let refused = false; ; ) {
    const { status } = await from(address, "/");
    if (status !== 429 && refused) return;
    refused ||= status === 429;
  }
}

/** Asks twice as often as the burst permits. */
async function expectLimited(ask: () => Promise<{ readonly status: number }>, good: number): Promise<void> {
  const began = performance.now();
  expectRate(await statuses(2 * BURST, ask), good, began);
}

/** A part of the burst recovers while it is used. */
function expectRate(all: readonly number[], good: number, began: number): void {
  const passed = all.filter((status) => status === good).length;
  expect(passed).toBeWithin(BURST, BURST + 2 + Math.ceil(((performance.now() - began) / 1000) * RATE));
  expect(all.filter((status) => status !== good)).toEqual(
    Array.from({ length: all.length - passed }, () => 429),
  );
}

test("limits the plain requests of an address by its connection rate, for every path", async () => {
  const refused = async () =>
    labelled(await readMetrics(world.channel.url), "channel_refused_total", "http_429");
  const before = await refused();
  await expectLimited(() => from("192.0.2.1", "/"), 200);
  expect(await refused()).toBeGreaterThan(before);
  await expectLimited(() => from("192.0.2.2", "/nowhere"), 404);
  const token = () => from("192.0.2.3", "/token", { method: "POST", body: '{"channel":"room"}' });
  await expectLimited(token, 200);
  await expectLimited(() => from("192.0.2.4", "/websocket"), 426);
  await expectLimited(() => from("192.0.2.5", "/listen?conn_id=x"), 422);
  // Loopback has no limit.
  expect(new Set(await statuses(3 * BURST, () => from("127.0.0.1", "/nowhere")))).toEqual(new Set([404]));
});

test("refuses a request over the rate before its body is read, and closes its connection", async () => {
  await exhaust("192.0.2.10");
  const http = await openRawHttp(world.channel.port);
  http.write(
    "POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.10\r\nContent-Length: 1000\r\n\r\n{",
  );
  const answer = await http.answer();
  expect([answer.status, JSON.parse(answer.body)]).toEqual([
    429,
    { error: expect.stringContaining("address"), code: "too_many_connects" },
  ]);
  await http.closed;
});

test("sockets, polls and requests share one budget", async () => {
  await exhaust("192.0.2.20");
  const forwarded = { "x-forwarded-for": "192.0.2.20" };
  expect((await openWebSocket(addressOf(world.channel.url), forwarded)).status).toBe(429);
  await exhaust("192.0.2.20");
  expect(await begin(world.channel.url, { headers: forwarded })).toMatchObject({ http: 200, status: 500 });
  await exhaust("192.0.2.20");
  const stray = await ask(`${world.channel.url}/longpoll?vsn=2.0.0&token=none`, {
    method: "POST",
    headers: forwarded,
  });
  expect(stray).toMatchObject({ http: 200, status: 500 });
});

test("does not limit connected clients, requests with a secret, and health checks", async () => {
  const address = "192.0.2.30";
  const poller = await startPoller(world.channel.url, { headers: { "x-forwarded-for": address } });
  await exhaust(address);
  for (let i = 0; i < BURST; i++) {
    expect((await poller.post(`[null,"${i}","phoenix","heartbeat",{}]`)).status).toBe(200);
    expect((await poller.poll()).messages).toHaveLength(1);
  }
  const bearer = (secret: string) => ({ headers: { authorization: `Bearer ${secret}` } });
  const asked = () => from(address, "/api/stats", bearer(ADMIN_SECRET));
  expect(new Set(await statuses(BURST, asked))).toEqual(new Set([200]));
  const read = () => from(address, "/metrics", bearer("a-key-that-may-read-and-nothing-else"));
  expect(new Set(await statuses(BURST, read))).toEqual(new Set([200]));
  expect(new Set(await statuses(BURST, () => from(address, "/health")))).toEqual(new Set([200]));
  expect((await from(address, "/ready")).status).toBe(200);
  await exhaust(address);
  expect((await from(address, "/api/stats", bearer("no-such-key-is-known-here"))).status).toBe(429);
  await exhaust(address);
  expect((await from(address, "/token", bearer(world.token("room")))).status).toBe(429);
});

test("counts kept-alive connections of an address: refuses one more, and serves the existing ones", async () => {
  const head = (address: string) =>
    `GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: ${address}\r\n\r\n`;
  const kept: RawHttp[] = [];
  const answers: number[] = [];
  const began = performance.now();
  for (let i = 0; i < PLACES; i++) {
    const http = await openRawHttp(world.channel.port);
    http.write(head("192.0.2.40"));
    answers.push((await http.answer()).status);
    kept.push(http);
  }
  // Over the rate they are refused, and their connections count like others.
  expectRate(answers, 404, began);
  const one = await openWebSocket(addressOf(world.channel.url), { "x-forwarded-for": "192.0.2.40" });
  expect([429, 503]).toContain(one.status);
  const more = await askRaw(world.channel.port, head("192.0.2.40"));
  expect([more.status, JSON.parse(more.body)]).toEqual([
    503,
    {
      error: "Connection limit of this address reached (limits.max_connections_per_ip).",
      code: "too_many_connections_of_address",
    },
  ]);
  expect((await askRaw(world.channel.port, head("192.0.2.41"))).status).toBe(404);
  const [first] = kept;
  first?.write(head("192.0.2.40"));
  expect([404, 429]).toContain((await first?.answer())?.status ?? 0);
  for (const each of kept) each.cut();
});
