import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { ConflatedClient, type ConflatedTransport } from "../../../src/hub/conflation/conflated-client.ts";
import { HeldFrame, LagQueue, MAX_EVENTS } from "../../../src/hub/conflation/lag-queue.ts";
import { Connections } from "../../../src/hub/connections.ts";
import { Fanout } from "../../../src/hub/fanout.ts";
import { FakeConnection } from "./fake-connection.ts";

const LIMIT = 64 * 1024;

let connections: Connections;
let published: string[];
/** What Bun answers to a publish. */
let result: number;

beforeEach(() => {
  jest.useFakeTimers();
  [published, result] = [[], 1];
  connections = new Connections({ idleTimeout: 10_000, maxBuffered: 1 << 20, maxBufferedPerClient: LIMIT });
});
afterEach(() => {
  connections.stop();
  jest.useRealTimers();
});

function newFanout(): Fanout<string> {
  const encoder = {
    protocol: "test",
    encode: (message: string) => message,
    conflation: {
      keyOf: (message: string) => (message.startsWith("!") ? null : (message[0] ?? "")),
      skipped: (count: number) => `skipped ${count}`,
      count: () => {},
    },
  };
  const publish = (_topic: string, frame: string | Buffer): number => {
    published.push(String(frame));
    return result;
  };
  return new Fanout("topic", encoder, { checkBacklogs() {} }, { publisher: { publish }, connections });
}

/** A socket whose backlog and answers the test decides. */
class Socket implements ConflatedTransport {
  readonly waitingSince = undefined;
  readonly lagAfter = 300;
  readonly sent: string[] = [];
  readonly conflated = new ConflatedClient(connections.conflated, this);
  backlog = 0;
  fences: number[] = [];
  cut = "";
  subscribed = false;

  subscribe(): boolean {
    this.subscribed = true;
    return true;
  }
  unsubscribe(): void {
    this.subscribed = false;
  }
  waiting(): number {
    return this.backlog;
  }
  send(frame: string | Buffer): void {
    this.sent.push(String(frame));
  }
  fence(id: number): boolean {
    this.fences.push(id);
    return true;
  }
  cutOff(reason: string): void {
    this.cut = reason;
  }
  /** Reads all. */
  read(): void {
    this.backlog = 0;
    this.conflated.read(this.fences.at(-1) ?? 0);
  }
}

/** A socket that lags. */
function lagging(fanout: Fanout<string>): Socket {
  const socket = new Socket();
  fanout.add(socket);
  socket.backlog = 1;
  // The connections are watched as long as one has a backlog.
  const connection = new FakeConnection("backlogged");
  connection.waiting = 1;
  connections.add(connection);
  result = -1;
  fanout.deliver("x");
  jest.advanceTimersByTime(500);
  connections.remove(connection);
  expect([socket.subscribed, socket.conflated.lagging]).toEqual([false, true]);
  return socket;
}

test("while it keeps up it is subscribed, and nothing is sent to it alone", () => {
  const fanout = newFanout();
  const socket = new Socket();
  fanout.add(socket);
  for (const message of ["a1", "a2", "b1"]) expect(fanout.deliver(message)).toBe(1);
  jest.advanceTimersByTime(60_000);
  expect([published, socket.sent, socket.fences]).toEqual([["a1", "a2", "b1"], [], []]);
  expect([connections.watching, connections.conflated.leftOut]).toEqual([false, 0]);
});

test("a backlog that was sent within 300 ms is no lag", () => {
  const fanout = newFanout();
  const socket = new Socket();
  fanout.add(socket);
  result = -1;
  for (let i = 0; i < 20; i++) {
    socket.backlog = i % 3;
    fanout.deliver("a");
    jest.advanceTimersByTime(100);
  }
  expect([socket.subscribed, socket.fences]).toEqual([true, []]);
});

test("a large backlog is a lag at once", () => {
  const fanout = newFanout();
  const socket = new Socket();
  fanout.add(socket);
  socket.backlog = LIMIT / 8;
  result = -1;
  fanout.deliver("a".repeat(LIMIT / 8));
  expect(socket.subscribed).toBe(false);
});

test("when it has read, it gets a notice and the newest of each key, and others in their place", () => {
  const fanout = newFanout();
  const socket = lagging(fanout);
  for (const message of ["a1", "b1", "!1", "a2", "c1", "a3", "!2", "b2"]) fanout.deliver(message);
  expect([socket.sent, fanout.listeners]).toEqual([[], 1]);
  socket.read();
  expect(socket.sent).toEqual(["skipped 3", "!1", "c1", "a3", "!2", "b2"]);
  expect(connections.conflated.leftOut).toBe(3);
  expect(connections.conflated.held.bytes).toBe(0);
  // It is sent no more until it has read that.
  fanout.deliver("a4");
  expect(socket.sent).toHaveLength(6);
  socket.read();
  expect(socket.sent.slice(6)).toEqual(["a4"]);
});

test("it gets everything again when it reads in time and nothing was left out", () => {
  const fanout = newFanout();
  const socket = lagging(fanout);
  fanout.deliver("a1");
  socket.read();
  expect([socket.sent, socket.subscribed]).toEqual([["a1"], true]);
  // It is asked for a while how fast it reads, then no longer.
  jest.advanceTimersByTime(100);
  socket.read();
  for (let i = 0; i < 200; i++) {
    jest.advanceTimersByTime(100);
    socket.read();
  }
  const { length } = socket.fences;
  jest.advanceTimersByTime(60_000);
  expect([socket.fences.length, connections.watching, socket.cut]).toEqual([length, false, ""]);
});

test("one that does not read in time stays without its topic, and is sent at once what comes next", () => {
  const fanout = newFanout();
  const socket = lagging(fanout);
  jest.advanceTimersByTime(3_000);
  socket.read();
  expect(socket.subscribed).toBe(false);
  fanout.deliver("a1");
  fanout.deliver("a2");
  expect([socket.sent, socket.subscribed]).toEqual([["a1"], false]);
});

test("one that does not answer a probe lags, although nothing waits here", () => {
  const fanout = newFanout();
  const socket = new Socket();
  fanout.add(socket);
  jest.advanceTimersByTime(2_000);
  fanout.deliver("a".repeat(64 * 1024));
  expect(socket.fences).toHaveLength(1);
  jest.advanceTimersByTime(1_000);
  expect(socket.subscribed).toBe(false);
  jest.advanceTimersByTime(12_000);
  expect(socket.cut).toBe("slow");
});

test("one that reads nothing for the idle timeout is cut off, one that reads is not", () => {
  const fanout = newFanout();
  const [dead, slow] = [lagging(fanout), lagging(fanout)];
  [dead.backlog, slow.backlog] = [20_000, 20_000];
  for (let s = 0; s < 12; s++) {
    jest.advanceTimersByTime(1_000);
    slow.backlog -= 1_000;
    dead.backlog += 100;
  }
  expect([dead.cut, slow.cut]).toEqual(["slow", ""]);
});

test("one that leaves, or joins another channel meanwhile, gets what is of channels that it is in", () => {
  const [fanout, other] = [newFanout(), newFanout()];
  const socket = lagging(fanout);
  other.add(socket);
  fanout.deliver("a1");
  other.deliver("a2");
  other.sendTo(socket, "own");
  fanout.remove(socket);
  expect([fanout.empty, other.listeners]).toEqual([true, 1]);
  socket.read();
  expect(socket.sent).toEqual(["a2", "own"]);
  other.remove(socket);
  expect([other.empty, socket.subscribed, connections.conflated.active]).toEqual([true, false, false]);
  expect(connections.conflated.held.bytes).toBe(0);
});

test("a queue keeps at most 100 keys of a source, and its limit in bytes", () => {
  const total = { bytes: 0 };
  const queue = new LagQueue(10_000);
  const source = { skipped: (count: number) => `skipped ${count}` };
  for (let i = 0; i < 5_000; i++) queue.put(source, `event${i}`, new HeldFrame("x".repeat(10), total));
  expect([queue.bytes, total.bytes]).toEqual([MAX_EVENTS * 10, MAX_EVENTS * 10]);
  for (let i = 0; i < 50; i++) queue.put(source, `large${i}`, new HeldFrame("y".repeat(1_000), total));
  expect([queue.bytes, total.bytes, queue.overfull]).toEqual([10_000, 10_000, false]);
  queue.put(source, null, new HeldFrame("z".repeat(10_001), total));
  expect(queue.overfull).toBe(true);
  const { frames, skipped } = queue.take();
  expect([frames.map(({ held }) => held.frame.length), skipped]).toEqual([
    ["skipped 5050".length, 10_001],
    5050,
  ]);
});

test("a paused client that lags gets neither the message nor loses what waits for it", () => {
  const fanout = newFanout();
  const socket = lagging(fanout);
  fanout.deliver("a1");
  fanout.pause(socket);
  fanout.deliver("b1");
  fanout.resume(socket);
  fanout.deliver("c1");
  socket.read();
  expect(socket.sent).toEqual(["a1", "c1"]);
});

test("a client that begins to lag while it is paused lags when it is back", () => {
  const fanout = newFanout();
  const socket = new Socket();
  const other = new Socket();
  for (const each of [socket, other]) fanout.add(each);
  const connection = new FakeConnection("backlogged");
  connection.waiting = 1;
  connections.add(connection);
  fanout.pause(socket);
  socket.backlog = LIMIT;
  result = -1;
  fanout.deliver("a".repeat(LIMIT / 8));
  expect(socket.conflated.lagging).toBe(true);
  fanout.resume(socket);
  expect([socket.subscribed, other.subscribed, fanout.listeners]).toEqual([false, true, 2]);
  fanout.deliver("b1");
  socket.read();
  expect(socket.sent).toEqual(["b1"]);
  fanout.remove(socket);
  expect(fanout.listeners).toBe(1);
});
