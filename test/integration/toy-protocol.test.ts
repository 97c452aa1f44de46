import { afterAll, beforeAll, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/config.ts";
import type { Log } from "../../src/log.ts";
import { PROTOCOLS, type RunningServer, startServer } from "../../src/server.ts";
import { createToy } from "./toy-protocol.ts";

/*
 * A protocol is one file (toy-protocol.ts) and one line, the list that `startServer` gets below.
 */

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
const ADMIN_SECRET = "the-administrator-of-these-tests-and-nobody-else";

let server: RunningServer;
beforeAll(async () => {
  const flags = { host: "127.0.0.1", port: "0", bus: "embedded" };
  const env = {
    CHANNEL_ADMIN_SECRET: ADMIN_SECRET,
    CHANNEL_JWT_SECRET: "a-secret-of-these-tests-that-is-long",
  };
  const loaded = loadConfig({ flags, env, cwd: "/tmp" });
  if (!loaded.ok) throw new Error(loaded.message);
  server = await startServer(loaded.config, SILENT, [...PROTOCOLS, createToy]);
});
afterAll(() => server.stop());

interface Toy {
  readonly socket: WebSocket;
  readonly frames: string[];
  /** Resolves when `count` frames were received. */
  until(count: number): Promise<string[]>;
}

async function connect(path: string): Promise<Toy> {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}${path}`);
  const frames: string[] = [];
  let check = () => {};
  socket.onmessage = ({ data }) => {
    frames.push(String(data));
    check();
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const until = (count: number) =>
    new Promise<string[]>((resolve) => {
      check = () => frames.length >= count && resolve(frames);
      check();
    });
  return { socket, frames, until };
}

async function publish(channel: string, event: string, payload: unknown): Promise<number> {
  const response = await fetch(`${server.url}/api/publish`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN_SECRET}`, "content-type": "application/json" },
    body: JSON.stringify({ channel, event, payload }),
  });
  return response.status;
}

test("its sockets receive messages of the API and of each other, and its route responds", async () => {
  const [one, two, other] = await Promise.all([
    connect("/toy/room"),
    connect("/toy/room"),
    connect("/toy/elsewhere"),
  ]);
  expect(await (await fetch(`${server.url}/toy`)).json()).toEqual({ sockets: 3 });
  expect(await publish("room", "greet", { a: 1 })).toBe(200);
  expect(await one.until(1)).toEqual(['greet {"a":1}']);
  expect(await two.until(1)).toEqual(['greet {"a":1}']);
  one.socket.send("hello");
  expect(await two.until(2)).toEqual(['greet {"a":1}', 'said "hello"']);
  expect(other.frames).toEqual([]);
  const closed = new Promise((resolve) => {
    other.socket.onclose = resolve;
  });
  other.socket.close();
  await closed;
  let sockets = 3;
  while (sockets !== 2) sockets = (await (await fetch(`${server.url}/toy`)).json()).sockets;
  one.socket.close();
  two.socket.close();
});

test("rejects a plain request at its socket path, and the other protocols still work", async () => {
  const plain = await fetch(`${server.url}/toy/room`);
  expect([plain.status, plain.headers.get("upgrade")]).toEqual([426, "websocket"]);
  const phoenix = await connect("/socket/websocket?vsn=2.0.0");
  phoenix.socket.send('[null,"1","phoenix","heartbeat",{}]');
  expect(await phoenix.until(1)).toEqual(['[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]']);
  phoenix.socket.close();
});
