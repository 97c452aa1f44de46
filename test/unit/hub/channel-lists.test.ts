import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import type { Channel } from "../../../src/hub/channel.ts";
import { Connections } from "../../../src/hub/connections.ts";
import { Hub } from "../../../src/hub/hub.ts";
import { MemoryPresenceStore } from "../../../src/hub/presence/memory-presence.ts";
import { createStats } from "../../../src/hub/stats.ts";
import { FakeBus } from "./fake-bus.ts";
import { FakeMember } from "./fake-member.ts";
import { turn } from "./turn.ts";

const CHANNELS = 100_000;
/** `admin`, `phoenix` and `system`. */
const PERMANENT = 3;

let bus: FakeBus;
let hub: Hub;
let connections: Connections;

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  hub.stop();
  connections.stop();
  jest.useRealTimers();
});

async function start(adminEvents: boolean): Promise<void> {
  bus = new FakeBus();
  connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 });
  hub = new Hub({
    bus,
    connections,
    stats: createStats(),
    log: { debug() {}, info() {}, warn() {}, error() {} },
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: 50,
    maxPayload: 1024,
    datetime: false,
    adminEvents,
    presenceEvents: true,
    history: null,
    rulesFor: () => ({ presence: false, presenceMeta: false, namesSender: false, history: null }),
  });
  hub.start();
  await bus.subscribe(["to"], hub);
}

function join(name: string): FakeMember {
  const member = new FakeMember(hub.open(name), `m-${name}`);
  hub.join(member);
  return member;
}

/** Opens channels by one member each, and waits for their events to be sent. */
async function open(count: number): Promise<void> {
  for (let i = 0; i < count; i++) join(`channel-${i}`);
  await turn();
  bus.published.length = 0;
}

function listed(member: FakeMember): Set<string> {
  const names = member.payloads("channel.list").map((text): unknown => JSON.parse(text).channel);
  const unique = new Set(names.map(String));
  expect(unique.size).toBe(names.length);
  return unique;
}

test("the lists of 100,000 channels are sent in slices: no turn of the event loop sends more than 250", async () => {
  await start(false);
  await open(CHANNELS);
  const administrator = join("admin");
  const { received } = administrator;
  let turns = 0;
  for (let before = 0; before < received.length; turns++) {
    const fresh = received.slice(before).filter(({ event }) => event === "channel.list");
    expect(fresh.length).toBeLessThanOrEqual(250);
    before = received.length;
    await turn();
  }
  expect(listed(administrator).size).toBe(CHANNELS + PERMANENT);
  expect(turns).toBeGreaterThanOrEqual(CHANNELS / 250);
});

test("a channel that closes before its list is due is left out, and messages go out in between", async () => {
  await start(false);
  await open(1000);
  const administrator = join("admin");
  const last = hub.channels.get("channel-999");
  for (const member of last?.members ?? []) hub.leave(member);
  await turn();
  expect(administrator.events.lastIndexOf("channel.list")).toBeGreaterThan(300);
  for (let i = 0; i < 10; i++) await turn();
  const names = listed(administrator);
  expect(names.has("channel-998")).toBe(true);
  expect(names.has("channel-999")).toBe(false);
});

test("lists wait while the client has a backlog", async () => {
  await start(false);
  await open(2000);
  const administrator = join("admin");
  administrator.connection.waiting = 1;
  const sent = listed(administrator).size;
  for (let i = 0; i < 20; i++) await turn();
  jest.advanceTimersByTime(1000);
  expect(listed(administrator).size).toBe(sent);
  administrator.connection.waiting = 0;
  jest.advanceTimersByTime(20);
  for (let i = 0; i < 20; i++) await turn();
  expect(listed(administrator).size).toBe(2000 + PERMANENT);
});

test("a client with a backlog does not delay the lists of another", async () => {
  await start(false);
  await open(2000);
  const slow = join("admin");
  slow.connection.waiting = 1;
  const other = join("admin");
  for (let i = 0; i < 20; i++) await turn();
  jest.advanceTimersByTime(20);
  for (let i = 0; i < 20; i++) await turn();
  expect(listed(other).size).toBe(2000 + PERMANENT);
  expect(listed(slow).size).toBeLessThan(1000);
});

test("a member that leaves gets no more lists; backends get the rest", async () => {
  await start(true);
  await open(2000);
  const administrator = join("admin");
  hub.leave(administrator);
  const sent = listed(administrator).size;
  for (let i = 0; i < 20; i++) await turn();
  expect(listed(administrator).size).toBe(sent);
  expect(bus.on("to:admin:channel.list")).toHaveLength(2000 + PERMANENT);
});

test("without backends that get them, the lists end with the membership and with the server", async () => {
  await start(false);
  await open(2000);
  hub.leave(join("admin"));
  const administrator = join("admin");
  hub.stop();
  const sent = listed(administrator).size;
  for (let i = 0; i < 20; i++) await turn();
  expect(listed(administrator).size).toBe(sent);
});

test("long lists make smaller slices", async () => {
  await start(false);
  const channel: Channel = hub.open("large");
  for (let i = 0; i < 40; i++) hub.join(new FakeMember(channel, "x".repeat(80) + i));
  for (let n = 0; n < 100; n++) {
    for (let i = 0; i < 40; i++) hub.join(new FakeMember(hub.open(`large-${n}`), "x".repeat(80) + i));
  }
  await turn();
  const administrator = join("admin");
  const bytes = administrator.payloads("channel.list").join("").length;
  expect(bytes).toBeGreaterThan(32 * 1024);
  expect(bytes).toBeLessThan(72 * 1024);
});
