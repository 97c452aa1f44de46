import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { Channel } from "../../../src/hub/channel.ts";
import { PresenceWindows } from "../../../src/hub/presence/presence-windows.ts";
import { FakeMember } from "./fake-member.ts";

const LENGTH = 50;

let sent: string[];
let windows: PresenceWindows;

beforeEach(() => {
  jest.useFakeTimers();
  start(Number.MAX_SAFE_INTEGER);
});

afterEach(() => {
  windows.stop();
  jest.useRealTimers();
});

function start(membersPerMs: number): void {
  sent = [];
  windows = new PresenceWindows(LENGTH, membersPerMs, (channel) => sent.push(channel.name));
}

function channelOf(members: number, name = "room"): Channel {
  const channel = new Channel(name, null);
  for (let i = 0; i < members; i++) channel.members.add(new FakeMember(channel, `c${i}`));
  return channel;
}

test("a window closes once, after its length, with all changes up to then", () => {
  const channel = channelOf(1);
  windows.open(channel);
  jest.advanceTimersByTime(LENGTH - 1);
  windows.open(channel);
  expect([windows.isOpen(channel), sent]).toEqual([true, []]);
  jest.advanceTimersByTime(2);
  expect([windows.isOpen(channel), sent]).toEqual([false, ["room"]]);
  jest.advanceTimersByTime(10 * LENGTH);
  expect(sent).toEqual(["room"]);
});

test("close sends at once, and not again; it does nothing for a window that is not open", () => {
  const channel = channelOf(1);
  windows.close(channel);
  expect(sent).toEqual([]);
  windows.open(channel);
  windows.close(channel);
  jest.advanceTimersByTime(2 * LENGTH);
  expect(sent).toEqual(["room"]);
});

test("stop sends the last changes", () => {
  windows.open(channelOf(1, "a"));
  windows.open(channelOf(1, "b"));
  windows.stop();
  expect(sent).toEqual(["a", "b"]);
});

test("under load windows stay open longer: the rate holds, and each channel is sent within a second", () => {
  const perMs = 10;
  start(perMs);
  const channels = Array.from({ length: 1000 }, (_, i) => channelOf(5, `room-${i}`));
  let members = 0;
  for (let ms = 0; ms < 3000; ms++) {
    for (const channel of channels) windows.open(channel);
    const before = sent.length;
    jest.advanceTimersByTime(1);
    members += 5 * (sent.length - before);
  }
  // As many as a second and the burst allow, and not the 60 times 5,000 that windows of 50 ms would be.
  expect(members).toBeLessThanOrEqual(3000 * perMs + 1000 + 5);
  expect(members).toBeGreaterThan(2000 * perMs);
  const open = channels.filter((channel) => windows.isOpen(channel)).map(({ name }) => name);
  expect(open.length).toBeGreaterThan(900);
  sent = [];
  jest.advanceTimersByTime(1001);
  expect(sent.toSorted()).toEqual(open.toSorted());
});

test("a channel larger than the allowance is sent once a second, and small ones in between", () => {
  start(1);
  const large = channelOf(20_000, "large");
  const room = channelOf(1);
  for (let ms = 0; ms < 5000; ms++) {
    windows.open(large);
    windows.open(room);
    jest.advanceTimersByTime(1);
  }
  const times = (name: string): number => sent.filter((each) => each === name).length;
  expect(times("large")).toBeGreaterThanOrEqual(4);
  expect(times("large")).toBeLessThanOrEqual(6);
  expect(times("room")).toBeGreaterThanOrEqual(4);
});

test("without a limit large channels do not wait for each other", () => {
  const channels = ["a", "b", "c"].map((name) => channelOf(2000, name));
  for (const channel of channels) windows.open(channel);
  jest.advanceTimersByTime(LENGTH + 1);
  expect(sent).toEqual(["a", "b", "c"]);
});

test("after the load the regular length holds again", () => {
  start(10);
  windows.open(channelOf(5000, "large"));
  jest.advanceTimersByTime(LENGTH + 1);
  jest.advanceTimersByTime(1000);
  windows.open(channelOf(5));
  jest.advanceTimersByTime(LENGTH + 1);
  expect(sent).toEqual(["large", "room"]);
});
