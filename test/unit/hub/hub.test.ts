import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import type { Channel } from "../../../src/hub/channel.ts";
import { Connections } from "../../../src/hub/connections.ts";
import { Hub, type HubOptions } from "../../../src/hub/hub.ts";
import { jsonMessage } from "../../../src/hub/message.ts";
import { MemoryPresenceStore } from "../../../src/hub/presence/memory-presence.ts";
import type { PresenceStore } from "../../../src/hub/presence/presence-store.ts";
import { createStats } from "../../../src/hub/stats.ts";
import type { Fields, Log } from "../../../src/log.ts";
import { connectStores } from "./connected-presence.ts";
import { FakeBus } from "./fake-bus.ts";
import { FakeMember, FakeReceiver } from "./fake-member.ts";
import { turn } from "./turn.ts";

const WINDOW = 50;

let bus: FakeBus;
let hub: Hub;
let connections: Connections;
let warnings: { message: string; fields: Fields }[];
let serial = 0;

beforeEach(async () => {
  jest.useFakeTimers();
  await start({});
});

afterEach(() => {
  hub.stop();
  connections.stop();
  jest.useRealTimers();
});

async function start(changes: {
  presence?: PresenceStore;
  datetime?: boolean;
  maxPayload?: number;
  adminEvents?: boolean;
  presenceEvents?: boolean;
  interest?: HubOptions["interest"];
}): Promise<void> {
  warnings = [];
  const log: Log = {
    debug() {},
    info() {},
    warn: (message, fields = {}) => warnings.push({ message, fields }),
    error() {},
  };
  bus = new FakeBus();
  connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 });
  hub = new Hub({
    bus,
    connections,
    stats: createStats(),
    log,
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: WINDOW,
    maxPayload: 1024,
    datetime: false,
    adminEvents: true,
    presenceEvents: true,
    history: null,
    rulesFor: (name) => ({
      presence: !name.startsWith("anonymous:"),
      presenceMeta: false,
      namesSender: false,
      history: null,
    }),
    ...changes,
  });
  hub.start();
  await bus.subscribe(["to"], hub);
}

function receiverOf(channel: Channel): FakeReceiver {
  for (const receiver of channel.receivers) if (receiver instanceof FakeReceiver) return receiver;
  const receiver = new FakeReceiver();
  channel.addReceiver(receiver);
  return receiver;
}

/** Joins as a protocol does: the answer, the receiver, then the hub. */
function join(name: string, options: { user?: string; seesPresence?: boolean } = {}): FakeMember {
  const ref = `c${++serial}`;
  const member = new FakeMember(hub.open(name), ref, options.user ?? ref, options.seesPresence ?? true);
  member.send("phx_reply", "{}");
  receiverOf(member.channel).members.add(member);
  hub.join(member);
  return member;
}

function leave(member: FakeMember, rejoins = false): void {
  const receiver = receiverOf(member.channel);
  receiver.members.delete(member);
  if (receiver.members.size === 0) member.channel.removeReceiver(receiver);
  hub.leave(member, rejoins);
}

/** Closes presence windows and sends admin events. */
async function settle(): Promise<void> {
  await turn();
  jest.advanceTimersByTime(WINDOW + 1);
  await turn();
}

function usersIn(text: string | undefined): string[] {
  return Object.keys(JSON.parse(text ?? "{}"));
}

test("a backend's JSON reaches every member unchanged, and bytes as bytes", async () => {
  const [a, b] = [join("weather:wind"), join("weather:wind")];
  const other = join("weather");
  await settle();
  bus.bring("to:weather:wind:update", '{"n":9007199254740993,"n":1}');
  bus.bring("to:weather:wind:raw", Buffer.of(0xff, 0x00));
  for (const member of [a, b]) {
    expect(member.received.slice(-2)).toEqual([
      { event: "update", payload: '{"n":9007199254740993,"n":1}' },
      { event: "raw", payload: "ff00" },
    ]);
  }
  expect(other.events).not.toContain("update");
  expect(hub.stats.delivered).toBe(2);
});

test.each([
  ["to:nocolon", "{}", "malformed"],
  ["to::event", "{}", "malformed"],
  ["to:room:", "{}", "malformed"],
  ["to:", "{}", "malformed"],
  [Buffer.from("746f3aff3a65", "hex"), "{}", "malformed"],
  ["to:room:news", "", "empty"],
  ["to:room:news", "x".repeat(1025), "too_large"],
  [`to:room:${"e".repeat(256)}`, "{}", "invalid_name"],
  [`to:room:${"é".repeat(128)}`, "{}", "invalid_name"],
  ["to:room:a\u0007b", "{}", "invalid_name"],
  ["to:room:a\u0085b", "{}", "invalid_name"],
  ["to:empty:news", "{}", "unheard"],
  ["to:phoenix:news", "{}", "unheard"],
  ["to:system:news", "{}", "unheard"],
  ["to:room:phx_reply", "{}", "reserved"],
  ["to:empty:phx_close", "{}", "reserved"],
] as const)("a message on %p with %p is dropped as %s", async (name, payload, reason) => {
  const member = join("room");
  await settle();
  bus.echo();
  const before = member.received.length;
  // What came so far is our own: the presence of the member, and its channel's opening.
  expect(hub.stats.dropped).toEqual({ ...createStats().dropped, own: 3 });
  bus.bring(name, payload);
  expect(member.received).toHaveLength(before);
  expect(hub.stats.dropped).toEqual({ ...createStats().dropped, own: 3, [reason]: 1 });
  expect(hub.stats.delivered).toBe(0);
});

test("a message that is only counted is counted as one without listeners, and takes its place in positions", () => {
  const { stats, positions } = hub;
  const member = join("room");
  const before = { ...stats.dropped, seq: positions.seq, bytes: stats.received.bytes };
  hub.unheard(Buffer.from("to:empty:news"), 300);
  // It came before the channel had listeners.
  hub.unheard(Buffer.from("to:room:news"), 300);
  hub.unheard(Buffer.from("to:empty:news"), 2000);
  hub.unheard(Buffer.from("to:empty:phx_reply"), 300);
  hub.unheard(Buffer.from("to:empty"), 300);
  const { unheard, too_large, reserved, malformed } = stats.dropped;
  expect([unheard, too_large, reserved, malformed]).toEqual([
    ...[before.unheard + 2, before.too_large + 1],
    ...[before.reserved + 1, before.malformed + 1],
  ]);
  expect([positions.seq - before.seq, stats.received.bytes - before.bytes]).toEqual([5, 3200]);
  expect(member.events).not.toContain("news");
});

test("channels are of interest from before their first member until after their last", () => {
  const interest: string[] = [];
  hub.stop();
  start({
    interest: {
      add: (name) => void interest.push(`+${name}`),
      remove: (name) => void interest.push(`-${name}`),
    },
  });
  expect(interest).toEqual(["+phoenix", "+admin", "+system"]);
  const [one, two] = [join("room"), join("room")];
  expect(interest.splice(3)).toEqual(["+room"]);
  leave(one);
  expect(interest.splice(3)).toEqual([]);
  leave(two);
  expect(interest.splice(3)).toEqual(["-room"]);
});

test("a payload of exactly the limit and an event of exactly 255 bytes are delivered", async () => {
  const member = join("room");
  await settle();
  bus.bring(`to:room:${"e".repeat(255)}`, `"${"x".repeat(1022)}"`);
  expect(member.events.at(-1)).toBe("e".repeat(255));
});

test.each(["phx_join", "phx_leave", "phx_reply", "phx_close", "phx_error", "heartbeat", "presence_state"])(
  "a backend cannot forge %s",
  async (event) => {
    const member = join("room");
    await settle();
    bus.echo();
    const before = member.received.length;
    bus.bring(`to:room:${event}`, '{"joins":{},"leaves":{}}');
    expect(member.received).toHaveLength(before);
    expect(hub.stats.dropped.reserved).toBe(1);
    expect(warnings).toHaveLength(1);
  },
);

test("events that only resemble reserved ones are delivered", async () => {
  const member = join("room");
  await settle();
  for (const event of ["phx_joined", "PHX_JOIN", "channel.add", "presence", "datetime"]) {
    bus.bring(`to:room:${event}`, "1");
    expect(member.events.at(-1)).toBe(event);
  }
});

test("exports of this server and of others are ignored without a warning, and counted", async () => {
  const members = Array.from({ length: 5 }, () => join("room"));
  const admin = join("admin");
  await settle();
  leave(join("short"));
  await settle();
  bus.echo();
  const { own } = hub.stats.dropped;
  expect(own).toBeGreaterThan(0);
  const before = [...members, admin].map(({ received }) => received.length);
  for (const name of [
    "to:room:presence_diff",
    "to:empty:presence_diff",
    "to:admin:channel.add",
    "to:admin:channel.x",
  ]) {
    bus.bring(name, "{}");
  }
  expect(hub.stats.dropped).toEqual({ ...createStats().dropped, own: own + 4 });
  expect([...members, admin].map(({ received }) => received.length)).toEqual(before);
  expect(warnings).toEqual([]);
});

test("forged events are warned about once a minute", () => {
  for (let i = 0; i < 100; i++) bus.bring("to:room:phx_close", "{}");
  expect(warnings).toHaveLength(1);
  jest.advanceTimersByTime(60_001);
  bus.bring("to:room:phx_close", "{}");
  expect(warnings).toHaveLength(2);
  expect(hub.stats.dropped.reserved).toBe(101);
});

test("presence works while the bus is away", async () => {
  bus.turn(false);
  const a = join("room", { user: "alice" });
  const b = join("room", { user: "bob" });
  await settle();
  expect(usersIn(b.payloads("presence_state")[0]).toSorted()).toEqual(["alice", "bob"]);
  expect(a.events).toContain("presence_diff");
});

test("a join is followed by the state, then by its own diff", async () => {
  const member = join("room", { user: "alice" });
  await settle();
  expect(member.events).toEqual(["phx_reply", "presence_state", "presence_diff"]);
  expect(usersIn(member.payloads("presence_state")[0])).toEqual(["alice"]);
  const diff = JSON.parse(member.payloads("presence_diff")[0] ?? "");
  expect(Object.keys(diff.joins)).toEqual(["alice"]);
  expect(diff.leaves).toEqual({});
  expect(bus.on("to:room:presence_diff")).toEqual(member.payloads("presence_diff"));
});

test("above fifty, members that join within one window wait for one common state, and get one diff", async () => {
  const first = Array.from({ length: 50 }, () => join("room"));
  const rest = Array.from({ length: 250 }, () => join("room"));
  expect(first.at(-1)?.events).toEqual(["phx_reply", "presence_state"]);
  expect(rest[0]?.events).toEqual(["phx_reply"]);
  await settle();
  for (const member of first) expect(member.events).toEqual(["phx_reply", "presence_state", "presence_diff"]);
  for (const member of rest) {
    expect(member.events).toEqual(["phx_reply", "presence_state", "presence_diff"]);
    expect(usersIn(member.payloads("presence_state")[0])).toHaveLength(300);
  }
  expect(bus.on("to:room:presence_diff")).toHaveLength(1);
});

/** Members of one channel whose states are too much for one turn of the event loop. */
function joinCrowd(): FakeMember[] {
  const name = "x".repeat(20_000);
  return Array.from({ length: 60 }, (_, i) => join("room", { user: `${name}${i}` }));
}

/** Applies state and diffs as a client does. Fails if a diff comes before the state. */
function presentFor({ received }: FakeMember): string[] {
  const present = new Set<string>();
  let hasState = false;
  for (const { event, payload } of received) {
    if (!event.startsWith("presence_")) continue;
    const { joins = {}, leaves = {} } = event === "presence_diff" ? JSON.parse(payload) : {};
    if (event === "presence_state") {
      expect(hasState).toBe(false);
      hasState = true;
    }
    expect(hasState).toBe(true);
    for (const user of Object.keys(leaves)) present.delete(user);
    for (const user of event === "presence_state" ? usersIn(payload) : Object.keys(joins)) present.add(user);
  }
  return [...present].toSorted();
}

test("states that are too much for one turn are sent in several; who still waits is left out of the diff", async () => {
  const early = join("room", { user: "early" });
  await settle();
  const crowd = joinCrowd();
  jest.advanceTimersByTime(WINDOW + 1);
  expect(crowd.at(-1)?.events).toEqual(["phx_reply"]);
  expect(early.events).toEqual(["phx_reply", "presence_state", "presence_diff", "presence_diff"]);
  const late = join("room", { user: "late" });
  leave(crowd.shift() ?? late);
  await settle();
  for (let i = 0; i < 20; i++) await turn();
  await settle();
  const users = [early, late, ...crowd].map(({ user }) => user).toSorted();
  for (const member of [early, late, ...crowd]) expect(presentFor(member)).toEqual(users);
});

test("a message in between waits for none of these turns, and comes after the state of each", async () => {
  const crowd = joinCrowd();
  jest.advanceTimersByTime(WINDOW + 1);
  expect(crowd.at(-1)?.events).toEqual(["phx_reply"]);
  bus.bring("to:room:news", "1");
  for (const { events } of crowd) {
    expect(events.filter((event) => event === "presence_state")).toHaveLength(1);
    expect(events.at(-1)).toBe("news");
  }
  await settle();
  for (const member of crowd) expect(presentFor(member)).toEqual(crowd.map(({ user }) => user).toSorted());
});

test("a member that joins within a window has its state before the next broadcast", async () => {
  join("room");
  const second = join("room");
  bus.bring("to:room:news", "1");
  expect(second.events).toEqual(["phx_reply", "presence_state", "presence_diff", "news"]);
  bus.bring("to:room:news", "2");
  await settle();
  expect(second.events).toEqual(["phx_reply", "presence_state", "presence_diff", "news", "news"]);
});

test("the first member has state and diff before the next broadcast", async () => {
  const member = join("room");
  bus.bring("to:room:news", "1");
  await settle();
  expect(member.events).toEqual(["phx_reply", "presence_state", "presence_diff", "news"]);
});

test("a member that leaves while it waits for the state gets nothing more", async () => {
  const [stays] = Array.from({ length: 50 }, () => join("room"));
  const goes = join("room");
  leave(goes);
  await settle();
  expect(goes.events).toEqual(["phx_reply"]);
  const diff = JSON.parse(stays?.payloads("presence_diff")[0] ?? "");
  expect(Object.keys(diff.leaves)).toEqual([goes.user]);
});

test("a member whose token may not see presence gets none of it, and is seen by others", async () => {
  const unseeing = join("room", { user: "unseeing", seesPresence: false });
  const sees = join("room", { user: "sees" });
  await settle();
  expect(unseeing.events).toEqual(["phx_reply"]);
  expect(usersIn(sees.payloads("presence_state")[0]).toSorted()).toEqual(["sees", "unseeing"]);
});

test("where presence is turned off there is none, for members and backends", async () => {
  const member = join("anonymous:chat");
  await settle();
  leave(join("anonymous:chat"));
  await settle();
  expect(member.events).toEqual(["phx_reply"]);
  expect(bus.on("to:anonymous:chat:presence_diff")).toEqual([]);
});

test("channels have windows of their own", () => {
  const a = join("a");
  jest.advanceTimersByTime(WINDOW - 10);
  const b = join("b");
  jest.advanceTimersByTime(11);
  expect(a.events).toContain("presence_diff");
  expect(b.events).not.toContain("presence_diff");
  jest.advanceTimersByTime(WINDOW);
  expect(b.events).toContain("presence_diff");
});

test("the last leave closes the channel, and is sent first", async () => {
  const member = join("room");
  await settle();
  bus.published.length = 0;
  leave(member);
  expect(hub.channels.has("room")).toBe(false);
  await settle();
  const names = bus.published.map(({ name }) => name);
  expect(names).toContain("to:room:presence_diff");
  expect(names.at(-1)).toBe("to:admin:channel.remove");
  expect(Object.keys(JSON.parse(bus.on("to:room:presence_diff")[0] ?? "").leaves)).toEqual([member.user]);
  await settle();
  jest.advanceTimersByTime(2000);
  expect(bus.published.map(({ name }) => name)).toEqual(names);
});

test("a channel whose last member is about to rejoin stays open", async () => {
  const member = join("room");
  const { channel } = member;
  leave(member, true);
  expect(hub.channels.get("room")).toBe(channel);
  const again = join("room");
  expect(again.channel).toBe(channel);
  await settle();
  expect(bus.on("to:admin:channel.remove")).toEqual([]);
});

test("a member that leaves twice leaves once", async () => {
  join("room");
  const member = join("room");
  leave(member);
  leave(member);
  await settle();
  expect(hub.stats.joins).toEqual({ accepted: 2, left: 1 });
});

test("a channel with a receiver is not released", () => {
  const channel = hub.open("watched");
  const receiver = receiverOf(channel);
  hub.release(channel);
  expect(hub.channels.has("watched")).toBe(true);
  channel.removeReceiver(receiver);
  hub.release(channel);
  hub.release(channel);
  expect(hub.channels.has("watched")).toBe(false);
});

test("backends get channel.add with the first member and channel.remove after the last, each once", async () => {
  const receiver = receiverOf(hub.open("room"));
  const members = [join("room"), join("room")];
  await settle();
  for (const member of members) leave(member);
  receiver.members.clear();
  await settle();
  expect(bus.on("to:admin:channel.add")).toHaveLength(1);
  expect(bus.on("to:admin:channel.remove")).toHaveLength(1);
});

test.each(["phoenix", "admin", "system"])(
  "the channel %s is there from the start and never removed",
  async (name) => {
    expect(hub.channels.has(name)).toBe(true);
    leave(join(name));
    hub.release(hub.open(name));
    expect(hub.channels.has(name)).toBe(true);
    for (const event of ["channel.add", "channel.remove"]) expect(bus.on(`to:admin:${event}`)).toEqual([]);
    leave(join("room"));
    await settle();
    expect(JSON.parse(bus.on("to:admin:channel.remove")[0] ?? "").channels).toContain(name);
  },
);

test("a member that joins admin gets a list of each channel, itself included, and so do backends", () => {
  const member = join("room");
  const administrator = join("admin");
  const lists = administrator.payloads("channel.list").map((text) => JSON.parse(text));
  expect(lists.toSorted((a, b) => a.channel.localeCompare(b.channel))).toEqual([
    { channel: "admin", agents: [administrator.agent] },
    { channel: "phoenix", agents: [] },
    { channel: "room", agents: [member.agent] },
    { channel: "system", agents: [] },
  ]);
  expect(bus.on("to:admin:channel.list")).toEqual(administrator.payloads("channel.list"));
});

test("administrators see what backends see, while the bus is away too", async () => {
  const administrator = join("admin");
  bus.turn(false);
  leave(join("room"));
  await settle();
  expect(administrator.events).toContain("channel.add");
  expect(administrator.events).toContain("channel.remove");
});

test("a cached name is forgotten with its channel, and resolves to the next channel of that name", async () => {
  const first = join("room");
  bus.bring("to:room:news", "1");
  bus.bring("to:room:news", "2");
  leave(first);
  await settle();
  expect(hub.channels.has("room")).toBe(false);
  bus.bring("to:room:news", "3");
  expect(hub.stats.dropped.unheard).toBe(1);
  const second = join("room");
  bus.bring("to:room:news", "4");
  bus.bring("to:room:news", "5");
  expect(first.payloads("news")).toEqual(["1", "2"]);
  expect(second.payloads("news")).toEqual(["4", "5"]);
});

test("a channel caches 16 names, and gets every event", () => {
  const member = join("room");
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 40; i++) bus.bring(`to:room:event-${i}`, "1");
    bus.bring("to:room:bad\u0001event", "1");
  }
  expect(member.events.filter((event) => event.startsWith("event-"))).toHaveLength(80);
  expect(member.channel.names).toHaveLength(16);
  expect(hub.stats.dropped.invalid_name).toBe(2);
});

test("names of channels without members are not cached", () => {
  for (let i = 0; i < 1000; i++) bus.bring(`to:empty-${i}:news`, "1");
  expect(hub.stats.dropped.unheard).toBe(1000);
  expect([...hub.channels.values()].flatMap(({ names }) => names)).toEqual([]);
});

test("presence_events = false: backends get no presence_diff, members do", async () => {
  hub.stop();
  await start({ presenceEvents: false });
  const member = join("room");
  await settle();
  leave(join("room"));
  await settle();
  expect(bus.published.filter(({ name }) => name.endsWith(":presence_diff"))).toEqual([]);
  expect(member.events).toContain("presence_diff");
});

test("admin_events = false: backends are sent nothing on admin, and members of admin everything", async () => {
  hub.stop();
  await start({ adminEvents: false });
  const before = join("room");
  await settle();
  const administrator = join("admin");
  leave(before);
  await settle();
  for (const event of ["add", "remove", "join", "leave", "list"]) {
    expect(bus.on(`to:admin:channel.${event}`)).toEqual([]);
  }
  expect(administrator.events).toContain("channel.list");
  expect(administrator.events).toContain("channel.leave");
  expect(administrator.events).toContain("channel.remove");
});

test("each administrator has its state before any list, also when several join at once", async () => {
  join("admin");
  const second = join("admin");
  await settle();
  expect(second.events.indexOf("presence_state")).toBeLessThan(second.events.indexOf("channel.list"));
});

test("the clock of system reaches local members only", async () => {
  hub.stop();
  connections.stop();
  await start({ datetime: true });
  const member = join("system");
  jest.advanceTimersByTime(3001);
  expect(member.events.filter((event) => event === "datetime")).toHaveLength(3);
  expect(bus.published.some(({ name }) => name.endsWith(":datetime"))).toBe(false);
  hub.stop();
  jest.advanceTimersByTime(5000);
  expect(member.events.filter((event) => event === "datetime")).toHaveLength(3);
});

test("a push is passed to the bus unchanged, and the ack says whether the bus accepted it", () => {
  const accepted: boolean[] = [];
  const ack = { settled: (ok: boolean) => void accepted.push(ok) };
  const member = join("weather:wind");
  hub.push({ member, event: "ask", ref: null, payload: '{ "a": 1 }' }, ack);
  bus.turn(false);
  hub.push({ member, event: "ask", ref: null, payload: "2" }, ack);
  expect(accepted).toEqual([true, false]);
  expect(bus.on("from:weather:wind:ask")).toEqual(['{ "a": 1 }']);
});

test("a broadcast returns the number of listeners", () => {
  join("room");
  join("room");
  expect(hub.broadcast("room", jsonMessage("e", "1"))).toBe(2);
  expect(hub.broadcast("empty", jsonMessage("e", "1"))).toBe(0);
});

test("stop sends what waits in a window", () => {
  join("room");
  const member = join("room");
  hub.stop();
  expect(member.events).toEqual(["phx_reply", "presence_state", "presence_diff"]);
});

test("stop sends the last leave to backends before its notice is due", async () => {
  const gone = join("system");
  await settle();
  jest.advanceTimersByTime(2000);
  join("system");
  leave(gone);
  hub.stop();
  const last = bus.published.filter(({ name }) => name.startsWith("to:admin:channel.")).at(-1);
  expect(JSON.parse(String(last?.payload)).agents).not.toContain(gone.agent);
});

test("while draining, leaves are sent to backends only", () => {
  const [first, second] = [join("room"), join("room")];
  jest.advanceTimersByTime(WINDOW + 1);
  const before = second.events.length;
  hub.drain();
  leave(first);
  jest.advanceTimersByTime(WINDOW + 1);
  expect(second.events.length).toBe(before);
  expect(JSON.parse(bus.on("to:room:presence_diff").at(-1) ?? "{}").leaves[first.user].metas).toHaveLength(1);
});

describe("with a presence store that servers share", () => {
  const alice = { user: "alice", ref: "other.1", onlineAt: 1_700_000_000_000 };

  test("members on another server are in state and diff; backends get the changes of this server only", async () => {
    const [here, there] = connectStores(2);
    hub.stop();
    await start({ ...(here && { presence: here }) });
    const other = there?.load("room");
    const bob = join("room", { user: "bob" });
    await settle();
    other?.put(alice);
    other?.takeDiff();
    await settle();
    expect(usersIn(JSON.stringify(JSON.parse(bob.payloads("presence_diff")[1] ?? "{}").joins))).toEqual([
      "alice",
    ]);
    const carol = join("room", { user: "carol" });
    await settle();
    expect(usersIn(carol.payloads("presence_state")[0]).toSorted()).toEqual(["alice", "bob", "carol"]);
    const exported = bus.on("to:room:presence_diff").map((text) => Object.keys(JSON.parse(text).joins));
    expect(exported).toEqual([["bob"], ["carol"]]);
  });

  test("until the members on other servers are known there is no state and no diff, and messages are delivered", async () => {
    const [here, there] = connectStores(2);
    if (here === undefined || there === undefined) throw new Error("two stores expected");
    there.load("room").put(alice);
    here.loadsAtOnce = false;
    hub.stop();
    await start({ presence: here });
    const bob = join("room", { user: "bob" });
    await settle();
    bus.bring("to:room:news", "1");
    expect(bob.events).toEqual(["phx_reply", "news"]);
    here.finishLoading("room");
    await settle();
    expect(bob.events).toEqual(["phx_reply", "news", "presence_state", "presence_diff"]);
    expect(usersIn(bob.payloads("presence_state")[0]).toSorted()).toEqual(["alice", "bob"]);
  });

  test("a channel that closes before it is loaded reports its joins and leaves to backends", async () => {
    const [here] = connectStores(1);
    if (here === undefined) throw new Error("a store expected");
    here.loadsAtOnce = false;
    hub.stop();
    await start({ presence: here });
    leave(join("room", { user: "bob" }));
    const diff = JSON.parse(bus.on("to:room:presence_diff")[0] ?? "{}");
    expect([Object.keys(diff.joins), Object.keys(diff.leaves)]).toEqual([["bob"], ["bob"]]);
    expect(here.channels.has("room")).toBe(false);
  });
});
