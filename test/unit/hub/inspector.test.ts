import { beforeEach, expect, test } from "bun:test";
import { splitAgent } from "../../../src/hub/agent-id.ts";
import type { Member } from "../../../src/hub/channel.ts";
import { Connections } from "../../../src/hub/connections.ts";
import { Hub } from "../../../src/hub/hub.ts";
import { inspect } from "../../../src/hub/inspector.ts";
import { MemoryPresenceStore } from "../../../src/hub/presence/memory-presence.ts";
import { createStats } from "../../../src/hub/stats.ts";
import { Traffic } from "../../../src/hub/traffic.ts";
import { FakeBus } from "./fake-bus.ts";
import { FakeMember } from "./fake-member.ts";

let bus: FakeBus;
let hub: Hub;
let observed: string[];

const observer = {
  sent: (event: string, payload: string | Uint8Array, size: number) =>
    void observed.push(
      `to ${event} ${typeof payload === "string" ? payload : `${payload.length} bytes`} ${size}`,
    ),
  pushed: (sender: Member | null, event: string, payload: string | Uint8Array) =>
    void observed.push(`from ${sender?.agent ?? ""} ${event} ${payload}`),
};

beforeEach(async () => {
  bus = new FakeBus();
  observed = [];
  const connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 });
  connections.stop();
  hub = new Hub({
    bus,
    connections,
    stats: createStats(),
    log: { debug() {}, info() {}, warn() {}, error() {} },
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: 0,
    maxPayload: 1024,
    datetime: false,
    adminEvents: true,
    presenceEvents: true,
    history: null,
    rulesFor: () => ({ presence: false, presenceMeta: false, namesSender: false, history: null }),
  });
  hub.start();
  await bus.subscribe(["to"], hub);
});

test("an observer gets both directions, and is no listener", () => {
  const stop = inspect(hub, "room:1", observer);
  bus.bring("to:room:1:update", '{"a": 1}');
  bus.bring("to:room:1:raw", Buffer.from([0xff, 0]));
  bus.bring("to:room:2:update", "1");
  const member = new FakeMember(hub.open("room:1"), "c1");
  hub.join(member);
  hub.push({ member, event: "ask", ref: null, payload: "[1]" });
  hub.notify("room:1", "phx_join", "{}");
  hub.notify("room:2", "phx_join", "{}");
  expect(observed).toEqual([
    'to update {"a": 1} 8',
    "to raw 2 bytes 2",
    "from c1:room:1:1 ask [1]",
    "from  phx_join {}",
  ]);
  expect(hub.stats.deliveries).toBe(0);
  stop();
});

test("with the last observer the inspector is removed", () => {
  const first = inspect(hub, "room", observer);
  const second = inspect(hub, "room", { sent() {}, pushed() {} });
  const channel = hub.open("room");
  expect(channel.receivers).toHaveLength(1);
  first();
  bus.bring("to:room:update", "1");
  expect(observed).toEqual([]);
  expect(channel.observer).not.toBeNull();
  second();
  expect(channel.receivers).toHaveLength(0);
  expect(channel.observer).toBeNull();
  expect(hub.channels.has("room")).toBe(false);
});

test("a channel counts its traffic", () => {
  const stop = inspect(hub, "room", observer);
  const { traffic } = hub.open("room");
  bus.bring("to:room:update", "12345");
  const member = new FakeMember(hub.open("room"), "c1");
  hub.push({ member, event: "ask", ref: null, payload: "123" });
  expect(traffic).toMatchObject({ sent: 1, sentBytes: 5, pushed: 1, pushedBytes: 3 });
  expect(Date.now() - traffic.lastAt).toBeLessThan(60_000);
  stop();
});

test("a rate covers the time since the last call, at least a second", () => {
  const traffic = new Traffic();
  const start = Date.now();
  traffic.sent = 10;
  expect(traffic.rate(start)).toBe(0);
  expect(traffic.rate(start + 2000)).toBeCloseTo(5, 1);
  traffic.pushed = 100;
  expect(traffic.rate(start + 2500)).toBeCloseTo(5, 1);
  expect(traffic.rate(start + 4000)).toBeCloseTo(50, 1);
  expect(traffic.rate(start + 5000)).toBe(0);
});

test("an agent id is split at its first and last colon", () => {
  expect(splitAgent("aB3:weather:wind:now:12")).toEqual({
    connection: "aB3",
    channel: "weather:wind:now",
    joinRef: "12",
  });
  expect(splitAgent("aB3:room:")).toEqual({ connection: "aB3", channel: "room", joinRef: "" });
  expect(splitAgent("aB3:room")).toBeNull();
  expect(splitAgent("aB3")).toBeNull();
});
