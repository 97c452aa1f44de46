import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerWebSocket } from "bun";
import { Rejection } from "../../../src/auth/rejection.ts";
import { Siblings } from "../../../src/fleet/siblings.ts";
import { FirstWorker } from "../../../src/http/first-worker.ts";
import type { Protocol } from "../../../src/protocols/protocol.ts";
import { type SocketHandler, webSocketHandler } from "../../../src/transports/websocket.ts";
import { askRaw } from "../../integration/raw-http.ts";

const MIB = 1024 * 1024;
const PEER = { address: "192.0.2.1", https: false, loopback: false };

/** More than the kernel holds for a client that does not read. */
const SMALLER = 16;
const LARGER = 28;

const TOGETHER: Protocol = {
  name: "together",
  together: true,
  opensAt: () => true,
  matches: () => true,
  accept: () => new Rejection(404, "not_found", "Not used here."),
};

const UPGRADE =
  "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** The first worker, and a second one that passes sockets on to it. */
function startWorkers(maxBuffered: number) {
  const folder = mkdtempSync(join(tmpdir(), "channel-relay-"));
  const socketOf = () => join(folder, "1.sock");
  const opened: ((ws: ServerWebSocket<undefined>) => void)[] = [];
  const read: (() => void)[] = [];
  const first = Bun.serve({
    unix: socketOf(),
    fetch: (request, bun) => (bun.upgrade(request) ? undefined : new Response("no upgrade")),
    websocket: {
      backpressureLimit: 256 * MIB,
      message() {},
      open: (ws) => opened.shift()?.(ws),
      pong: () => read.shift()?.(),
    },
  });
  const relay = new FirstWorker({
    siblings: new Siblings({ worker: 2, count: 2, secret: "s".repeat(64), socketOf, numberOf: () => null }),
    protocols: [TOGETHER],
    limits: { idleTimeout: 600_000, maxBuffered: 128 * MIB },
    maxBuffered,
    longestPoll: 1000,
  });
  const closed: SocketHandler[] = [];
  const waiting: (() => void)[] = [];
  const second = Bun.serve<SocketHandler>({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request, bun) {
      const asked = { request, path: "/ws", query: new URLSearchParams(), peer: PEER, remote: null };
      const answer = await relay.pass(asked, true, bun);
      return answer instanceof Response ? answer : undefined;
    },
    websocket: webSocketHandler({ maxFrame: MIB, maxBuffered: 128 * MIB }, (handler) => {
      closed.push(handler);
      for (const resolve of waiting.splice(0)) resolve();
    }),
  });
  ends.push(async () => {
    await second.stop(true);
    await first.stop(true);
    rmSync(folder, { recursive: true, force: true });
  });

  /** A client that reads the answer to its upgrade and then nothing until `resume`. */
  async function connect() {
    const inner = Promise.withResolvers<ServerWebSocket<undefined>>();
    opened.push(inner.resolve);
    const upgraded = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    let bytes = 0;
    const client = await Bun.connect({
      hostname: "127.0.0.1",
      port: second.port ?? 0,
      socket: {
        open: (socket) => void socket.write(UPGRADE),
        data(socket, chunk) {
          if (bytes === 0) socket.pause();
          bytes += chunk.length;
          upgraded.resolve();
        },
        close: () => ended.resolve(),
      },
    });
    ends.push(() => client.terminate());
    const ws = await inner.promise;
    await upgraded.promise;
    return {
      ws,
      /** Sends `count` MiB, and waits until the second worker has them. */
      async send(count: number) {
        const arrived = Promise.withResolvers<void>();
        read.push(arrived.resolve);
        for (let i = 0; i < count; i++) ws.send(new Uint8Array(MIB - 1));
        ws.ping();
        await arrived.promise;
      },
      /** Reads until the connection ends; resolves to the bytes of all. */
      async rest(): Promise<number> {
        client.resume();
        await ended.promise;
        return bytes;
      },
    };
  }

  return {
    relay,
    closed,
    connect,
    async untilClosed(count: number) {
      while (closed.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
}

test("refuses a socket that the first worker does not accept in time", async () => {
  const folder = mkdtempSync(join(tmpdir(), "channel-relay-"));
  const socketOf = () => join(folder, "1.sock");
  const left = Promise.withResolvers<void>();
  const hangs = Bun.listen({ unix: socketOf(), socket: { data() {}, close: () => left.resolve() } });
  const relay = new FirstWorker({
    siblings: new Siblings({ worker: 2, count: 2, secret: "s".repeat(64), socketOf, numberOf: () => null }),
    protocols: [TOGETHER],
    limits: { idleTimeout: 600_000, maxBuffered: MIB },
    maxBuffered: MIB,
    longestPoll: 1000,
    acceptTimeout: 50,
  });
  const second = Bun.serve<SocketHandler>({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request, bun) {
      const asked = { request, path: "/ws", query: new URLSearchParams(), peer: PEER, remote: null };
      const answer = await relay.pass(asked, true, bun);
      return answer instanceof Rejection ? new Response(answer.code, { status: answer.status }) : undefined;
    },
    websocket: webSocketHandler({ maxFrame: MIB, maxBuffered: MIB }, () => {}),
  });
  ends.push(async () => {
    await second.stop(true);
    hangs.stop(true);
    rmSync(folder, { recursive: true, force: true });
  });
  const answer = await askRaw(second.port ?? 0, UPGRADE);
  expect([answer.status, answer.body]).toEqual([503, "worker_away"]);
  await left.promise;
});

test("does not keep what waits for a client that does not read after the other side has closed", async () => {
  const { connect, untilClosed } = startWorkers(256 * MIB);
  const client = await connect();
  await client.send(SMALLER);
  client.ws.close(4000, "over");
  await untilClosed(1);
  expect(await client.rest()).toBeLessThan(SMALLER * (MIB - 1));
});

test("cuts off the largest backlog if all together are over the limit", async () => {
  const { relay, closed, connect, untilClosed } = startWorkers(20 * MIB);
  const [larger, smaller] = [await connect(), await connect()];
  await larger.send(LARGER);
  await smaller.send(SMALLER);
  relay.tick(performance.now());
  await untilClosed(1);
  relay.tick(performance.now());
  expect(await larger.rest()).toBeLessThan(LARGER * (MIB - 1));
  await smaller.send(1);
  expect(closed).toHaveLength(1);
});
