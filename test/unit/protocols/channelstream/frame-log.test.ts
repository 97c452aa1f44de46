import { expect, test } from "bun:test";
import { Frame } from "../../../../src/protocols/channelstream/frame.ts";
import { FrameBudget, FrameLog } from "../../../../src/protocols/channelstream/frame-log.ts";
import { RecentKeys } from "../../../../src/protocols/channelstream/recent-keys.ts";

let seq = 0;
function frame(uuid: string, text = "x"): Frame {
  return new Frame(++seq, uuid, JSON.stringify({ uuid, type: "message", message: { text } }));
}

function uuids(shelf: FrameLog): (string | null)[] {
  return shelf.frames.map(({ uuid }) => uuid);
}

test("a shelf keeps the newest, and what no shelf keeps costs nothing", () => {
  const store = new FrameBudget(1 << 20);
  const [one, two] = [new FrameLog(store), new FrameLog(store)];
  const shared = frame("shared");
  one.add(shared, 2);
  two.add(shared, 2);
  expect(store.bytes).toBe(shared.bytes);
  one.add(frame("a"), 2);
  one.add(frame("b"), 2);
  expect([uuids(one), uuids(two)]).toEqual([["a", "b"], ["shared"]]);
  one.trim(0);
  expect(store.bytes).toBe(shared.bytes);
  two.remove(shared);
  two.remove(shared);
  expect(store.bytes).toBe(0);
});

test("over the budget the oldest go first, wherever they are kept", () => {
  const big = frame("big", "x".repeat(1000));
  const store = new FrameBudget(big.bytes * 2.5);
  const [one, two] = [new FrameLog(store), new FrameLog(store)];
  one.add(big, 10);
  two.add(big, 10);
  two.add(frame("second", "x".repeat(1000)), 10);
  one.add(frame("third", "x".repeat(1000)), 10);
  expect([uuids(one), uuids(two)]).toEqual([["third"], ["second"]]);
  expect(store.bytes).toBeLessThanOrEqual(big.bytes * 2.5);
  // One that is too large for the whole budget is not kept at all, and takes the others with it.
  one.add(frame("huge", "x".repeat(10_000)), 10);
  expect([uuids(one), uuids(two), store.bytes]).toEqual([[], [], 0]);
});

test("an edited frame takes the place of the one before, in one shelf and not in others", () => {
  const store = new FrameBudget(1 << 20);
  const [one, two] = [new FrameLog(store), new FrameLog(store)];
  const before = frame("m");
  for (const shelf of [one, two]) shelf.add(before, 10);
  one.add(frame("after"), 10);
  const edited = before.edited({ message: { text: "longer than before" }, uuid: "another", type: "other" });
  one.replace(before, edited);
  expect(uuids(one)).toEqual(["m", "after"]);
  expect(JSON.parse(one.frames[0]?.text ?? "")).toEqual({
    uuid: "m",
    type: "message",
    message: { text: "longer than before" },
  });
  expect(two.frames[0]).toBe(before);
  for (const shelf of [one, two]) shelf.trim(0);
  expect(store.bytes).toBe(0);
});

test("recent keys are known, old ones are forgotten", () => {
  const recent = new RecentKeys(3);
  expect([recent.add("a"), recent.add("a"), recent.add("b")]).toEqual([true, false, true]);
  for (const key of ["c", "d", "e"]) recent.add(key);
  expect(recent.add("c")).toBe(false);
  for (let n = 0; n < 10; n++) recent.add(`more ${n}`);
  expect(recent.add("a")).toBe(true);
});
