import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { AdminEvents } from "../../../src/hub/admin-events.ts";
import { Channel } from "../../../src/hub/channel.ts";
import { FakeMember } from "./fake-member.ts";
import { turn } from "./turn.ts";

interface SentEvent {
  readonly at: number;
  readonly event: string;
  readonly payload: Record<string, unknown>;
}

let sentEvents: SentEvent[];
let adminEvents: AdminEvents;
let serial = 0;

beforeEach(() => {
  jest.useFakeTimers();
  sentEvents = [];
  adminEvents = new AdminEvents(["always"], (event, payload) =>
    sentEvents.push({ at: Date.now(), event, payload: JSON.parse(payload) }),
  );
});

afterEach(() => {
  adminEvents.stop();
  jest.useRealTimers();
});

/** The first member opens its channel. */
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

/** Advances time in steps, each followed by a turn of the event loop. */
async function pass(ms: number, step = 10): Promise<void> {
  await turn();
  for (let passed = 0; passed < ms; passed += step) {
    jest.advanceTimersByTime(step);
    await turn();
  }
}

function events(event: string): SentEvent[] {
  return sentEvents.filter((each) => each.event === event);
}

test("channel.add and channel.remove list all channels that are open then", async () => {
  const a = join(channelOf("a"));
  await turn();
  join(channelOf("b:c"));
  await turn();
  leave(a);
  await turn();
  const sent = sentEvents.filter(({ event }) => event === "channel.add" || event === "channel.remove");
  expect(sent.map(({ event, payload }) => ({ event, payload }))).toEqual([
    { event: "channel.add", payload: { channel: "a", channels: ["always", "a"] } },
    { event: "channel.add", payload: { channel: "b:c", channels: ["always", "a", "b:c"] } },
    { event: "channel.remove", payload: { channel: "a", channels: ["always", "b:c"] } },
  ]);
});

test("in a burst no channel.add or channel.remove is dropped, and pairs keep their order", async () => {
  const channel = channelOf("burst");
  for (let i = 0; i < 500; i++) leave(join(channel));
  await turn();
  const sent = sentEvents.map(({ event }) => event).filter((event) => /add|remove/.test(event));
  expect(events("channel.add")).toHaveLength(500);
  expect(events("channel.remove")).toHaveLength(500);
  expect(sent.slice(0, 4)).toEqual(["channel.add", "channel.remove", "channel.add", "channel.remove"]);
});

test("a permanent channel is neither added nor removed", async () => {
  leave(join(channelOf("always")));
  await turn();
  expect(events("channel.add")).toEqual([]);
  expect(events("channel.remove")).toEqual([]);
});

test("channel.join is sent at the end of the turn, with the agent and all agents of its channel", async () => {
  const member = join(channelOf('quo"te'));
  await turn();
  expect(sentEvents.map(({ event }) => event)).toEqual(["channel.add", "channel.join"]);
  expect(sentEvents[1]?.payload).toEqual({
    agent: member.agent,
    channel: 'quo"te',
    agents: [member.agent],
  });
});

test("a burst of joins and leaves sends at most four events per second, and the last has the newest list", async () => {
  const channel = channelOf("always");
  const start = Date.now();
  const members: FakeMember[] = [];
  const memberEvents = () => sentEvents.filter(({ event }) => /join|leave/.test(event));
  // One join, then a leave and a join in one turn whenever the limit allows: the maximum.
  members.push(join(channel));
  for (let ms = 0; ms < 4000; ms += 10) {
    await pass(10);
    const last = memberEvents().at(-1)?.at ?? 0;
    if (Date.now() - last < 255) continue;
    for (const gone of members.splice(0, 1)) leave(gone);
    members.push(join(channel));
  }
  await pass(1500);
  const sent = memberEvents();
  expect(sent.length).toBeGreaterThan(8);
  for (const { at } of sent) {
    expect(sent.filter((other) => other.at >= at && other.at < at + 1000).length).toBeLessThanOrEqual(4);
  }
  expect(sent.at(-1)?.payload.agents).toEqual(members.map(({ agent }) => agent));
  expect((sent.at(-1)?.at ?? 0) - start).toBeLessThanOrEqual(5500);
});

test("a notice that waits is sent without another event", async () => {
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

test("a busy channel does not delay another", async () => {
  const busy = channelOf("busy");
  for (let i = 0; i < 100; i++) join(busy);
  await turn();
  for (let i = 0; i < 100; i++) join(busy);
  const other = join(channelOf("other"));
  await turn();
  expect(events("channel.join").at(-1)?.payload.agent).toBe(other.agent);
});

test("after channel.remove nothing is sent about members of the channel", async () => {
  const channel = channelOf("short");
  const member = join(channel);
  await turn();
  const second = join(channel);
  leave(member);
  leave(second);
  await pass(3000);
  expect(sentEvents.at(-1)?.event).toBe("channel.remove");
  expect(events("channel.remove")).toHaveLength(1);
});

test("a channel that opens again is added again", async () => {
  leave(join(channelOf("again")));
  await turn();
  const member = join(channelOf("again"));
  await pass(1100);
  expect(events("channel.add")).toHaveLength(2);
  expect(events("channel.join").at(-1)?.payload).toMatchObject({ agents: [member.agent] });
});

test("channels are open while they have members; permanent ones always are", () => {
  const channel = channelOf("known");
  expect(adminEvents.isOpen(channel)).toBe(false);
  const member = join(channel);
  expect(adminEvents.isOpen(channel)).toBe(true);
  leave(member);
  expect(adminEvents.isOpen(channel)).toBe(false);
  expect(adminEvents.isOpen(channelOf("always"))).toBe(true);
});

test("above 100 names a list has only the channel that opened, and the total", async () => {
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

test("a list of channels is truncated above 4,096 bytes of JSON", async () => {
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

test("above 100 agents or 4 KiB a list has only the agent that joined, and the total", async () => {
  const large = channelOf("large");
  const members = Array.from({ length: 100 }, () => join(large));
  await pass(1100);
  expect(events("channel.join").at(-1)?.payload.agents).toHaveLength(100);
  expect(JSON.parse(adminEvents.list(large)).agents).toHaveLength(100);
  const last = join(large);
  await pass(1100);
  expect(events("channel.join").at(-1)?.payload).toEqual({
    agent: last.agent,
    channel: "large",
    agents: [last.agent],
    total: 101,
  });
  expect(JSON.parse(adminEvents.list(large))).toEqual({ channel: "large", agents: [], total: 101 });
  join(large);
  await pass(1100);
  leave(last);
  await pass(1100);
  expect(events("channel.leave").at(-1)?.payload).toEqual({
    agent: last.agent,
    channel: "large",
    agents: [],
    total: 101,
  });
  for (const member of members) leave(member);

  const long = channelOf("n".repeat(1500));
  for (let i = 0; i < 3; i++) join(long);
  await pass(1100);
  expect(events("channel.join").at(-1)?.payload).toMatchObject({ total: 3, agents: [expect.anything()] });
});

test("the last leave of a channel is sent before channel.remove, even right after other events", async () => {
  const channel = channelOf("short");
  const first = join(channel);
  await turn();
  const second = join(channel);
  leave(first);
  leave(second);
  await turn();
  expect(sentEvents.map(({ event }) => event)).toEqual([
    "channel.add",
    "channel.join",
    "channel.leave",
    "channel.remove",
  ]);
  expect(events("channel.leave")[0]?.payload).toEqual({ agent: second.agent, channel: "short", agents: [] });
});

test("a channel that opens and closes all the time has at most four joins and leaves in any second", async () => {
  for (let ms = 0; ms < 4000; ms += 10) {
    const member = join(channelOf("flip"));
    if (ms % 30 === 0) await turn();
    leave(member);
    await pass(10);
  }
  await pass(1500);
  const sent = sentEvents.filter(({ event }) => /join|leave/.test(event));
  expect(sent.length).toBeGreaterThan(8);
  for (const { at } of sent) {
    expect(sent.filter((other) => other.at >= at && other.at < at + 1000).length).toBeLessThanOrEqual(4);
  }
  const flips = sentEvents.filter(({ event }) => /add|remove/.test(event));
  expect(flips).toHaveLength(800);
});

test("without a receiver no event is made, and channels are still tracked", async () => {
  let wanted = false;
  const quiet = new AdminEvents(
    [],
    (event) => sentEvents.push({ at: 0, event, payload: {} }),
    () => wanted,
  );
  const channel = channelOf("quiet");
  const member = new FakeMember(channel, "quiet");
  quiet.opened(channel);
  quiet.joined(member);
  await turn();
  expect(quiet.isOpen(channel)).toBe(true);
  expect(sentEvents).toEqual([]);
  wanted = true;
  quiet.left(member);
  quiet.closed(channel);
  await turn();
  expect(sentEvents.map(({ event }) => event)).toEqual(["channel.leave", "channel.remove"]);
  quiet.stop();
});

test("channel.list has the agents of its channel", () => {
  const channel = channelOf("listed");
  expect(JSON.parse(adminEvents.list(channel))).toEqual({ channel: "listed", agents: [] });
  const [a, b] = [join(channel), join(channel)];
  expect(JSON.parse(adminEvents.list(channel))).toEqual({
    channel: "listed",
    agents: [a.agent, b.agent],
  });
});

test("stop sends what waits, and nothing afterwards", async () => {
  const channel = channelOf("always");
  join(channel);
  await turn();
  const second = join(channel);
  adminEvents.stop();
  expect(events("channel.join").at(-1)?.payload.agent).toBe(second.agent);
  const { length } = sentEvents;
  await pass(2000, 100);
  expect(sentEvents).toHaveLength(length);
});

test("opening and closing 20,000 channels at once takes linear time", async () => {
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
