import { expect, test } from "bun:test";
import type { Act } from "../../../src/auth/audit.ts";
import { RecentActs } from "../../../src/auth/recent-acts.ts";

const KICK: Act = { act: "kick", who: "key:billing", from: "192.0.2.1", what: { id: "alice" }, result: "ok" };

test("keeps the newest of each kind: publishes and failed attempts displace no change", () => {
  let now = 0;
  const acts = new RecentActs(() => ++now);
  acts.add(KICK);
  for (let i = 0; i < 5000; i++) {
    acts.add({ ...KICK, act: "publish" });
    acts.add({ ...KICK, who: "key:reader", result: "refused 403" });
    acts.add({ ...KICK, act: "prove", who: "nobody" });
  }
  const kept = acts.all();
  expect(kept.filter(({ act, result }) => act === "kick" && result === "ok")).toHaveLength(1);
  expect(kept.length).toBe(601);
  expect(Math.max(...kept.map(({ at }) => at))).toBe(15_001);
  for (let i = 0; i < 5000; i++) acts.add(KICK);
  expect(acts.all().length).toBe(1600);
});

test("bounds each act", () => {
  const acts = new RecentActs();
  const many = Object.fromEntries(
    Array.from({ length: 100 }, (_, i) => [`name${i}`, "\u{1f600}".repeat(5000)]),
  );
  acts.add({ ...KICK, from: "x".repeat(5000), what: many });
  const [kept] = acts.all();
  expect(JSON.stringify(kept).length).toBeLessThan(6000);
  expect(JSON.stringify(kept).isWellFormed()).toBe(true);
});
