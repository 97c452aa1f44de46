import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { readMetrics } from "../../soak/samples.ts";
import { enterGroups } from "../groups/groups-client.ts";
import { addressOf, eventually, VERSIONS } from "../phoenix-client.ts";
import { frame, openWebSocket } from "../websocket.ts";
import { startPoller } from "../wild/poller.ts";
import { ADMIN_SECRET, RETURNS_MEMORY, startWorld, type World } from "../world.ts";

const MIB = 1024 * 1024;
/** Bun closes a request that is not complete after about twelve seconds. */
const GIVEN_UP_MS = 25_000;
/** An answer that takes longer was delayed by more than a busy machine, in ms. */
const HELD_UP_MS = 8000;

let world: World;
beforeAll(async () => {
  world = await startWorld("redis", {
    env: RETURNS_MEMORY,
    toml: `presence_window = "10ms"\n[channels."quiet*"]\npresence = false\n[limits]\nmax_buffered_per_client = "8MiB"\n`,
  });
});
afterAll(() => world.stop());

function line(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(world.channel.port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
  });
}

function memory(): number {
  const status = readFileSync(`/proc/${world.channel.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

/** How long the server takes to answer another client, in ms. */
async function delay(): Promise<number> {
  const start = performance.now();
  expect((await fetch(`${world.channel.url}/health`)).status).toBe(200);
  return performance.now() - start;
}

async function untilNoConnections(): Promise<void> {
  await eventually(
    async () => {
      const metrics = [...(await readMetrics(world.channel.url))];
      return metrics
        .filter(([name]) => name.startsWith("channel_connections{"))
        .every(([, count]) => count === 0);
    },
    "all gone",
    10_000,
  );
}

describe.concurrent("slow requests", () => {
  test("a hundred requests whose heads come byte by byte delay no client, and are closed", async () => {
    const head = `GET /websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ${"s".repeat(200)}`;
    const lines = await Promise.all(Array.from({ length: 100 }, line));
    const closed = lines.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.on("error", () => {});
          socket.on("close", () => resolve());
        }),
    );
    let at = 0;
    const dripping = setInterval(() => {
      for (const socket of lines) if (socket.writable) socket.write(head.charAt(at % head.length));
      at++;
    }, 500);
    try {
      for (let i = 0; i < 20; i++) expect(await delay()).toBeLessThan(HELD_UP_MS);
      await Promise.race([Promise.all(closed), Bun.sleep(GIVEN_UP_MS)]);
      expect(lines.filter((socket) => !socket.destroyed).length).toBe(0);
    } finally {
      clearInterval(dripping);
      for (const socket of lines) socket.destroy();
    }
  }, 40_000);

  test("closes a request whose body never ends", async () => {
    const socket = await line();
    const closed = new Promise<string>((resolve) => {
      socket.on("data", () => {});
      socket.on("error", () => {});
      socket.on("close", () => resolve("given up"));
    });
    socket.write('POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{"chan');
    expect(await Promise.race([closed, Bun.sleep(GIVEN_UP_MS)])).toBe("given up");
  }, 40_000);
});

describe("half-open connections", () => {
  test("a client that closes its sending half still gets the answer; a socket that does so is closed, and leaves", async () => {
    const socket = await line();
    let answer = "";
    socket.on("data", (data) => {
      answer += data.toString();
    });
    socket.end("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    await new Promise((resolve) => socket.on("close", resolve));
    expect(answer).toStartWith("HTTP/1.1 200");

    const watcher = await world.connect();
    await watcher.join("room", { token: world.token("room", { id: "watcher" }) });
    const half = await line();
    half.on("error", () => {});
    const key = Buffer.alloc(16).toString("base64");
    half.write(
      `GET /websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    await new Promise((resolve) => half.once("data", resolve));
    const token = world.token("room", { id: "half" });
    half.write(frame(1, JSON.stringify(["1", "1", "room", "phx_join", { token }])));
    await watcher.frames.until((each) => /"joins":\{.*"half".*"leaves"/.test(each.text), "half came");
    half.end();
    await watcher.frames.until((each) => /"leaves":\{.*"half"/.test(each.text), "half left");
    half.destroy();
    watcher.socket.cut();
    await untilNoConnections();
  });

  test("a thousand idle connections delay no client", async () => {
    const before = memory();
    const lines = await Promise.all(Array.from({ length: 1000 }, line));
    for (const socket of lines) socket.on("error", () => {});
    expect(await delay()).toBeLessThan(HELD_UP_MS);
    expect(memory() - before).toBeLessThan(50 * MIB);
    for (const socket of lines) socket.destroy();
  });
});

describe("bombs", () => {
  test("closes a socket with 1002 on a compressed frame that was not negotiated, without decompressing it", async () => {
    const before = memory();
    const bomb = gzipSync(Buffer.alloc(200 * MIB)).subarray(10);
    const opened = await openWebSocket(addressOf(world.channel.url), {
      "sec-websocket-extensions": "permessage-deflate",
    });
    if (!("write" in opened)) throw new Error("refused");
    expect(opened.headers.get("sec-websocket-extensions")).toBeUndefined();
    const whole = frame(1, bomb);
    // RSV1: compressed (RFC 7692).
    whole[0] = (whole[0] ?? 0) | 0x40;
    opened.write(whole);
    expect((await opened.closed).code).toBeOneOf([1002, 1006]);
    expect(memory() - before).toBeLessThan(64 * MIB);
  });

  test("reads a body with content-encoding as it is: no JSON, no frames", async () => {
    const before = memory();
    const bomb = new Uint8Array(gzipSync(Buffer.alloc(100 * MIB, "[")));
    const headers = { "content-encoding": "gzip", "content-type": "application/x-ndjson" };
    const token = await fetch(`${world.channel.url}/token`, { method: "POST", headers, body: bomb });
    expect(token.status).toBe(400);
    const poller = await startPoller(world.channel.url);
    const posted = await fetch(
      `${world.channel.url}/longpoll?vsn=2.0.0&token=${encodeURIComponent(poller.token)}`,
      {
        method: "POST",
        headers,
        body: bomb,
      },
    );
    expect([posted.status, Object(await posted.json()).status]).toEqual([200, 500]);
    expect(memory() - before).toBeLessThan(64 * MIB);
  });

  test("closes a socket with 1009 when its fragments are too large together, before the last one", async () => {
    const opened = await openWebSocket(addressOf(world.channel.url));
    if (!("write" in opened)) throw new Error("refused");
    const part = "f".repeat(64 * 1024);
    for (let i = 0; i < 20 && !opened.isClosed; i++) {
      const piece = frame(i === 0 ? 1 : 0, part);
      piece[0] = (piece[0] ?? 0) & 0x7f;
      opened.write(piece);
    }
    expect((await opened.closed).code).toBe(1009);
  });

  test("closes a socket that sends many pings and does not read the pongs", async () => {
    const before = memory();
    const opened = await openWebSocket(addressOf(world.channel.url));
    if (!("write" in opened)) throw new Error("refused");
    opened.pause();
    const pings = Buffer.concat(Array.from({ length: 500 }, () => frame(9, "p".repeat(125))));
    // Far more than may be buffered for one client.
    for (let sent = 0; sent < 96 * MIB && !opened.isClosed; sent += pings.length) {
      opened.write(pings);
      if (sent % (4 * pings.length) === 0) await Bun.sleep(1);
    }
    opened.resume();
    expect((await opened.closed).code).toBe(1006);
    expect(memory() - before).toBeLessThan(64 * MIB);
  }, 30_000);

  test("closes a socket with 1009 at once when a frame announces a terabyte", async () => {
    const opened = await openWebSocket(addressOf(world.channel.url));
    if (!("write" in opened)) throw new Error("refused");
    opened.write(Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]));
    expect((await opened.closed).code).toBeOneOf([1002, 1006, 1009]);
  });
});

describe("invalid text", () => {
  const BROKEN = [
    Buffer.from([0xff]),
    Buffer.from([0xc3]),
    Buffer.from([0xed, 0xa0, 0x80]),
    Buffer.from([0xf5, 0x80, 0x80, 0x80]),
    Buffer.from([0xc0, 0xaf]),
  ];

  test("closes a socket with 1007 on invalid UTF-8 in a text frame, and refuses it in the body of a poll or token", async () => {
    for (const bytes of BROKEN) {
      const opened = await openWebSocket(addressOf(world.channel.url));
      if (!("write" in opened)) throw new Error("refused");
      const text = Buffer.concat([Buffer.from('[null,"1","ro'), bytes, Buffer.from('om","phx_join",{}]')]);
      opened.write(frame(1, text));
      expect((await opened.closed).code).toBe(1007);
      const poller = await startPoller(world.channel.url);
      expect((await poller.postBody(new Uint8Array(text), "application/x-ndjson")).status).toBe(500);
      // Its session continues.
      expect((await poller.post(`[null,"2","phoenix","heartbeat",{}]`)).status).toBe(200);
      const body = Buffer.concat([Buffer.from('{"channel":"ro'), bytes, Buffer.from('om"}')]);
      const minted = await fetch(`${world.channel.url}/token`, {
        method: "POST",
        body: new Uint8Array(body),
      });
      expect(minted.status).toBe(400);
    }
  });

  test("counts the sockets that it closes for invalid bytes by fault", async () => {
    const ended = async (fault: string): Promise<number> =>
      (await readMetrics(world.channel.url)).get(`channel_disconnects_total{reason="${fault}"}`) ?? 0;
    const faults: readonly (readonly [string, number, Buffer])[] = [
      ["invalid_utf8", 1007, frame(1, Buffer.from([0xff]))],
      ["protocol_error", 1002, Buffer.from([0x81, 1, 65])],
    ];
    for (const [fault, code, bytes] of faults) {
      const before = await ended(fault);
      const opened = await openWebSocket(addressOf(world.channel.url));
      if (!("write" in opened)) throw new Error("refused");
      opened.write(bytes);
      expect((await opened.closed).code).toBe(code);
      await eventually(async () => (await ended(fault)) === before + 1, fault);
    }
  });

  test("is a binary payload from a backend, or an invalid channel name", async () => {
    const client = await world.connect();
    const old = await world.connect({ vsn: "1.0.0" });
    for (const each of [client, old]) await each.join("quiet", { token: world.token("quiet") });
    for (const bytes of BROKEN) {
      await world.backend.publish(Buffer.concat([Buffer.from("to:quiet:"), bytes]), "1");
      await world.backend.publish(Buffer.concat([Buffer.from("to:qu"), bytes, Buffer.from("iet:news")]), "1");
      await world.backend.publish("to:quiet:news", bytes);
      const news = await client.event("news");
      expect([news.kind, news.payload]).toEqual(["binary push", bytes]);
      expect((await old.event("news")).payload).toEqual({ base64: bytes.toString("base64") });
    }
    const malformed = (await readMetrics(world.channel.url)).get(
      'channel_bus_messages_dropped_total{reason="malformed"}',
    );
    expect(malformed).toBe(2 * BROKEN.length);
    for (const each of [client, old]) each.socket.cut();
  });

  test.each([...VERSIONS])(
    "lone surrogates, %s: refused as topic, event or user, and unchanged in a payload",
    async (vsn) => {
      const client = await world.connect({ vsn });
      const raw = (topic: string, event: string, payload: string, ref: string): string =>
        vsn === "2.0.0"
          ? `["1","${ref}","${topic}","${event}",${payload}]`
          : `{"topic":"${topic}","event":"${event}","payload":${payload},"ref":"${ref}"}`;
      const token = world.token("*");
      client.sendText(raw("\\ud800", "phx_join", JSON.stringify({ token }), "a"));
      expect((await client.reply("a")).response).toEqual({ reason: "invalid topic" });
      client.sendText(
        raw("quiet", "phx_join", JSON.stringify({ token: world.token("quiet", { id: "\ud800" }) }), "b"),
      );
      expect((await client.reply("b")).response).toMatchObject({ reason: "unauthorized" });
      client.sendText(raw("quiet", "phx_join", JSON.stringify({ token: world.token("quiet") }), "1"));
      expect((await client.reply("1")).status).toBe("ok");
      client.sendText(raw("quiet", "\\udc00", "{}", "c"));
      expect((await client.reply("c")).response).toEqual({ reason: "invalid event" });
      const received = await world.backend.listen("from:quiet:said");
      client.sendText(raw("quiet", "said", '{"\\ud800":"\\udfff"}', "d"));
      expect((await client.reply("d")).status).toBe("ok");
      expect((await received.next()).payload.toString()).toBe('{"\\ud800":"\\udfff"}');
      await world.backend.publish("to:quiet:back", '"\\ud83d"');
      expect((await client.event("back")).payload).toBe("\ud83d");
      client.socket.cut();
    },
  );
});

describe("__proto__ and similar names", () => {
  const NAMES = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf"];

  test("are ordinary users, topics, events and keys, in every protocol", async () => {
    for (const name of NAMES) {
      const minted = await fetch(`${world.channel.url}/token`, {
        method: "POST",
        body: `{"channel":${JSON.stringify(name)},"id":${JSON.stringify(name)}}`,
      });
      const body: unknown = await minted.json();
      expect([minted.status, body]).toEqual([200, { id: name, channel: name, token: expect.any(String) }]);
      const { token } = Object(body);
      const [v2, v1] = [await world.connect(), await world.connect({ vsn: "1.0.0" })];
      for (const client of [v2, v1]) {
        expect((await client.join(name, { token })).status).toBe("ok");
        const state = await client.event("presence_state", name);
        expect(Object.getOwnPropertyNames(state.payload)).toEqual([name]);
      }
      const groups = await enterGroups(world.channel.url, token);
      groups.sendText(`{"groups":{${JSON.stringify(name)}:[${JSON.stringify(name)}]}}`);
      await groups.texts.until((text) => text.includes(`"groups_current":["${name}-${name}"]`), "its group");
      const payload = `{"__proto__":{"polluted":true},"constructor":{"prototype":1}}`;
      await world.backend.publish(`to:${name}:${name}`, payload);
      expect((await v2.event(name, name)).text).toBe(`[null,null,"${name}","${name}",${payload}]`);
      await v1.event(name, name);
      await groups.texts.until((text) => text === payload, "the payload");
      const received = await world.backend.listen(`from:${name}:${name}`);
      expect((await v2.ask({ topic: name, event: name, payload })).status).toBe("ok");
      expect((await received.next()).payload.toString()).toBe(payload);
      const headers = { authorization: `Bearer ${ADMIN_SECRET}` };
      const members = await fetch(`${world.channel.url}/api/channels/${name}`, { headers });
      expect(members.status).toBe(200);
      for (const client of [v2, v1]) client.socket.cut();
      groups.socket.cut();
      await eventually(
        async () => (await fetch(`${world.channel.url}/api/channels/${name}`, { headers })).status === 404,
        "its end",
      );
    }
    // The server still works.
    expect((await fetch(`${world.channel.url}/health`)).status).toBe(200);
    expect(world.channel.lines.filter(({ level }) => level === "error")).toEqual([]);
  });
});
