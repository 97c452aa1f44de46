import { afterEach, expect, test } from "bun:test";
import { createMachineFolder, removeMachineFolder } from "../../../src/process/workers/machine-folder.ts";
import { SharedMemory } from "../../../src/process/workers/shared-memory.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) removeMachineFolder(folder);
});

/** The memory as each of two workers has mapped it. */
function memories(): readonly [SharedMemory, SharedMemory] {
  const folder = createMachineFolder();
  folders.push(folder);
  return [SharedMemory.create(folder, 2), SharedMemory.open(folder, 2)];
}

/** A long time, so that no token is added during a test. */
const EVERY = 3_600_000;

test("open connections are summed, and those of a worker that ended are forgotten", () => {
  const [first, second] = memories();
  expect(first.addOpen(1, 3)).toBe(3);
  expect(second.addOpen(2, 2)).toBe(5);
  const [one, two] = [first.addresses(1), second.addresses(2)];
  one.add("192.0.2.1");
  two.add("192.0.2.1");
  two.add("192.0.2.2");
  expect([one.open("192.0.2.1"), one.open("192.0.2.2"), one.open("192.0.2.3")]).toEqual([2, 1, 0]);
  first.clear(2);
  expect([first.open, second.open, one.open("192.0.2.1"), two.open("192.0.2.2")]).toEqual([3, 3, 1, 0]);
  one.remove("192.0.2.1");
  one.remove("192.0.2.1");
  expect(two.open("192.0.2.1")).toBe(0);
});

test("an address has its tokens once, whichever worker takes them", () => {
  const [first, second] = memories();
  const tables = [first.addresses(1), second.addresses(2)];
  const taken = Array.from({ length: 30 }, (_, at) =>
    tables[at % 2]?.takeToken("192.0.2.1", EVERY, 10 * EVERY),
  );
  expect(taken.filter((each) => each)).toHaveLength(10);
  expect(tables[0]?.takeToken("192.0.2.2", EVERY, 10 * EVERY)).toBe(true);
});

test("tokens that were taken come back", () => {
  const [memory] = memories();
  const table = memory.addresses(1);
  expect(table.takeToken("192.0.2.1", 1, 1)).toBe(true);
  const end = Date.now() + 2;
  while (Date.now() < end);
  expect(table.takeToken("192.0.2.1", 1, 1)).toBe(true);
});

test("far more addresses than entries find a place, and those with connections keep theirs", () => {
  const [memory] = memories();
  const table = memory.addresses(1);
  table.add("192.0.2.1");
  for (let count = 0; count < 200_000; count++) table.takeToken(`address ${count}`, 0, 0);
  expect(table.open("192.0.2.1")).toBe(1);
  for (let count = 0; count < 100_000; count++) table.add(`address ${count}`);
  expect(table.open("192.0.2.1")).toBe(1);
  table.clear();
  expect(table.open("address 0")).toBe(0);
});

test("the sign-in code is used by one worker only", () => {
  const [first, second] = memories();
  expect([first.useCode(), second.useCode(), first.useCode()]).toEqual([true, false, false]);
});

test("a worker that accepts connections without a bus makes the machine not ready", () => {
  const [first, second] = memories();
  expect(first.firstAway()).toBeNull();
  first.setState(1, "ready");
  second.setState(2, "away");
  expect(first.firstAway()).toBe(2);
  first.clear(2);
  expect(second.firstAway()).toBeNull();
});
