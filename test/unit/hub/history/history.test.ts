import { describe, expect, test } from "bun:test";
import {
  CHANNEL_OVERHEAD,
  type HistoryRules,
  type KeptMessage,
  MESSAGE_OVERHEAD,
} from "../../../../src/hub/history/history.ts";
import { MemoryHistory } from "../../../../src/hub/history/memory-history.ts";

const MIB = 1024 * 1024;
const RULES: HistoryRules = { count: 5, bytes: MIB, ttl: 60_000, lastValue: false };

function message(seq: number, { event = "e", payload = `${seq}`, at = Date.now() } = {}): KeptMessage {
  return { seq, event, payload: Buffer.from(payload), at };
}

function seqs(result: readonly KeptMessage[] | string): readonly number[] | string {
  return typeof result === "string" ? result : result.map(({ seq }) => seq);
}

function filled(rules: HistoryRules, messages: readonly number[], channel = "a"): MemoryHistory {
  const history = new MemoryHistory(64 * MIB);
  for (const seq of messages) history.append(channel, rules, message(seq));
  return history;
}

describe("messages since a number", () => {
  test("are those after it, in order, up to the limit", () => {
    const history = filled(RULES, [2, 4, 9]);
    expect(seqs(history.since("a", RULES, 2, 100))).toEqual([4, 9]);
    expect(seqs(history.since("a", RULES, 0, 2))).toEqual([2, 4]);
    expect(seqs(history.since("a", RULES, 3, 100))).toEqual([4, 9]);
    expect(seqs(history.since("a", RULES, 9, 100))).toEqual([]);
    expect(seqs(history.since("other", RULES, 0, 100))).toEqual([]);
  });

  test("are too many once one of them was dropped by count", () => {
    const history = filled(RULES, [1, 2, 3, 4, 5, 6]);
    expect(seqs(history.since("a", RULES, 0, 100))).toBe("too many");
    expect(seqs(history.since("a", RULES, 1, 100))).toEqual([2, 3, 4, 5, 6]);
  });

  test("are too many once one of them was dropped by bytes", () => {
    const rules = { ...RULES, bytes: 2 * (MESSAGE_OVERHEAD + 2) };
    const history = filled(rules, [1, 2, 3]);
    expect(seqs(history.since("a", rules, 0, 100))).toBe("too many");
    expect(seqs(history.since("a", rules, 1, 100))).toEqual([2, 3]);
  });

  test("are too many after a message that is larger than all may be", () => {
    const rules = { ...RULES, bytes: 1000 };
    const history = filled(rules, [1]);
    history.append("a", rules, message(2, { payload: "x".repeat(1000) }));
    expect(seqs(history.since("a", rules, 1, 100))).toBe("too many");
    expect(seqs(history.since("a", rules, 2, 100))).toEqual([]);
  });

  test("are too old once one of them is older than the rules say", () => {
    const history = new MemoryHistory(64 * MIB);
    const now = Date.now();
    history.append("a", RULES, message(1, { at: now - 61_000 }));
    history.append("a", RULES, message(2, { at: now }));
    expect(seqs(history.since("a", RULES, 0, 100))).toBe("too old");
    expect(seqs(history.since("a", RULES, 1, 100))).toEqual([2]);
  });

  test("are history off where only last values are kept", () => {
    const rules = { ...RULES, count: 0, lastValue: true };
    expect(seqs(filled(rules, [1]).since("a", rules, 0, 100))).toBe("history off");
  });
});

describe("the budget of all channels", () => {
  const one = CHANNEL_OVERHEAD + MESSAGE_OVERHEAD + 3;

  test("forgets the channel that was not used for longest", () => {
    const history = new MemoryHistory(3 * one);
    for (const [seq, channel] of [
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ] as const) {
      history.append(channel, RULES, message(seq));
    }
    history.last("a", RULES, 1);
    history.append("d", RULES, message(4));
    expect(seqs(history.since("b", RULES, 0, 100))).toBe("too old");
    expect(seqs(history.since("b", RULES, 2, 100))).toEqual([]);
    expect(seqs(history.since("a", RULES, 0, 100))).toEqual([1]);
    expect(history.channels).toBe(3);
    expect(history.bytes).toBeLessThanOrEqual(3 * one);
  });

  test("holds for last values too", () => {
    const rules = { ...RULES, count: 0, lastValue: true };
    const history = new MemoryHistory(10_000);
    for (let i = 0; i < 1000; i++) history.append(`c${i}`, rules, message(i + 1));
    expect(history.bytes).toBeLessThanOrEqual(10_000);
  });

  test("is free again when old messages are", () => {
    const history = filled(RULES, [1, 2, 3]);
    const before = history.bytes;
    history.tick(Date.now() + 61_000);
    expect(history.bytes).toBe(before - 3 * (MESSAGE_OVERHEAD + 2));
    expect(seqs(history.since("a", RULES, 3, 100))).toEqual([]);
    expect(seqs(history.since("a", RULES, 2, 100))).toBe("too old");
  });
});

describe("the last messages", () => {
  test("are the newest, the oldest of them first", () => {
    const history = filled(RULES, [1, 2, 3]);
    expect(seqs(history.last("a", RULES, 2))).toEqual([2, 3]);
    expect(seqs(history.last("a", RULES, 9))).toEqual([1, 2, 3]);
    expect(seqs(history.last("b", RULES, 9))).toEqual([]);
  });
});

describe("last values", () => {
  const rules = { ...RULES, count: 0, lastValue: true };

  test("are the newest message of each event, until removed", () => {
    const history = new MemoryHistory(64 * MIB);
    for (const [seq, event] of [
      [1, "x"],
      [2, "y"],
      [3, "x"],
    ] as const) {
      history.append("a", rules, message(seq, { event }));
    }
    expect(seqs(history.lastValues("a"))).toEqual([2, 3]);
    history.removeLastValue("a", "x");
    history.removeLastValue("a", "none");
    history.removeLastValue("none", "x");
    expect(seqs(history.lastValues("a"))).toEqual([2]);
  });

  test("are at most 100 events within the bytes of a channel", () => {
    const history = new MemoryHistory(64 * MIB);
    for (let i = 1; i <= 150; i++) history.append("a", rules, message(i, { event: `e${i}` }));
    expect(history.lastValues("a")).toHaveLength(100);
    const small = { ...rules, bytes: 1000 };
    for (let i = 1; i <= 9; i++)
      history.append("b", small, message(i, { event: `e${i}`, payload: "x".repeat(100) }));
    expect(seqs(history.lastValues("b"))).toEqual([8, 9]);
    history.append("b", small, message(10, { event: "e9", payload: "x".repeat(2000) }));
    expect(seqs(history.lastValues("b"))).toEqual([]);
  });
});

test("a ring that was appended to and read at random is that of a plain list", () => {
  const rules = { count: 50, bytes: MIB, ttl: 60_000, lastValue: false };
  const history = new MemoryHistory(64 * MIB);
  const all: number[] = [];
  let seq = 0;
  for (let i = 0; i < 5000; i++) {
    seq += 1 + Math.floor(Math.random() * 3);
    history.append("a", rules, message(seq));
    all.push(seq);
    const from = Math.max(0, seq - Math.floor(Math.random() * 150));
    const missed = all.filter((each) => each > from);
    const expected = missed.length > 50 ? "too many" : missed;
    expect(seqs(history.since("a", rules, from, 1000))).toEqual(expected);
  }
});
