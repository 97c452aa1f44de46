import { afterEach, beforeEach, expect, test } from "bun:test";
import { Connections } from "../../../src/hub/connections.ts";
import { type Encoder, Fanout, type Subscriber } from "../../../src/hub/fanout.ts";

/** More than one topic holds, and a frame of which one turn takes no more than one topic. */
const SOCKETS = 1000;
/** So many that every message is gradual. */
const VERY_MANY = 5000;
const LARGE = "x".repeat(64 * 1024);

const encoder: Encoder<string> = {
  protocol: "test",
  encode: (message) => message,
  isGradual: (message) => message.startsWith("x"),
};

/** The sockets of each Bun topic. */
let topics: Map<string, Set<FakeSocket>>;
let connections: Connections;
let fanout: Fanout<string>;

class FakeSocket implements Subscriber {
  readonly received: string[] = [];

  subscribe(topic: string): boolean {
    const sockets = topics.get(topic) ?? new Set();
    topics.set(topic, sockets.add(this));
    return true;
  }

  unsubscribe(topic: string): void {
    topics.get(topic)?.delete(this);
  }

  send(frame: string | Buffer): void {
    this.received.push(frame === LARGE ? "diff" : String(frame));
  }
}

beforeEach(() => {
  topics = new Map();
  connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 });
  const publish = (topic: string, frame: string | Buffer): number => {
    for (const socket of topics.get(topic) ?? []) socket.send(frame);
    return 1;
  };
  fanout = new Fanout("topic", encoder, { checkBacklogs() {} }, { publisher: { publish }, connections });
});
afterEach(() => connections.stop());

function added(count: number): FakeSocket[] {
  return Array.from({ length: count }, () => {
    const socket = new FakeSocket();
    fanout.add(socket);
    return socket;
  });
}

/** Resolves when all turns that are due have passed. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await turn();
}

function turn(): Promise<unknown> {
  return new Promise(setImmediate);
}

function gotDiff(sockets: readonly FakeSocket[]): number {
  return sockets.filter(({ received }) => received.includes("diff")).length;
}

test("a gradual message reaches every socket once, in several turns", async () => {
  const sockets = added(SOCKETS);
  expect(fanout.deliver(LARGE)).toBe(SOCKETS);
  await turn();
  expect(gotDiff(sockets)).toBeGreaterThan(0);
  expect(gotDiff(sockets)).toBeLessThan(SOCKETS);
  await turns();
  for (const { received } of sockets) expect(received).toEqual(["diff"]);
});

test("what is sent next comes after it, at every socket", async () => {
  const sockets = added(SOCKETS);
  fanout.deliver(LARGE);
  fanout.deliver("news");
  for (const { received } of sockets) expect(received).toEqual(["diff", "news"]);
  fanout.deliver(LARGE);
  fanout.deliver(LARGE);
  await turns();
  for (const { received } of sockets) expect(received).toEqual(["diff", "news", "diff", "diff"]);
});

test("a subscriber that joins meanwhile does not get it, one that leaves got it before", async () => {
  const sockets = added(SOCKETS);
  fanout.deliver(LARGE);
  await turn();
  const late = added(SOCKETS);
  const missing = sockets.filter(({ received }) => received.length === 0);
  const gone = missing.slice(0, missing.length / 2);
  for (const socket of gone) fanout.remove(socket);
  expect(gotDiff(gone)).toBe(gone.length);
  await turns();
  expect(gotDiff(late)).toBe(0);
  for (const { received } of sockets) expect(received).toEqual(["diff"]);
  expect(fanout.deliver("news")).toBe(2 * SOCKETS - gone.length);
  for (const { received } of late) expect(received).toEqual(["news"]);
});

test("who is left out of a later message gets it before", async () => {
  const sockets = added(SOCKETS);
  fanout.deliver(LARGE);
  const one = sockets.find(({ received }) => received.length === 0) ?? new FakeSocket();
  fanout.pause(one);
  fanout.deliver("news");
  fanout.resume(one);
  await turns();
  expect(one.received).toEqual(["diff"]);
  expect(sockets.filter(({ received }) => received.join() === "diff,news")).toHaveLength(SOCKETS - 1);
});

test("what is sent to one subscriber comes after it", async () => {
  const sockets = added(SOCKETS);
  fanout.deliver(LARGE);
  for (const socket of sockets) fanout.sendTo(socket, "own");
  await turns();
  for (const { received } of sockets) expect(received).toEqual(["diff", "own"]);
});

test("every message of a large fanout is gradual, and all come in their order", async () => {
  const sockets = added(VERY_MANY);
  fanout.deliver("1");
  fanout.deliver("2");
  await turn();
  const first = sockets.filter(({ received }) => received.length > 0);
  expect(first.length).toBeGreaterThan(0);
  expect(first.length).toBeLessThan(VERY_MANY / 2);
  fanout.deliver("3");
  await turn();
  fanout.send("4");
  for (const { received } of sockets) expect(received).toEqual(["1", "2", "3", "4"]);
  fanout.deliver("5");
  await turns();
  for (const { received } of sockets) expect(received).toEqual(["1", "2", "3", "4", "5"]);
});

test("messages that come faster than turns are published at once", async () => {
  const sockets = added(VERY_MANY);
  const sent = Array.from({ length: 150 }, (_, number) => `${number}`);
  for (const message of sent) fanout.deliver(message);
  for (const { received } of sockets) expect(received.length).toBeGreaterThan(sent.length / 2);
  for (let i = 0; i < 10; i++) await turns();
  for (const { received } of sockets) expect(received).toEqual(sent);
});

test("frames that take much memory are published at once", async () => {
  const sockets = added(VERY_MANY);
  const large = "x".repeat(3 * 1024 * 1024);
  for (let i = 0; i < 2; i++) fanout.deliver(large);
  expect(sockets.filter(({ received }) => received.length > 0)).toHaveLength(0);
  fanout.deliver(large);
  for (const { received } of sockets) expect(received).toHaveLength(3);
});

test("when all have left the rest is dropped: another fanout may have the topic", async () => {
  const sockets = added(SOCKETS);
  fanout.deliver(LARGE);
  for (const socket of sockets) fanout.remove(socket);
  expect(fanout.empty).toBe(true);
  for (const sockets of topics.values()) expect(sockets.size).toBe(0);
  const next = added(SOCKETS);
  await turns();
  expect(gotDiff(next)).toBe(0);
});

test("topics that were left are used again", async () => {
  const first = added(SOCKETS);
  const count = topics.size;
  for (let round = 0; round < 5; round++) {
    fanout.deliver(LARGE);
    for (const socket of first.splice(0, SOCKETS / 2)) fanout.remove(socket);
    first.push(...added(SOCKETS / 2));
    await turns();
  }
  expect(fanout.listeners).toBe(SOCKETS);
  expect(topics.size).toBeLessThanOrEqual(2 * count);
});
