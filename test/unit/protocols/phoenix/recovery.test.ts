import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import type { HistoryRules } from "../../../../src/hub/history/history.ts";
import { createWorld, type FakeClient, type World, type WorldOptions } from "./world.ts";

const RULES: HistoryRules = { count: 100, bytes: 1 << 20, ttl: 300_000, lastValue: false };

let world: World;

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  world.stop();
  jest.useRealTimers();
});

async function start(rules: Partial<HistoryRules> = {}, options: WorldOptions = {}): Promise<void> {
  world = await createWorld({ history: { ...RULES, ...rules }, ...options });
  world.hub.marker("1.a");
}

function bring(...values: readonly number[]): void {
  for (const value of values) world.bus.bring("to:room:n", String(value));
}

function join(client: FakeClient, payload: object = { recover: null }, topic = "room", ref = "1"): void {
  client.receive(JSON.stringify([ref, ref, topic, "phx_join", { token: "alice", ...payload }]));
}

/** The answers, messages and notices that a client got, without presence. */
function got(client: FakeClient): unknown[] {
  return client
    .take()
    .filter((frame) => Array.isArray(frame) && !String(frame[3]).startsWith("presence"))
    .map((frame) => (Array.isArray(frame) && frame[3] === "phx_reply" ? frame[4].response : frame));
}

function connect(payload?: object): FakeClient {
  const { client } = world.connect();
  join(client, payload);
  return client;
}

function message(position: string, value: number, joinRef: string | null = null): unknown {
  return [joinRef, position, "room", "n", value];
}

test("a first join gets the newest position, and each message its own", async () => {
  await start();
  bring(1, 2);
  const client = connect();
  bring(3);
  world.bus.bring("to:other:n", "0");
  bring(4);
  expect(got(client)).toEqual([
    { id: "c1:room:1", position: "1.a-2", recovered: null },
    message("1.a-3", 3),
    message("1.a-5", 4),
  ]);
});

test("a client with a position gets what it missed with its join_ref, then live messages", async () => {
  await start();
  bring(1, 2, 3);
  const client = connect({ recover: "1.a-1" });
  bring(4);
  expect(got(client)).toEqual([
    { id: "c1:room:1", position: "1.a-1", recovered: true },
    message("1.a-2", 2, "1"),
    message("1.a-3", 3, "1"),
    message("1.a-4", 4),
  ]);
  expect(world.hub.stats.recoveries).toEqual({ recovered: 1 });
  // With the presence_diff.
  expect(world.hub.stats.deliveries).toBe(4);
});

test("the state precedes the missed messages", async () => {
  await start();
  bring(1);
  const client = connect({ recover: "1.a-0" });
  const events = client.take().map((frame) => (Array.isArray(frame) ? frame[3] : null));
  expect(events).toEqual(["phx_reply", "presence_state", "n"]);
});

test("a client that does not ask gets frames without positions, on a topic of their own", async () => {
  await start();
  const client = connect({});
  const other = connect({ recover: null });
  bring(1);
  client.take();
  bring(1);
  expect(client.frames).toEqual(['[null,null,"room","n",1]']);
  expect([...client.topics]).toEqual(["phoenix2bp\u0000room"]);
  expect([...other.topics]).toEqual(["phoenix2bpr\u0000room"]);
});

test.each([
  ["a number", 7, "unknown position"],
  ["an object", {}, "unknown position"],
  ["a list", [], "unknown position"],
  ["true", true, "unknown position"],
  ["an empty text", "", "unknown position"],
  ["a huge text", "1.a-".padEnd(1 << 16, "1"), "unknown position"],
  ["an older marker", "0.z-1", "unknown position"],
] as const)("%s is no position", async (_what, recover, reason) => {
  await start();
  bring(1);
  expect(got(connect({ recover }))).toEqual([
    { id: "c1:room:1", position: "1.a-1", recovered: false, reason },
  ]);
  expect(world.hub.stats.recoveries).toEqual({ [reason.replaceAll(" ", "_")]: 1 });
});

test("what was dropped by the count is too many", async () => {
  await start({ count: 2 });
  bring(1, 2, 3);
  expect(got(connect({ recover: "1.a-0" }))).toEqual([
    { id: "c1:room:1", position: "1.a-3", recovered: false, reason: "too many" },
  ]);
});

test("without history there are no positions", async () => {
  await start({ count: 0, lastValue: true });
  expect(got(connect({ recover: "1.a-0" }))).toEqual([
    { id: "c1:room:1", position: null, recovered: false, reason: "history off" },
  ]);
  expect(got(connect())).toEqual([{ id: "c2:room:1", position: null, recovered: null }]);
});

test("members that asked get a gap event when the subscription is back", async () => {
  await start();
  const client = connect();
  const other = connect({});
  bring(1);
  got(client);
  got(other);
  world.hub.lost();
  const late = connect({ recover: "1.a-1" });
  world.hub.marker("2.b");
  bring(2);
  const gap = [null, "2.b-0", "room", "gap", { position: "2.b-0", reason: "gap" }];
  expect(got(client)).toEqual([gap, message("2.b-1", 2)]);
  expect(got(late)).toEqual([
    { id: "c3:room:1", position: null, recovered: false, reason: "gap" },
    gap,
    message("2.b-1", 2),
  ]);
  expect(got(other)).toEqual([[null, null, "room", "n", 2]]);
  expect(got(connect({ recover: "1.a-1" }))).toContainEqual(
    expect.objectContaining({ recovered: false, reason: "gap" }),
  );
});

test("replay sends the newest messages to a first join, from the position before them", async () => {
  await start();
  bring(1, 2, 3, 4);
  expect(got(connect({ recover: null, replay: 2 }))).toEqual([
    { id: "c1:room:1", position: "1.a-2", recovered: null },
    message("1.a-3", 3, "1"),
    message("1.a-4", 4, "1"),
  ]);
  for (const replay of [0, -1, "2", null, 0.5]) {
    expect(got(connect({ recover: null, replay }))).toEqual([
      expect.objectContaining({ position: "1.a-4", recovered: null }),
    ]);
  }
  expect(got(connect({ recover: null, replay: 1e300 }))).toHaveLength(5);
  expect(got(connect({ recover: "1.a-3", replay: 4 }))).toHaveLength(2);
});

test("each new member gets the last values, one that recovers does not, and none that replay sent", async () => {
  await start({ lastValue: true });
  for (const [event, value] of ["a1", "b2", "a3", "b4"].map((each) => [each[0], each[1]])) {
    world.bus.bring(`to:room:${event}`, String(value));
  }
  const values = [
    ["1", "1.a-3", "room", "a", 3],
    ["1", "1.a-4", "room", "b", 4],
  ];
  expect(got(connect())).toEqual([{ id: "c1:room:1", position: "1.a-2", recovered: null }, ...values]);
  expect(got(connect({}))).toEqual([
    { id: "c2:room:1" },
    ["1", null, "room", "a", 3],
    ["1", null, "room", "b", 4],
  ]);
  expect(got(connect({ recover: "1.a-4" }))).toHaveLength(1);
  expect(got(connect({ recover: "9" }))).toEqual([expect.anything(), ...values]);
  expect(got(connect({ recover: null, replay: 1 }))).toEqual([expect.anything(), ...values]);
  expect(got(connect({ recover: null, replay: 3 }))).toEqual([
    expect.objectContaining({ position: "1.a-1" }),
    ["1", "1.a-2", "room", "b", 2],
    ...values,
  ]);
});

test("a position that is ahead is waited for, with the later frames of its topic", async () => {
  await start();
  bring(1);
  const client = connect({ recover: "1.a-3" });
  client.receive('["1","2","room","phx_leave",{}]');
  client.receive('[null,"3","phoenix","heartbeat",{}]');
  expect(client.take()).toHaveLength(1);
  bring(2, 3, 4);
  jest.advanceTimersByTime(10);
  expect(got(client)).toEqual([
    { id: "c1:room:1", position: "1.a-3", recovered: true },
    message("1.a-4", 4, "1"),
    {},
    ["1", "1", "room", "phx_close", {}],
  ]);
});

test("a position that stays ahead is unknown", async () => {
  await start();
  const client = connect({ recover: "5.a-3" });
  jest.advanceTimersByTime(990);
  expect(got(client)).toEqual([]);
  jest.advanceTimersByTime(20);
  expect(got(client)).toEqual([
    { id: "c1:room:1", position: "1.a-0", recovered: false, reason: "unknown position" },
  ]);
});

test("a position follows binary messages, at most ten a second, and precedes answers", async () => {
  await start();
  const client = connect();
  jest.advanceTimersByTime(60);
  got(client);
  const binary = (): void => world.bus.bring("to:room:b", Buffer.from([0xff]));
  const events = (): unknown[] =>
    client.frames.splice(0).map((each) => (each.startsWith('"binary') ? "binary" : JSON.parse(each)));
  const position = (p: string, joinRef: string | null = null) => [
    joinRef,
    p,
    "room",
    "position",
    { position: p },
  ];
  binary();
  expect(events()).toEqual(["binary", position("1.a-1")]);
  binary();
  binary();
  expect(events()).toEqual(["binary", "binary"]);
  client.receive('["1","9","room","hello",{}]');
  client.receive('[null,"10","phoenix","heartbeat",{}]');
  expect(events()).toEqual([position("1.a-3", "1"), expect.anything(), expect.anything()]);
  binary();
  world.tick();
  expect(events()).toEqual(["binary", position("1.a-4")]);
  binary();
  bring(6);
  world.tick();
  expect(events()).toEqual(["binary", message("1.a-6", 6)]);
});

test("a replay is sent in parts while little waits for the client, and live events keep their place", async () => {
  await start({}, { maxBuffered: 8 << 20 });
  const large = JSON.stringify("x".repeat(100_000));
  for (let i = 0; i < 10; i++) world.bus.bring("to:room:large", large);
  const { client } = world.connect();
  client.unread = 1 << 20;
  join(client, { recover: "1.a-0" });
  expect(got(client)).toHaveLength(1);
  bring(11);
  world.hub.broadcast(
    "room",
    new (await import("../../../../src/hub/message.ts")).Message("clock", "1", false),
  );
  bring(12);
  expect(got(client)).toEqual([]);
  client.unread = 0;
  jest.advanceTimersByTime(250);
  world.tick();
  const frames = got(client).map((frame) => (Array.isArray(frame) ? [frame[1], frame[3]] : null));
  expect(frames).toEqual([
    ...Array.from({ length: 10 }, (_, i) => [`1.a-${i + 1}`, "large"]),
    ["1.a-11", "n"],
    [null, "clock"],
    ["1.a-12", "n"],
  ]);
  bring(13);
  expect(got(client)).toEqual([message("1.a-13", 13)]);
});

test("one that is overtaken gets a gap event, then live messages", async () => {
  await start({ count: 3 });
  bring(1, 2, 3);
  const { client } = world.connect();
  client.unread = 1 << 20;
  join(client, { recover: "1.a-0" });
  bring(4, 5);
  client.unread = 0;
  world.tick();
  bring(6);
  expect(got(client).slice(1)).toEqual([
    ["1", "1.a-5", "room", "gap", { position: "1.a-5", reason: "too many" }],
    message("1.a-6", 6),
  ]);
  expect(world.hub.stats.recoveries).toEqual({ recovered: 1, overtaken: 1 });
});

test("one that leaves, or joins again, while it catches up gets no more of it", async () => {
  await start();
  bring(1, 2);
  const { client } = world.connect();
  client.unread = 1 << 20;
  join(client, { recover: "1.a-0" });
  client.unread = 0;
  client.receive('["1","2","room","phx_leave",{}]');
  got(client);
  world.tick();
  bring(3);
  expect(got(client)).toEqual([]);
  expect(world.hub.channels.has("room")).toBe(false);
  client.unread = 1 << 20;
  join(client, { recover: "1.a-0" }, "room", "3");
  client.unread = 0;
  join(client, { recover: "1.a-1" }, "room", "4");
  world.tick();
  expect(got(client)).toEqual([
    { id: "c1:room:3", position: "1.a-0", recovered: true },
    ["3", "3", "room", "phx_close", {}],
    { id: "c1:room:4", position: "1.a-1", recovered: true },
    message("1.a-2", 2, "4"),
    message("1.a-3", 3, "4"),
  ]);
});

test("the newest position is sent before the server disconnects its clients", async () => {
  await start();
  const client = connect();
  const other = connect({});
  world.bus.bring("to:other:n", "0");
  got(client);
  got(other);
  client.draining();
  other.draining();
  expect(got(client)).toEqual([["1", "1.a-1", "room", "position", { position: "1.a-1" }]]);
  expect(got(other)).toEqual([]);
});

test("V1 carries positions as ref", async () => {
  await start();
  bring(1);
  const { client } = world.connect({ version: 1 });
  client.receive(
    '{"topic":"room","event":"phx_join","payload":{"token":"alice","recover":"1.a-0"},"ref":"1"}',
  );
  bring(2);
  expect(client.frames.slice(-2)).toHaveLength(2);
  expect(client.frames.filter((frame) => frame.includes('"event":"n"'))).toEqual([
    '{"topic":"room","event":"n","payload":1,"ref":"1.a-1"}',
    '{"topic":"room","event":"n","payload":2,"ref":"1.a-2"}',
  ]);
});
