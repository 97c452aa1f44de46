import { describe, expect, test } from "bun:test";
import {
  ClientEventBudget,
  clientEventRulesOf,
  sharedSize,
  stamped,
} from "../../../src/hub/client-events.ts";

describe("rules", () => {
  test("name events and patterns; without any there are none", () => {
    expect(clientEventRulesOf({ clientEvents: [], clientEventsSender: true })).toBeNull();
    const rules = clientEventRulesOf({ clientEvents: ["cursor", "draw*"], clientEventsSender: true });
    const covered = ["cursor", "cursors", "draw", "drawn", "other"].filter((each) => rules?.covers(each));
    expect([covered, rules?.namesUser]).toEqual([["cursor", "draw", "drawn"], true]);
    expect(rules?.listed).toBe('["cursor","draw*"]');
  });

  test("never cover what only a server sends, also by name", () => {
    const server = ["phx_reply", "phx_close", "presence_diff", "position", "gap", "skipped", "chan_reply_7"];
    for (const clientEvents of [["*"], server]) {
      const rules = clientEventRulesOf({ clientEvents, clientEventsSender: false });
      expect(server.filter((each) => rules?.covers(each))).toEqual([]);
      expect(rules?.listed).toBe(clientEvents === server ? "" : '["*"]');
    }
  });
});

test("the size is that of the payload as members get it", () => {
  for (const payload of ['"\u20ac"', new Uint8Array(0), new Uint8Array(7)]) {
    expect(sharedSize('a"\u20ac', payload)).toBe(Buffer.byteLength(stamped('a"\u20ac', payload)));
    expect(sharedSize(null, payload)).toBe(Buffer.from(payload).length);
  }
});

describe("the budget of a client", () => {
  test("is ten seconds of its rate at once, then its rate", () => {
    const budget = new ClientEventBudget(10, 0);
    const spent = (now: number): number => {
      let events = 0;
      while (budget.spend(1, now)) events++;
      return events;
    };
    expect([spent(0), spent(50), spent(100), spent(1_100), spent(60_000)]).toEqual([100, 0, 1, 10, 100]);
  });

  test("counts a large event once for each 4 KiB: the rate makes up for all of it", () => {
    const budget = new ClientEventBudget(10, 0);
    expect(budget.spend(90 * 4096, 0)).toBe(true);
    for (let i = 0; i < 9; i++) expect(budget.spend(4096, 0)).toBe(true);
    // One is left: it may be as large as it likes.
    expect(budget.spend(1001 * 4096, 0)).toBe(true);
    expect([10_000, 100_000, 100_100].map((now) => budget.spend(1, now))).toEqual([false, false, true]);
  });
});
