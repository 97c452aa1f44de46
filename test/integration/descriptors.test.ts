import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { SECRET } from "./world.ts";

/** The limit on open files, how many of them no client may have, and how many clients come. */
const LIMIT = 256;
const SPARE = 64;
const CROWD = 400;

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
let crowd: Caller[] = [];

/** One TCP connection, and what came back on it so far. */
interface Caller {
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
  for (const { socket } of crowd) socket.destroy();
  crowd = [];
  client.socket.cut();
  await channel.stop();
});

/** Opens this many connections at once, each of which sends these bytes. */
function call(count: number, bytes: string, port = channel.port): Caller[] {
  const callers = Array.from({ length: count }, () => {
    const socket = connect(port, "127.0.0.1");
    const caller: Caller = { socket, answer: "", ended: false };
    if (bytes !== "") socket.write(bytes);
    socket.on("data", (data) => {
      caller.answer += data.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      caller.ended = true;
    });
    return caller;
  });
  crowd.push(...callers);
  return callers;
}

const status = ({ answer }: Caller): number => Number(answer.split(" ")[1] ?? 0);
/** The status of a new connection's upgrade. */
async function upgrade(): Promise<number> {
  const [one] = call(1, UPGRADE);
  return eventually(() => (one === undefined ? null : status(one) || null), "an answer");
}

const count = (callers: readonly Caller[], what: (caller: Caller) => boolean): number =>
  callers.filter(what).length;
const health = async (): Promise<number> =>
  (await fetch(`${channel.url}/health`, { keepalive: false, signal: AbortSignal.timeout(2000) })).status;
const openFiles = (): number => readdirSync(`/proc/${channel.pid}/fd`).length;

/** CPU time of the server so far, in seconds. */
function cpu(): number {
  const fields = readFileSync(`/proc/${channel.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Of all that the process can take in two seconds it takes less than half: it waits, and does not spin. */
async function expectRest(): Promise<void> {
  const before = cpu();
  await Bun.sleep(2000);
  expect(cpu() - before).toBeLessThan(1);
}

async function expectService(): Promise<void> {
  expect(await health()).toBe(200);
  await client.fence();
}

test("it says at start how many connections there may be", async () => {
  const line = await channel.log.until(({ message }) => message.includes("open files"), "the warning");
  expect(line).toMatchObject({ level: "warn", max_connections: 100_000, open_files: LIMIT });
  expect(Number(line.allowed)).toBeGreaterThan(LIMIT - SPARE - 40);
  expect(Number(line.allowed)).toBeLessThan(LIMIT - SPARE);
});

describe("more clients than descriptors", () => {
  test("get 503, those that are there are served, and places are free again when they go", async () => {
    const callers = call(CROWD, UPGRADE);
    await eventually(() => callers.every((each) => status(each) !== 0), "an answer for each", 10_000);
    expect(count(callers, (each) => ![101, 503].includes(status(each)))).toBe(0);
    const accepted = count(callers, (each) => status(each) === 101);
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(LIMIT - SPARE);
    await eventually(
      () => count(callers, ({ ended }) => ended) === CROWD - accepted,
      "that the rest is closed",
    );
    await expectService();
    expect(openFiles()).toBeLessThanOrEqual(LIMIT - SPARE + 2);
    await expectRest();
    for (const { socket } of callers) socket.destroy();
    await eventually(async () => (await upgrade()) === 101, "a place");
  }, 30_000);

  test("one after the other fill all places, and no more", async () => {
    let accepted = 0;
    for (let at = 0; at < LIMIT; at++) {
      if ((await upgrade()) === 101) accepted++;
    }
    expect(accepted).toBeGreaterThan(LIMIT - SPARE - 40);
    expect(accepted).toBeLessThan(LIMIT - SPARE);
    await expectService();
  }, 30_000);

  test("in a burst that fills the listen queue before the first is accepted", async () => {
    channel.kill("SIGSTOP");
    const callers = call(2 * CROWD, UPGRADE);
    await eventually(() => count(callers, ({ socket }) => !socket.connecting) >= CROWD, "a full queue");
    channel.kill("SIGCONT");
    await eventually(() => count(callers, (each) => status(each) !== 0) >= CROWD, "their answers", 10_000);
    expect(count(callers, (each) => ![0, 101, 503].includes(status(each)))).toBe(0);
    await expectService();
    await expectRest();
  }, 30_000);
});

test("more backends of the embedded bus than it takes are refused, and stop nobody", async () => {
  const callers = call(CROWD, "*1\r\n$4\r\nPING\r\n", busPort);
  await eventually(() => callers.every(({ answer, ended }) => answer !== "" || ended), "an answer for each");
  expect(count(callers, ({ answer }) => answer === "+PONG\r\n")).toBe(LIMIT / 4);
  expect(count(callers, ({ answer }) => answer.startsWith("-ERR max number of clients"))).toBeGreaterThan(0);
  await eventually(
    () => count(callers, ({ ended }) => ended) === CROWD - LIMIT / 4,
    "that the rest is closed",
  );
  await expectService();
  await expectRest();
}, 20_000);

/** Requests that never come to their end. */
const SILENT = {
  "send nothing": "",
  "send half a request": "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n",
};

describe.each(Object.entries(SILENT))("more connections than descriptors that %s", (_, bytes) => {
  test("are closed: nothing spins, health checks are answered, a client that is there is served", async () => {
    const callers = call(CROWD, bytes);
    // The kernel holds those that are silent back for a second.
    await eventually(
      () => openFiles() > LIMIT - SPARE || count(callers, ({ ended }) => ended) > 0,
      "that they are accepted",
    );
    await eventually(async () => (await health().catch(() => 0)) === 200, "health");
    await client.fence();
    await expectRest();
    await expectService();
    expect(openFiles()).toBeLessThan(LIMIT - 8);
  }, 40_000);
});
