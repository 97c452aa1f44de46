import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { AdminEvents } from "../../../src/hub/admin-events.ts";
import { Channel } from "../../../src/hub/channel.ts";
import { FakeMember } from "./fake-member.ts";
import { turn } from "./turn.ts";

interface Announced {
  readonly at: number;
  readonly event: string;
  readonly payload: Record<string, unknown>;
}

let announced: Announced[];
let adminEvents: AdminEvents;
let serial = 0;

beforeEach(() => {
  jest.useFakeTimers();
  announced = [];
  adminEvents = new AdminEvents(["always"], (event, payload) =>
    announced.push({ at: Date.now(), event, payload: JSON.parse(payload) }),
  );
});

afterEach(() => {
  adminEvents.stop();
  jest.useRealTimers();
});

/** A first member opens a channel, which is told with it. */
function join(channel: Channel): FakeMember {
  const member = new FakeMember(channel, `c${++serial}`);
  channel.members.add(member);
  adminEvents.opened(channel);
  adminEvents.joined(member);
  return member;
}

function leave(member: FakeMember): void {
  const { channel } = member;
  channel.members.delete(member);
  adminEvents.left(member);
  if (channel.members.size === 0) adminEvents.closed(channel);
}

function channelOf(name: string): Channel {
  return new Channel(name, null);
}

/** Time goes by, in steps after which the event loop turns. */
async function pass(ms: number, step = 10): Promise<void> {
  await turn();
  for (let passed = 0; passed < ms; passed += step) {
    jest.advanceTimersByTime(step);
    await turn();
  }
}

function events(event: string): Announced[] {
  return announced.filter((each) => each.event === event);
}

test("each channel that opens or closes is told, with all that there are then", async () => {
  const a = join(channelOf("a"));
  await turn();
  join(channelOf("b:c"));
  await turn();
  leave(a);
  await turn();
  const told = announced.filter(({ event }) => event === "channel.add" || event === "channel.remove");
  expect(told.map(({ event, payload }) => ({ event, payload }))).toEqual([
    { event: "channel.add", payload: { channel: "a", channels: ["always", "a"] } },
    { event: "channel.add", payload: { channel: "b:c", channels: ["always", "a", "b:c"] } },
    { event: "channel.remove", payload: { channel: "a", channels: ["always", "b:c"] } },
  ]);
});

test("no opening and no closing is dropped in a burst, and each pair keeps its order", async () => {
  const channel = channelOf("burst");
  for (let i = 0; i < 500; i++) leave(join(channel));
  await turn();
  const told = announced.map(({ event }) => event).filter((event) => /add|remove/.test(event));
  expect(events("channel.add")).toHaveLength(500);
  expect(events("channel.remove")).toHaveLength(500);
  expect(told.slice(0, 4)).toEqual(["channel.add", "channel.remove", "channel.add", "channel.remove"]);
});

test("a channel that always exists is neither added nor removed", async () => {
  leave(join(channelOf("always")));
  await turn();
  expect(events("channel.add")).toEqual([]);
  expect(events("channel.remove")).toEqual([]);
});

test("a join is told when the turn of the event loop ends, with the agent and all of its channel", async () => {
  const member = join(channelOf('quo"te'));
  await turn();
  expect(announced.map(({ event }) => event)).toEqual(["channel.add", "channel.join"]);
  expect(announced[1]?.payload).toEqual({
    agent: member.agent,
    channel: 'quo"te',
    agents: [member.agent],
  });
});

test("a burst of joins and leaves is at most four events a second, and the last has the newest list", async () => {
  const channel = channelOf("always");
  const start = Date.now();
  const members: FakeMember[] = [];
  const tell = () => announced.filter(({ event }) => /join|leave/.test(event));
  // One join, then both in one turn whenever they may be told: the most that can be had.
  members.push(join(channel));
  for (let ms = 0; ms < 4000; ms += 10) {
    await pass(10);
    const last = tell().at(-1)?.at ?? 0;
    if (Date.now() - last < 255) continue;
    for (const gone of members.splice(0, 1)) leave(gone);
    members.push(join(channel));
  }
  await pass(1500);
  const told = tell();
  expect(told.length).toBeGreaterThan(8);
  for (const { at } of told) {
    expect(told.filter((other) => other.at >= at && other.at < at + 1000).length).toBeLessThanOrEqual(4);
  }
  expect(told.at(-1)?.payload.agents).toEqual(members.map(({ agent }) => agent));
  expect((told.at(-1)?.at ?? 0) - start).toBeLessThanOrEqual(5500);
});

test("what waits for its turn is told without another event to push it", async () => {
  const channel = channelOf("quiet");
  join(channel);
  await turn();
  const second = join(channel);
  await turn();
  expect(events("channel.join")).toHaveLength(1);
  await pass(1100);
  expect(events("channel.join").map(({ payload }) => payload.agent)).toContain(second.agent);
  await pass(10_000, 100);
  expect(events("channel.join")).toHaveLength(2);
});

test("one busy channel holds back no other", async () => {
  const busy = channelOf("busy");
  for (let i = 0; i < 100; i++) join(busy);
  await turn();
  for (let i = 0; i < 100; i++) join(busy);
  const other = join(channelOf("other"));
  await turn();
  expect(events("channel.join").at(-1)?.payload.agent).toBe(other.agent);
});

test("nothing is told of the members of a channel after its removal", async () => {
  const channel = channelOf("short");
  const member = join(channel);
  await turn();
  const second = join(channel);
  leave(member);
  leave(second);
  await pass(3000);
  expect(announced.at(-1)?.event).toBe("channel.remove");
  expect(events("channel.remove")).toHaveLength(1);
});

test("a channel opened again under the same name is told as such", async () => {
  leave(join(channelOf("again")));
  await turn();
  const member = join(channelOf("again"));
  await pass(1100);
  expect(events("channel.add")).toHaveLength(2);
  expect(events("channel.join").at(-1)?.payload).toMatchObject({ agents: [member.agent] });
});

test("channels are known while they have members, and those that always exist", () => {
  const channel = channelOf("known");
  expect(adminEvents.isOpen(channel)).toBe(false);
  const member = join(channel);
  expect(adminEvents.isOpen(channel)).toBe(true);
  leave(member);
  expect(adminEvents.isOpen(channel)).toBe(false);
  expect(adminEvents.isOpen(channelOf("always"))).toBe(true);
});

test("beyond 100 names a list of channels holds the one that opened, and says how many there are", async () => {
  const members: FakeMember[] = [];
  for (let i = 0; i < 99; i++) members.push(join(channelOf(`c${i}`)));
  await turn();
  const full = events("channel.add").at(-1)?.payload;
  expect(full?.channels).toHaveLength(100);
  expect(full).not.toHaveProperty("total");
  for (let i = 99; i < 104; i++) members.push(join(channelOf(`c${i}`)));
  await turn();
  const cut = { channel: "c103", channels: ["c103"], total: 105 };
  expect(events("channel.add").at(-1)?.payload).toEqual(cut);
  for (const member of members.splice(0, 4)) leave(member);
  await turn();
  expect(events("channel.remove").at(-1)?.payload).toEqual({ channel: "c3", channels: [], total: 101 });
  for (const member of members.splice(0, 1)) leave(member);
  await turn();
  const names = events("channel.remove").at(-1)?.payload.channels;
  expect(names).toHaveLength(100);
  expect(names).not.toContain("c4");
  expect(names).toContain("c103");
});

test("a list of channels is cut beyond 4 KiB of JSON, to the byte", async () => {
  // ["always", and three names: 4,096 bytes in all, escapes and UTF-8 included.
  const names = ['"'.repeat(600), "\u00e4".repeat(700), "x".repeat(4096 - 10 - 1203 - 1403 - 3)];
  const list = JSON.stringify(["always", ...names]);
  expect(Buffer.byteLength(list)).toBe(4096);
  const [, , third] = names.map((name) => join(channelOf(name)));
  await turn();
  expect(events("channel.add").at(-1)?.payload).toEqual({
    channel: names[2],
    channels: ["always", ...names],
  });
  if (third !== undefined) leave(third);
  join(channelOf(`${names[2]}x`));
  await turn();
  expect(events("channel.add").at(-1)?.payload).toEqual({
    channel: `${names[2]}x`,
    channels: [`${names[2]}x`],
    total: 4,
  });
});

test("beyond 100 agents or 4 KiB a list of agents holds the one that joined, and says how many there are", async () => {
  const crowd = channelOf("crowd");
  const members = Array.from({ length: 100 }, () => join(crowd));
  await pass(1100);
  expect(events("channel.join").at(-1)?.payload.agents).toHaveLength(100);
  expect(JSON.parse(adminEvents.list(crowd)).agents).toHaveLength(100);
  const last = join(crowd);
  await pass(1100);
  expect(events("channel.join").at(-1)?.payload).toEqual({
    agent: last.agent,
    channel: "crowd",
    agents: [last.agent],
    total: 101,
  });
  expect(JSON.parse(adminEvents.list(crowd))).toEqual({ channel: "crowd", agents: [], total: 101 });
  join(crowd);
  await pass(1100);
  leave(last);
  await pass(1100);
  expect(events("channel.leave").at(-1)?.payload).toEqual({
    agent: last.agent,
    channel: "crowd",
    agents: [],
    total: 101,
  });
  for (const member of members) leave(member);

  const long = channelOf("n".repeat(1500));
  for (let i = 0; i < 3; i++) join(long);
  await pass(1100);
  expect(events("channel.join").at(-1)?.payload).toMatchObject({ total: 3, agents: [expect.anything()] });
});

test("the last leave of a channel is sent before its removal, though others were just sent", async () => {
  const channel = channelOf("short");
  const first = join(channel);
  await turn();
  const second = join(channel);
  leave(first);
  leave(second);
  await turn();
  expect(announced.map(({ event }) => event)).toEqual([
    "channel.add",
    "channel.join",
    "channel.leave",
    "channel.remove",
  ]);
  expect(events("channel.leave")[0]?.payload).toEqual({ agent: second.agent, channel: "short", agents: [] });
});

test("a channel that opens and closes all the time has four joins and leaves a second, wherever it begins", async () => {
  for (let ms = 0; ms < 4000; ms += 10) {
    const member = join(channelOf("flip"));
    if (ms % 30 === 0) await turn();
    leave(member);
    await pass(10);
  }
  await pass(1500);
  const told = announced.filter(({ event }) => /join|leave/.test(event));
  expect(told.length).toBeGreaterThan(8);
  for (const { at } of told) {
    expect(told.filter((other) => other.at >= at && other.at < at + 1000).length).toBeLessThanOrEqual(4);
  }
  const flips = announced.filter(({ event }) => /add|remove/.test(event));
  expect(flips).toHaveLength(800);
});

test("without a receiver nothing is made, and channels are still known", async () => {
  let wanted = false;
  const quiet = new AdminEvents(
    [],
    (event) => announced.push({ at: 0, event, payload: {} }),
    () => wanted,
  );
  const channel = channelOf("quiet");
  const member = new FakeMember(channel, "quiet");
  quiet.opened(channel);
  quiet.joined(member);
  await turn();
  expect(quiet.isOpen(channel)).toBe(true);
  expect(announced).toEqual([]);
  wanted = true;
  quiet.left(member);
  quiet.closed(channel);
  await turn();
  expect(announced.map(({ event }) => event)).toEqual(["channel.leave", "channel.remove"]);
  quiet.stop();
});

test("the list of a channel names its agents", () => {
  const channel = channelOf("listed");
  expect(JSON.parse(adminEvents.list(channel))).toEqual({ channel: "listed", agents: [] });
  const [a, b] = [join(channel), join(channel)];
  expect(JSON.parse(adminEvents.list(channel))).toEqual({
    channel: "listed",
    agents: [a.agent, b.agent],
  });
});

test("stopping tells what is not yet told, and nothing afterwards", async () => {
  const channel = channelOf("always");
  join(channel);
  await turn();
  const second = join(channel);
  adminEvents.stop();
  expect(events("channel.join").at(-1)?.payload.agent).toBe(second.agent);
  const { length } = announced;
  await pass(2000, 100);
  expect(announced).toHaveLength(length);
});

test("as many channels as there are pages close at once, and it does not cost the square of them", async () => {
  const quiet = new AdminEvents([], () => {});
  const channels = Array.from({ length: 20_000 }, (_, i) => channelOf(`streaming-${i}`));
  const before = process.cpuUsage();
  for (const channel of channels) quiet.opened(channel);
  await turn();
  for (const channel of channels) quiet.closed(channel);
  await turn();
  quiet.stop();
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(1500);
});
