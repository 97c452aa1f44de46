import { afterEach, expect, test } from "bun:test";
import { Deadlines, type Waiting } from "../../../../src/hub/calls/deadlines.ts";

interface Item extends Waiting {
  readonly name: string;
}

const open: { stop(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.stop();
});

function deadlines(wanted: number, expired: (item: Item) => void = () => {}) {
  const names: string[] = [];
  const done = Promise.withResolvers<string[]>();
  const all = new Deadlines<Item>((item) => {
    // Never early, but for what a clock rounds.
    if (performance.now() < item.due - 1) done.reject(new Error(`${item.name} is early`));
    names.push(item.name);
    expired(item);
    if (names.length === wanted) done.resolve(names);
  });
  open.push(all);
  const add = (name: string, timeout: number): Item => {
    const item = { name, timeout, due: performance.now() + timeout };
    all.add(item);
    return item;
  };
  return { all, add, done: done.promise };
}

test("items expire when they are due, and not before, whatever their time-outs are", async () => {
  const { add, done } = deadlines(4);
  add("slow", 200);
  add("fast", 20);
  add("faster", 1);
  add("slower", 400);
  // In any order: those that are due by the same turn of the event loop are not sorted.
  expect((await done).toSorted()).toEqual(["fast", "faster", "slow", "slower"]);
});

test("a deleted item does not expire, and others of its time-out do", async () => {
  const { all, add, done } = deadlines(2);
  const first = add("first", 20);
  const second = add("second", 20);
  add("third", 20);
  all.delete(first);
  all.delete(second);
  all.delete(second);
  add("last", 60);
  expect(await done).toEqual(["third", "last"]);
});

test("an item that is added while another expires has its own time", async () => {
  const { add, done } = deadlines(3, ({ name }) => {
    if (name === "first") add("added", 10);
  });
  add("first", 10);
  add("later", 300);
  expect((await done).toSorted()).toEqual(["added", "first", "later"]);
});

test("nothing expires once it is stopped", async () => {
  const { all, add, done } = deadlines(1);
  add("never", 10);
  all.stop();
  expect(await Promise.race([done, Bun.sleep(50).then(() => "nothing")])).toBe("nothing");
});
