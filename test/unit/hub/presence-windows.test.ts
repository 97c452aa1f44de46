import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { Channel } from "../../../src/hub/channel.ts";
import { PresenceWindows } from "../../../src/hub/presence/presence-windows.ts";
import { FakeMember } from "./fake-member.ts";

const LENGTH = 50;

let told: string[];
let windows: PresenceWindows;

beforeEach(() => {
  jest.useFakeTimers();
  start(Number.MAX_SAFE_INTEGER);
});

afterEach(() => {
  windows.stop();
  jest.useRealTimers();
});

function start(toldPerMs: number): void {
  told = [];
  windows = new PresenceWindows(LENGTH, toldPerMs, (channel) => told.push(channel.name));
}

function channelOf(members: number, name = "room"): Channel {
  const channel = new Channel(name, null);
  for (let i = 0; i < members; i++) channel.members.add(new FakeMember(channel, `c${i}`));
  return channel;
}

test("a window closes after its length, once, and all that opens it meanwhile shares it", () => {
  const channel = channelOf(1);
  windows.open(channel);
  jest.advanceTimersByTime(LENGTH - 1);
  windows.open(channel);
  expect([windows.isOpen(channel), told]).toEqual([true, []]);
  jest.advanceTimersByTime(2);
  expect([windows.isOpen(channel), told]).toEqual([false, ["room"]]);
  jest.advanceTimersByTime(10 * LENGTH);
  expect(told).toEqual(["room"]);
});

test("closed by hand it is told at once, and not again; one that is not open is told nothing", () => {
  const channel = channelOf(1);
  windows.close(channel);
  expect(told).toEqual([]);
  windows.open(channel);
  windows.close(channel);
  jest.advanceTimersByTime(2 * LENGTH);
  expect(told).toEqual(["room"]);
});

test("the last changes are told when all stops", () => {
  windows.open(channelOf(1, "a"));
  windows.open(channelOf(1, "b"));
  windows.stop();
  expect(told).toEqual(["a", "b"]);
});

test("in a storm windows stay open longer: no more members are told than may be, and each channel within a second", () => {
  const perMs = 10;
  start(perMs);
  const channels = Array.from({ length: 1000 }, (_, i) => channelOf(5, `room-${i}`));
  let members = 0;
  for (let ms = 0; ms < 3000; ms++) {
    for (const channel of channels) windows.open(channel);
    const before = told.length;
    jest.advanceTimersByTime(1);
    members += 5 * (told.length - before);
  }
  // As much as a second and the burst allow, and not the 60 times 5,000 that windows of 50 ms would be.
  expect(members).toBeLessThanOrEqual(3000 * perMs + 1000 + 5);
  expect(members).toBeGreaterThan(2000 * perMs);
  const open = channels.filter((channel) => windows.isOpen(channel)).map(({ name }) => name);
  expect(open.length).toBeGreaterThan(900);
  told = [];
  jest.advanceTimersByTime(1001);
  expect(told.toSorted()).toEqual(open.toSorted());
});

test("a channel too large for any allowance is told once a second, and the small ones in between", () => {
  start(1);
  const hall = channelOf(20_000, "hall");
  const room = channelOf(1);
  for (let ms = 0; ms < 5000; ms++) {
    windows.open(hall);
    windows.open(room);
    jest.advanceTimersByTime(1);
  }
  const times = (name: string): number => told.filter((each) => each === name).length;
  expect(times("hall")).toBeGreaterThanOrEqual(4);
  expect(times("hall")).toBeLessThanOrEqual(6);
  expect(times("room")).toBeGreaterThanOrEqual(4);
});

test("where as many may be told as there are, large channels do not wait for each other", () => {
  const channels = ["a", "b", "c"].map((name) => channelOf(2000, name));
  for (const channel of channels) windows.open(channel);
  jest.advanceTimersByTime(LENGTH + 1);
  expect(told).toEqual(["a", "b", "c"]);
});

test("after a storm the regular length holds again", () => {
  start(10);
  windows.open(channelOf(5000, "hall"));
  jest.advanceTimersByTime(LENGTH + 1);
  jest.advanceTimersByTime(1000);
  windows.open(channelOf(5));
  jest.advanceTimersByTime(LENGTH + 1);
  expect(told).toEqual(["hall", "room"]);
});
