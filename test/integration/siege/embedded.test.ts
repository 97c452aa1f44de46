import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { freePort } from "../redis-process.ts";
import { RespClient, request } from "../resp-client.ts";
import { RETURNS_MEMORY, SECRET } from "../world.ts";

const MIB = 1024 * 1024;
const PASSWORD = "correct-horse-battery";

let channel: ChannelProcess;
let port: number;
const clients: RespClient[] = [];

beforeEach(async () => {
  port = freePort();
  const url = `redis://:${PASSWORD}@127.0.0.1:${port}`;
  channel = await startChannel({
    args: ["--bus", "embedded", "--redis-url", url, "--jwt-secret", SECRET],
    env: RETURNS_MEMORY,
  });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await channel.stop();
});

async function dial(): Promise<RespClient> {
  const client = await RespClient.connect(port);
  clients.push(client);
  return client;
}

async function authenticated(): Promise<RespClient> {
  const client = await dial();
  expect(await client.ask(request("AUTH", PASSWORD), "+OK\r\n")).toBe("+OK\r\n");
  return client;
}

/** Peak memory of the process, in bytes. */
function peak(): number {
  const text = readFileSync(`/proc/${channel.pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}

/** How long the process takes to answer another client, in ms. */
async function answerTime(): Promise<number> {
  const asked = performance.now();
  expect((await fetch(`${channel.url}/health`)).status).toBe(200);
  return performance.now() - asked;
}

describe("the embedded bus, attacked", () => {
  test("no pattern and no channel name blocks the process", async () => {
    const [subscriber, publisher] = [await authenticated(), await authenticated()];
    // Patterns for which a backtracking matcher tries every position of the last star, or of all stars.
    for (const part of ["*a", "*?", "*[ab]", "*aa", "*a?a"]) {
      for (const bytes of [250, 1000, 20_000, 1_000_000]) {
        subscriber.send(request("PSUBSCRIBE", `${part.repeat(Math.floor(bytes / part.length))}b`));
      }
    }
    for (let i = 0; i < 900; i++) subscriber.send(request("PSUBSCRIBE", `${"*?a".repeat(330)}${i}b`));
    subscriber.send(request("PING"));
    // Replies come in order, so all are subscribed.
    await subscriber.readTo("pong\r\n");
    let slowest = 0;
    for (const bytes of [500, 1000, 60_000, 3_000_000]) {
      publisher.send(request("PUBLISH", "a".repeat(bytes), "x"));
      slowest = Math.max(slowest, await answerTime());
    }
    // It was 7.5 s for one pattern and one name.
    expect(slowest).toBeLessThan(5000);
    expect(await publisher.ask(request("PING"), ":0\r\n")).toMatch(/^[:-]/);
  }, 60_000);

  test("before AUTH, requests are limited in size and use no memory", async () => {
    const before = peak();
    const tiny = `*1000000\r\n${"$1\r\nx\r\n".repeat(MIB)}`;
    for (let i = 0; i < 4; i++) {
      const client = await dial();
      client.send(tiny);
      expect(await client.ended()).toBe("-ERR Protocol error: unauthenticated multibulk length\r\n");
    }
    const large = await dial();
    large.send(`*2\r\n$4\r\nAUTH\r\n$16385\r\n${"x".repeat(16_385)}\r\n`);
    expect(await large.ended()).toBe("-ERR Protocol error: unauthenticated bulk length\r\n");
    expect(peak() - before).toBeLessThan(60 * MIB);
    // After AUTH a client has the usual limits; RESET removes them.
    const client = await authenticated();
    const many = Array.from({ length: 20 }, (_, i) => `name${i}`);
    const answered = `*40\r\n${many.map((name) => `$${name.length}\r\n${name}\r\n:0\r\n`).join("")}`;
    expect(await client.ask(request("PUBSUB", "NUMSUB", ...many), answered)).toBe(answered);
    client.send(request("RESET"));
    await client.read("+RESET\r\n".length);
    client.send(request("PUBSUB", "NUMSUB", ...many));
    expect(await client.ended()).toBe("-ERR Protocol error: unauthenticated multibulk length\r\n");
  }, 60_000);

  test("disconnects a client that does not authenticate", async () => {
    const client = await dial();
    const began = performance.now();
    expect(await client.ended(20_000)).toBe("");
    expect(performance.now() - began).toBeWithin(5000, 20_000);
  }, 30_000);

  test("bounds tiny strings and unfinished requests, for one client and for all", async () => {
    const before = peak();
    const tiny = await authenticated();
    tiny.send(`*1000000\r\n${"$1\r\nx\r\n".repeat(MIB)}`);
    // The reset caused by unread data may overtake the reply.
    expect(await tiny.ended()).toBeOneOf(["-ERR Protocol error: too big a request\r\n", ""]);
    // A hundred clients with four MiB each of an unfinished request: some of them are disconnected.
    const half = `*3\r\n$7\r\nPUBLISH\r\n$6\r\nto:a:b\r\n$${4 * MIB}\r\n${"x".repeat(3 * MIB)}`;
    for (let i = 0; i < 100; i++) (await authenticated()).send(half);
    await channel.log.until(({ message }) => message.startsWith("disconnected a client of the embedded bus"));
    const client = await authenticated();
    expect(await client.ask(request("PUBLISH", "to:still:here", "x"), ":1\r\n")).toBe(":1\r\n");
    expect(peak() - before).toBeLessThan(200 * MIB);
  }, 60_000);

  test("bounds subscriptions, for one client and for all", async () => {
    const before = peak();
    let [refusals, accepted] = [0, 0];
    for (let i = 0; i < 12; i++) {
      const client = await authenticated();
      // 20,000 names of 800 bytes: 16 MB sent by each, 200 MB by all.
      for (let part = 0; part < 20; part++) {
        const names = Array.from({ length: 1000 }, (_, n) => `${i}.${part}.${n}.`.padEnd(800, "x"));
        client.send(request("SUBSCRIBE", ...names) + request("UNSUBSCRIBE", `part${part}`));
        // Every request is answered.
        const came = await client.readTo(`part${part}\r\n`);
        refusals += came.split("\r\n-ERR too many subscriptions").length - 1;
        accepted += came.split("\r\n*3\r\n").length - 1;
      }
    }
    expect(refusals).toBeGreaterThan(100_000);
    expect(accepted).toBeGreaterThan(1000);
    expect(peak() - before).toBeLessThan(150 * MIB);
    const asker = await authenticated();
    // As long as the other names: a shorter one may still fit.
    const long = "one".padEnd(800, "x");
    expect(await asker.ask(request("SUBSCRIBE", long), "-ERR too many")).toBe("-ERR too many");
    // A client that disconnects frees its subscriptions.
    for (const client of clients.splice(0, 6)) client.close();
    await until(async () => (await asker.ask(request("SUBSCRIBE", "two"), "*")) === "*");
  }, 60_000);

  test("buffers a large message once for many patterns of one client", async () => {
    const before = peak();
    const subscriber = await authenticated();
    // Short, so that all of them are within the limit of one client.
    const patterns = Array.from({ length: 500 }, (_, i) => `to:*[e${i}]`);
    subscriber.send(request("PSUBSCRIBE", ...patterns) + request("PING"));
    await subscriber.readTo("pong\r\n");
    subscriber.socket.pause();
    const publisher = await authenticated();
    publisher.send(request("PUBLISH", "to:large:one", "x".repeat(MIB)));
    // The server itself is one more subscriber.
    expect(await publisher.read(4)).toBe(":501");
    // With a copy for each pattern it was 500 MiB.
    expect(peak() - before).toBeLessThan(150 * MIB);
  }, 60_000);
});

/** Repeats the check until it is true. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await Bun.sleep(10);
}
