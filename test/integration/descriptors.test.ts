import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { SECRET } from "./world.ts";

/** The limit on open files, the descriptors reserved for the server, and the number of connections that a test opens. */
const LIMIT = 256;
const RESERVED = 64;
const CONNECTIONS = 400;

const UPGRADE = [
  "GET /websocket?vsn=2.0.0 HTTP/1.1",
  "Host: 127.0.0.1",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
  "\r\n",
].join("\r\n");

let channel: ChannelProcess;
let busPort: number;
let client: PhoenixClient;
let opened: RawConnection[] = [];

/** One TCP connection, and what it has received up to now. */
interface RawConnection {
  readonly socket: Socket;
  answer: string;
  ended: boolean;
}

beforeEach(async () => {
  busPort = freePort();
  channel = await startChannel({
    under: ["prlimit", `--nofile=${LIMIT}:${LIMIT}`],
    args: [...["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${busPort}`, "--jwt-secret", SECRET]],
  });
  client = await connectPhoenix(channel.url);
  await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
});

afterEach(async () => {
  for (const { socket } of opened) socket.destroy();
  opened = [];
  client.socket.cut();
  await channel.stop();
});

/** Opens `count` connections at once. Each sends `bytes`. */
function open(count: number, bytes: string, port = channel.port): RawConnection[] {
  const connections = Array.from({ length: count }, () => {
    const socket = connect(port, "127.0.0.1");
    const connection: RawConnection = { socket, answer: "", ended: false };
    if (bytes !== "") socket.write(bytes);
    socket.on("data", (data) => {
      connection.answer += data.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      connection.ended = true;
    });
    return connection;
  });
  opened.push(...connections);
  return connections;
}

const status = ({ answer }: RawConnection): number => Number(answer.split(" ")[1] ?? 0);
/** The response status of an upgrade on a new connection. */
async function upgrade(): Promise<number> {
  const [one] = open(1, UPGRADE);
  return eventually(() => (one === undefined ? null : status(one) || null), "an answer");
}

const count = (connections: readonly RawConnection[], what: (connection: RawConnection) => boolean): number =>
  connections.filter(what).length;
const health = async (): Promise<number> =>
  (await fetch(`${channel.url}/health`, { keepalive: false, signal: AbortSignal.timeout(2000) })).status;
const openFiles = (): number => readdirSync(`/proc/${channel.pid}/fd`).length;

/** CPU time of the server up to now, in seconds. */
function cpu(): number {
  const fields = readFileSync(`/proc/${channel.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Expects less than 50 % CPU over two seconds: the server does not busy-loop. */
async function expectIdle(): Promise<void> {
  const before = cpu();
  await Bun.sleep(2000);
  expect(cpu() - before).toBeLessThan(1);
}

async function expectService(): Promise<void> {
  expect(await health()).toBe(200);
  await client.fence();
}

test("logs the allowed number of connections at start", async () => {
  const line = await channel.log.until(({ message }) => message.includes("open files"), "the warning");
  expect(line).toMatchObject({ level: "warn", max_connections: 100_000, open_files: LIMIT });
  expect(Number(line.allowed)).toBeGreaterThan(LIMIT - RESERVED - 40);
  expect(Number(line.allowed)).toBeLessThan(LIMIT - RESERVED);
});

describe("more clients than descriptors", () => {
  test("are rejected with 503; connected clients are served; closed connections free their descriptors", async () => {
    const connections = open(CONNECTIONS, UPGRADE);
    await eventually(() => connections.every((each) => status(each) !== 0), "an answer for each", 10_000);
    expect(count(connections, (each) => ![101, 503].includes(status(each)))).toBe(0);
    const accepted = count(connections, (each) => status(each) === 101);
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(LIMIT - RESERVED);
    await eventually(
      () => count(connections, ({ ended }) => ended) === CONNECTIONS - accepted,
      "that the rest is closed",
    );
    await expectService();
    expect(openFiles()).toBeLessThanOrEqual(LIMIT - RESERVED + 2);
    await expectIdle();
    for (const { socket } of connections) socket.destroy();
    await eventually(async () => (await upgrade()) === 101, "a free descriptor");
  }, 30_000);

  test("are rejected at the limit when they connect one after the other", async () => {
    let accepted = 0;
    for (let at = 0; at < LIMIT; at++) {
      if ((await upgrade()) === 101) accepted++;
    }
    expect(accepted).toBeGreaterThan(LIMIT - RESERVED - 40);
    expect(accepted).toBeLessThan(LIMIT - RESERVED);
    await expectService();
  }, 30_000);

  test("are rejected in a burst that fills the listen queue before the first is accepted", async () => {
    channel.kill("SIGSTOP");
    const connections = open(2 * CONNECTIONS, UPGRADE);
    await eventually(
      () => count(connections, ({ socket }) => !socket.connecting) >= CONNECTIONS,
      "a full queue",
    );
    channel.kill("SIGCONT");
    await eventually(
      () => count(connections, (each) => status(each) !== 0) >= CONNECTIONS,
      "their answers",
      10_000,
    );
    expect(count(connections, (each) => ![0, 101, 503].includes(status(each)))).toBe(0);
    await expectService();
    await expectIdle();
  }, 30_000);
});

test("rejects backends over the limit of the embedded bus and continues to serve clients", async () => {
  const connections = open(CONNECTIONS, "*1\r\n$4\r\nPING\r\n", busPort);
  await eventually(
    () => connections.every(({ answer, ended }) => answer !== "" || ended),
    "an answer for each",
  );
  expect(count(connections, ({ answer }) => answer === "+PONG\r\n")).toBe(LIMIT / 4);
  expect(count(connections, ({ answer }) => answer.startsWith("-ERR max number of clients"))).toBeGreaterThan(
    0,
  );
  await eventually(
    () => count(connections, ({ ended }) => ended) === CONNECTIONS - LIMIT / 4,
    "that the rest is closed",
  );
  await expectService();
  await expectIdle();
}, 20_000);

/** Requests that are never completed. */
const INCOMPLETE = {
  "send nothing": "",
  "send half a request": "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n",
};

describe.each(Object.entries(INCOMPLETE))("more connections than descriptors that %s", (_, bytes) => {
  test("are closed; health checks are answered, a connected client is served, the server does not busy-loop", async () => {
    const connections = open(CONNECTIONS, bytes);
    // The kernel delays connections without data by a second.
    await eventually(
      () => openFiles() > LIMIT - RESERVED || count(connections, ({ ended }) => ended) > 0,
      "that they are accepted",
    );
    await eventually(async () => (await health().catch(() => 0)) === 200, "health");
    await client.fence();
    await expectIdle();
    await expectService();
    expect(openFiles()).toBeLessThan(LIMIT - 8);
  }, 40_000);
});
