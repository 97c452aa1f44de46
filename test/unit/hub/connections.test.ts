import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { Connections } from "../../../src/hub/connections.ts";
import { FakeConnection } from "./fake-connection.ts";
import { turn } from "./turn.ts";

let connections: Connections;

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  connections.stop();
  jest.useRealTimers();
});

function start(idleTimeout = 60_000, maxBuffered = 1000): void {
  connections = new Connections({ idleTimeout, maxBuffered });
}

function connect(id: string): FakeConnection {
  const connection = new FakeConnection(id);
  connections.add(connection);
  return connection;
}

test("a connection is found by its id until it is removed", () => {
  start();
  const a = connect("a");
  connect("b");
  expect(connections.size).toBe(2);
  expect(connections.get("a")).toBe(a);
  expect([...connections.all()].map(({ id }) => id)).toEqual(["a", "b"]);
  connections.remove(a);
  connections.remove(a);
  expect(connections.has("a")).toBe(false);
  expect(connections.size).toBe(1);
});

test("a client without a frame for 25 s is pinged once, and cut off after the idle timeout", () => {
  start();
  const silent = connect("silent");
  jest.advanceTimersByTime(24_000);
  expect(silent.done).toEqual([]);
  jest.advanceTimersByTime(6_001);
  expect(silent.done).toEqual(["ping"]);
  jest.advanceTimersByTime(29_000);
  expect(silent.done).toEqual(["ping"]);
  jest.advanceTimersByTime(6_000);
  expect(silent.done[1]).toBe("cutOff silent");
});

test("a client that answers is pinged again after 25 s, and never cut off", () => {
  start();
  const alive = connect("alive");
  for (let s = 0; s < 300; s++) {
    jest.advanceTimersByTime(1000);
    if (alive.done.length > 0 && alive.done.every((what) => what === "ping"))
      alive.lastSeen = performance.now();
  }
  expect(alive.done.length).toBeGreaterThan(0);
  expect(new Set(alive.done)).toEqual(new Set(["ping"]));
  alive.done.length = 0;
  alive.lastSeen = performance.now();
  jest.advanceTimersByTime(31_000);
  expect(alive.done).toEqual(["ping"]);
});

test("with a short idle timeout the ping is sent after half of it", () => {
  start(2_000);
  const silent = connect("silent");
  jest.advanceTimersByTime(900);
  expect(silent.done).toEqual([]);
  jest.advanceTimersByTime(350);
  expect(silent.done).toEqual(["ping"]);
  jest.advanceTimersByTime(1_000);
  expect(silent.done).toContain("cutOff silent");
});

test("a client that sends no first frame within the idle timeout is closed although it answers pings; one that sent one is not", () => {
  start();
  const idle = connect("idle");
  const member = connect("member");
  idle.idleSince = performance.now();
  for (let s = 0; s < 66; s++) {
    jest.advanceTimersByTime(1000);
    idle.lastSeen = performance.now();
    member.lastSeen = performance.now();
  }
  expect(idle.done[0]).toBe("finish 1001 no frame received");
  expect(member.done).toEqual([]);
});

test("over the total budget the largest backlogs are cut off, and no more than needed", () => {
  start(60_000, 1000);
  const small = connect("small");
  const large = connect("large");
  const middle = connect("middle");
  small.waiting = 100;
  large.waiting = 700;
  middle.waiting = 500;
  connections.noticeBacklog();
  jest.advanceTimersByTime(150);
  expect(large.done).toEqual(["cutOff slow"]);
  expect(middle.done).toEqual([]);
  expect(small.done).toEqual([]);
});

test("within the budget no client is cut off; one that exceeds it later is", () => {
  start(60_000, 1000);
  const slow = connect("slow");
  slow.waiting = 1000;
  connections.noticeBacklog();
  jest.advanceTimersByTime(5_000);
  expect(slow.done).toEqual([]);
  slow.waiting = 1001;
  jest.advanceTimersByTime(150);
  expect(slow.done).toEqual(["cutOff slow"]);
});

test("the regular checks end without a backlog, and start again with noticeBacklog", () => {
  start(10_000_000, 1000);
  const one = connect("one");
  let checks = 0;
  one.buffered = () => {
    checks++;
    return one.waiting;
  };
  one.waiting = 10;
  connections.noticeBacklog();
  connections.noticeBacklog();
  jest.advanceTimersByTime(1000);
  expect(checks).toBe(10);
  one.waiting = 0;
  jest.advanceTimersByTime(200);
  checks = 0;
  jest.advanceTimersByTime(10_000);
  expect(checks).toBe(0);
  one.waiting = 2000;
  connections.noticeBacklog();
  jest.advanceTimersByTime(150);
  expect(one.done).toEqual(["cutOff slow"]);
});

test("a connection may be removed during a sweep or a check", () => {
  start(2_000, 10);
  const all = ["a", "b", "c", "d"].map(connect);
  for (const each of all) {
    each.waiting = 100;
    each.cutOff = () => {
      each.done.push("gone");
      each.waiting = 0;
      connections.remove(each);
    };
  }
  connections.noticeBacklog();
  jest.advanceTimersByTime(150);
  expect(connections.size).toBe(0);
  for (const each of all) expect(each.done).toEqual(["gone"]);
  for (const each of all) connections.add(each);
  jest.advanceTimersByTime(3_000);
  expect(connections.size).toBe(0);
});

test("what is sent while there is a backlog causes a check as soon as the budget could be exceeded", async () => {
  start(60_000, 1000);
  const a = connect("a");
  const b = connect("b");
  expect(connections.watching).toBe(false);
  connections.noticeBacklog();
  expect(connections.watching).toBe(true);
  a.waiting = 600;
  b.waiting = 300;
  // The first check finds 900 of 1000.
  connections.expect(50);
  expect(connections.buffered).toBe(900);
  await turn();
  b.waiting = 650;
  connections.expect(40);
  expect(b.done).toEqual([]);
  connections.expect(30);
  expect(b.done).toEqual([]);
  // 900 and 120 could exceed it by now, and do: the largest is cut off.
  connections.expect(1);
  expect([a.done, b.done]).toEqual([[], ["cutOff slow"]]);
  a.waiting = 0;
  jest.advanceTimersByTime(200);
  expect(connections.watching).toBe(false);
});

test("a backlog that was cut off counts no longer, so that no other client is cut off for it", () => {
  start(60_000, 1000);
  const [large, small] = [connect("large"), connect("small")];
  large.waiting = 900;
  small.waiting = 600;
  connections.noticeBacklog();
  connections.expect(1);
  expect([large.done, small.done]).toEqual([["cutOff slow"], []]);
  // More than a whole budget causes another check in the same turn: the backlog is 600.
  for (let i = 0; i < 5; i++) connections.expect(500);
  jest.advanceTimersByTime(150);
  expect([large.done, small.done]).toEqual([["cutOff slow"], []]);
});

test("1,000 sends to 50,000 connections in one turn check them once, and again for each whole budget", async () => {
  start(60_000, 512 << 20);
  let checks = 0;
  for (let i = 0; i < 50_000; i++) {
    const connection = connect(`${i}`);
    connection.waiting = 20_000;
    connection.buffered = () => {
      checks++;
      return connection.waiting;
    };
  }
  connections.noticeBacklog();
  // 100 KB each: 100 MB, a fifth of the budget.
  for (let i = 0; i < 1000; i++) connections.expect(100_000);
  // Once to add up, once to sort them.
  expect(checks).toBe(2 * 50_000);
  const cut = [...connections.all()].filter(({ wasCutOff }) => wasCutOff).length;
  expect(50_000 - cut).toBe(Math.floor((512 << 20) / 20_000));
  await turn();
  checks = 0;
  // 5 MB each: 5 GB, nine whole budgets. Connections that are cut off are not checked.
  for (let i = 0; i < 1000; i++) connections.expect(5_000_000);
  expect(checks).toBe(10 * (50_000 - cut));
});

test("a drop is checked at once, and further drops in the same turn once at its end", async () => {
  start();
  let checks = 0;
  const audience = { checkBacklogs: () => void checks++ };
  connections.noticeDrop(audience);
  expect(checks).toBe(1);
  await turn();
  await turn();
  expect(checks).toBe(1);
  for (let i = 0; i < 100; i++) connections.noticeDrop(audience);
  expect(checks).toBe(2);
  await turn();
  await turn();
  expect(checks).toBe(3);
});
