import { expect, test } from "bun:test";
import { TimerWheel } from "../../../src/hub/timer-wheel.ts";

const START = 1_763_719_200_000;

function take<T>(wheel: TimerWheel<T>, now: number, limit = Infinity): T[] {
  const due: T[] = [];
  wheel.due(now, limit, (item) => due.push(item));
  return due;
}

test("no item is early, and none is late by more than a slot", () => {
  const wheel = new TimerWheel<number>(START);
  const times = Array.from({ length: 2000 }, (_, i) => START + ((i * 7919) % 60_000));
  times.forEach((at, i) => {
    wheel.add(i, at);
  });
  const done = new Set<number>();
  for (let now = START; now <= START + 61_000; now += 10) {
    for (const i of take(wheel, now)) {
      const late = now - (times[i] ?? 0);
      expect(late).toBeGreaterThanOrEqual(0);
      // The slot of a time that is exactly now has passed: the next one has it.
      expect(late).toBeLessThanOrEqual(250 + 10);
      expect(done.has(i)).toBe(false);
      done.add(i);
    }
  }
  expect(done.size).toBe(times.length);
});

test("an item that is due already is returned with the next slot", () => {
  const wheel = new TimerWheel<string>(START);
  wheel.add("past", START - 1_000_000);
  wheel.add("now", START);
  wheel.add("never", Number.NEGATIVE_INFINITY);
  expect(take(wheel, START + 500).toSorted()).toEqual(["never", "now", "past"]);
});

test("at most `limit` items are returned at once; the rest stays due, and none is lost", () => {
  const wheel = new TimerWheel<number>(START);
  for (let i = 0; i < 1000; i++) wheel.add(i, START + (i % 3) * 250);
  const seen: number[] = [];
  for (let call = 0; call < 10; call++) {
    const some = take(wheel, START + 1000, 100);
    expect(some).toHaveLength(100);
    seen.push(...some);
  }
  expect(take(wheel, START + 1000, 100)).toEqual([]);
  expect(new Set(seen).size).toBe(1000);
});

test("a limit of 0 returns nothing", () => {
  const wheel = new TimerWheel<string>(START);
  wheel.add("a", START + 1);
  expect(take(wheel, START + 5000, 0)).toEqual([]);
  expect(take(wheel, START + 5000)).toEqual(["a"]);
});

test("a deleted item is not returned; others of its slot are", () => {
  const wheel = new TimerWheel<string>(START);
  const slot = wheel.add("gone", START + 1000);
  expect(wheel.add("stays", START + 1000)).toBe(slot);
  wheel.delete("gone", slot);
  wheel.delete("gone", slot);
  wheel.delete("unknown", 12);
  expect(take(wheel, START + 2000)).toEqual(["stays"]);
  wheel.delete("stays", slot);
  expect(take(wheel, START + 4000)).toEqual([]);
});

test("an item moved to a later time is returned then, once", () => {
  const wheel = new TimerWheel<string>(START);
  wheel.delete("a", wheel.add("a", START + 1000));
  wheel.add("a", START + 3000);
  expect(take(wheel, START + 2000)).toEqual([]);
  expect(take(wheel, START + 3500)).toEqual(["a"]);
  expect(take(wheel, START + 9000)).toEqual([]);
});

test("an item due in ten years, and one never due, are not due at once", () => {
  const wheel = new TimerWheel<string>(START);
  wheel.add("ten years", START + 315_360_000_000);
  wheel.add("largest", Number.MAX_SAFE_INTEGER);
  const slot = wheel.add("for ever", Infinity);
  expect(take(wheel, START + 86_400_000)).toEqual([]);
  wheel.delete("for ever", slot);
});

test("after a long suspension all items that became due are returned, and later ones are on time", () => {
  const wheel = new TimerWheel<string>(START);
  const week = 7 * 86_400_000;
  wheel.add("slept through", START + 1000);
  wheel.add("later", START + week + 2000);
  const before = performance.now();
  expect(take(wheel, START + week)).toEqual(["slept through"]);
  expect(performance.now() - before).toBeLessThan(20_000);
  expect(take(wheel, START + week + 1000)).toEqual([]);
  expect(take(wheel, START + week + 2500)).toEqual(["later"]);
});

test("with a clock that goes back no item is returned twice", () => {
  const wheel = new TimerWheel<string>(START);
  wheel.add("a", START + 1000);
  expect(take(wheel, START + 1500)).toEqual(["a"]);
  expect(take(wheel, START - 10_000)).toEqual([]);
  expect(take(wheel, START + 1500)).toEqual([]);
});

test("items may be deleted and added while others are returned", () => {
  const wheel = new TimerWheel<string>(START);
  const slot = wheel.add("a", START + 1000);
  wheel.add("b", START + 1000);
  wheel.add("c", START + 1200);
  const due: string[] = [];
  wheel.due(START + 2000, Infinity, (item) => {
    due.push(item);
    if (item !== "a") return;
    wheel.delete("b", slot);
    wheel.add("d", START + 2600);
  });
  expect(due).toEqual(["a", "c"]);
  expect(take(wheel, START + 3000)).toEqual(["d"]);
});

test("an item added while the last of its slot is returned is not lost", () => {
  const wheel = new TimerWheel<string>(START);
  // With many later slots, those that have passed are checked one by one.
  for (let i = 0; i < 100; i++) wheel.add(`later ${i}`, START + 1_000_000 + i * 1000);
  wheel.add("a", START + 1000);
  const due: string[] = [];
  const each = (item: string) => {
    due.push(item);
    if (item === "a") wheel.add("b", START + 500);
  };
  wheel.due(START + 1000, Infinity, each);
  wheel.due(START + 9000, Infinity, each);
  expect(due).toEqual(["a", "b"]);
});
