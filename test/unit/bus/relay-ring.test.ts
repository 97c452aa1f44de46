import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Interest, OthersInterest, slotOfName } from "../../../src/bus/relay/interest.ts";
import { RingReader, RingWriter } from "../../../src/bus/relay/relay-ring.ts";
import { randomFrom, SEED } from "../../integration/random.ts";

const EVERYTHING = { has: () => true };

const SIZE = 2 * 1024 * 1024;

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

interface Rig {
  readonly writer: RingWriter;
  readonly path: string;
  readonly woken: number[];
  readonly evicted: number[];
}

function createRing(): Rig {
  const folder = mkdtempSync(join(tmpdir(), "channel-ring-"));
  folders.push(folder);
  const path = join(folder, "ring");
  const woken: number[] = [];
  const evicted: number[] = [];
  const writer = new RingWriter(path, SIZE, {
    wake: (worker) => void woken.push(worker),
    evicted: (worker) => void evicted.push(worker),
  });
  return { writer, path, woken, evicted };
}

function append(writer: RingWriter, name: string, payload: string | Buffer): boolean {
  return writer.append(Buffer.from(name), Buffer.from(payload));
}

/** Reads until nothing is left. */
function readAll(reader: RingReader): string[] {
  const read: string[] = [];
  for (;;) {
    const result = reader.read((name, payload) => {
      read.push(`${name} ${payload}`);
      return true;
    });
    if (result === "empty") return read;
    if (result !== "more") throw new Error(result);
  }
}

test("each follower reads what was written since it was attached", () => {
  const { writer, path } = createRing();
  expect(append(writer, "to:a:b", "nobody reads this")).toBe(true);
  writer.attach(1, EVERYTHING);
  append(writer, "to:a:b", "1");
  writer.attach(2, EVERYTHING);
  append(writer, "to:a:c", "");
  append(writer, "", "12345678");
  const [one, two] = [new RingReader(path, 1), new RingReader(path, 2)];
  expect(readAll(two)).toEqual(["to:a:c ", " 12345678"]);
  expect(readAll(one)).toEqual(["to:a:b 1", "to:a:c ", " 12345678"]);
  expect([readAll(one), readAll(two)]).toEqual([[], []]);
});

test("a follower that has read all is woken at the next message, once", () => {
  const { writer, path, woken } = createRing();
  writer.attach(1, EVERYTHING);
  writer.attach(2, EVERYTHING);
  const reader = new RingReader(path, 1);
  append(writer, "to:a:b", "1");
  expect(woken).toEqual([]);
  readAll(reader);
  append(writer, "to:a:b", "2");
  append(writer, "to:a:b", "3");
  expect(woken).toEqual([1]);
  readAll(reader);
  append(writer, "to:a:b", "4");
  expect(woken).toEqual([1, 1]);
});

test("a reader stops where its receiver says so, and continues after that message", () => {
  const { writer, path } = createRing();
  writer.attach(1, EVERYTHING);
  for (const each of ["1", "2", "3"]) append(writer, "to:a:b", each);
  const reader = new RingReader(path, 1);
  expect(reader.read((_, payload) => String(payload) !== "2")).toBe("stopped");
  expect(readAll(reader)).toEqual(["to:a:b 3"]);
});

test("a follower that is too slow is evicted, and the others go on", () => {
  const { writer, path, evicted } = createRing();
  writer.attach(1, EVERYTHING);
  writer.attach(2, EVERYTHING);
  const [slow, fast] = [new RingReader(path, 1), new RingReader(path, 2)];
  const payload = Buffer.alloc(200_000, "x");
  let read = 0;
  for (let i = 0; i < 12; i++) {
    expect(append(writer, "to:a:b", payload)).toBe(true);
    read += readAll(fast).length;
  }
  expect([evicted, read, writer.followers]).toEqual([[1], 12, 1]);
  expect(slow.read(() => true)).toBe("evicted");
});

/** Interest in some channels, which may change. */
function interestIn(...channels: string[]) {
  const slots = () => channels.map((channel) => slotOfName(Buffer.from(`to:${channel}:event`)));
  return { channels, has: (slot: number) => slot < 0 || slots().includes(slot) };
}

test("a follower is woken only for channels that it has listeners for, and counts the others", () => {
  const { writer, path, woken } = createRing();
  writer.attach(1, interestIn("mine"));
  writer.attach(2, interestIn());
  const [one, two] = [new RingReader(path, 1), new RingReader(path, 2)];
  readAll(one);
  readAll(two);
  const page = "x".repeat(1000);
  append(writer, "to:mine:page", page);
  expect(woken).toEqual([1]);
  append(writer, "to:other:page", page);
  append(writer, "to:other:short", "1");
  append(writer, "hub:marker", page);
  expect(woken).toEqual([1, 2]);
  const read: unknown[] = [];
  two.read((name, payload, bytes) => {
    read.push([String(name), payload?.length ?? null, bytes]);
    return true;
  });
  expect(read).toEqual([
    ["to:mine:page", 1000, 1000],
    ["to:other:page", null, 1000],
    ["to:other:short", 1, 1],
    ["hub:marker", 1000, 1000],
  ]);
});

test("messages that are only counted wake a follower when many wait", () => {
  const { writer, path, woken } = createRing();
  writer.attach(1, interestIn());
  const reader = new RingReader(path, 1);
  readAll(reader);
  for (let i = 0; i < 10_000; i++) append(writer, "to:other:short", "1");
  expect(woken).toEqual([1]);
  let read = 0;
  while (reader.read(() => ++read > 0) === "more");
  expect(read).toBe(10_000);
});

test("a channel gets nothing that was written before it had listeners", () => {
  const { writer, path } = createRing();
  const interest = interestIn();
  writer.attach(1, interest);
  const reader = new RingReader(path, 1);
  append(writer, "to:late:news", "before");
  append(writer, "to:other:news", "1");
  interest.channels.push("late");
  reader.leaveOut(slotOfName(Buffer.from("to:late:news")));
  append(writer, "to:late:news", "after");
  expect(readAll(reader)).toEqual(["to:late:news null", "to:other:news 1", "to:late:news after"]);
  append(writer, "to:late:news", "later");
  expect(readAll(reader)).toEqual(["to:late:news later"]);
});

test("other workers see the channels of a worker, which is notified of each first one unless it needs all", () => {
  const folder = mkdtempSync(join(tmpdir(), "channel-interest-"));
  folders.push(folder);
  const interest = new Interest(folder, 3);
  const others = new OthersInterest(folder, 3);
  const began: number[] = [];
  interest.began = (slot) => void began.push(slot);
  const slot = slotOfName(Buffer.from("to:room:7:news"));
  expect([others.has(slot), others.has(-1)]).toEqual([false, true]);
  interest.add("room:7");
  interest.add("room:7");
  interest.remove("room:7");
  expect([others.has(slot), began]).toEqual([true, [slot]]);
  interest.remove("room:7");
  expect(others.has(slot)).toBe(false);
  interest.all();
  interest.add("room:7");
  interest.remove("room:7");
  expect([others.has(slot), began]).toEqual([true, [slot]]);
});

test("what a follower is reading is never replaced", () => {
  const { writer, path, evicted } = createRing();
  writer.attach(1, EVERYTHING);
  const reader = new RingReader(path, 1);
  append(writer, "to:a:b", "the first one");
  let refused = false;
  reader.read((_, payload) => {
    while (!refused) refused = !append(writer, "to:a:b", Buffer.alloc(200_000, "x"));
    expect(String(payload)).toBe("the first one");
    return false;
  });
  expect([refused, evicted]).toEqual([true, []]);
});

test("a message longer than the ring is refused, and one of half its size is not", () => {
  const { writer, path } = createRing();
  writer.attach(1, EVERYTHING);
  const reader = new RingReader(path, 1);
  for (let i = 0; i < 5; i++) {
    expect(append(writer, "to:a:b", Buffer.alloc(SIZE / 2 - 100, "x"))).toBe(true);
    expect(readAll(reader)).toHaveLength(1);
  }
  expect(append(writer, "to:a:b", Buffer.alloc(SIZE, "x"))).toBe(false);
});

test("a new ring in the place of an old one leaves the old one to those who have it", () => {
  const { writer, path } = createRing();
  writer.attach(1, EVERYTHING);
  const reader = new RingReader(path, 1);
  append(writer, "to:a:b", "1");
  new RingWriter(path, SIZE, { wake() {}, evicted() {} });
  append(writer, "to:a:b", "2");
  expect(readAll(reader)).toEqual(["to:a:b 1", "to:a:b 2"]);
});

test("messages of all lengths come whole and in order, however far readers are behind", () => {
  const random = randomFrom(SEED);
  const { writer, path, evicted } = createRing();
  const expected: Buffer[][] = [[], []];
  const readers = [1, 2].map((worker) => {
    writer.attach(worker, EVERYTHING);
    return new RingReader(path, worker);
  });
  const source = Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)));
  let differing = 0;
  let bytes = 0;
  for (let i = 0; i < 20_000; i++) {
    const length = random.chance(0.1) ? random.int(60_000) : random.int(200);
    const from = random.int(source.length - length);
    const payload = source.subarray(from, from + length);
    writer.append(Buffer.from(`to:${i}`), payload);
    bytes += length;
    readers.forEach((reader, at) => {
      expected[at]?.push(payload);
      // Never further behind than the ring is long.
      const most = (expected[at]?.length ?? 0) > 200 ? 1000 : random.int(3) * random.int(40);
      let read = 0;
      while (read < most) {
        const result = reader.read((_, received) => {
          if (received === null || expected[at]?.shift()?.equals(received) !== true) differing++;
          return ++read < most;
        });
        if (result === "empty") break;
      }
    });
  }
  expect([differing, evicted]).toEqual([0, []]);
  expect(bytes).toBeGreaterThan(10 * SIZE);
});
