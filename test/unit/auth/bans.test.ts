import { expect, test } from "bun:test";
import { Bans, MAX_BANS, rejectBanned } from "../../../src/auth/bans.ts";
import type { Verdict } from "../../../src/auth/claims-types.ts";

const FROM = { address: "192.0.2.1" };
const ALICE: Verdict = {
  ok: true,
  claims: {
    user: "alice",
    channels: ["room"],
    can: { join: true, push: true, presence: true },
    expiresAt: 1e15,
    admin: false,
  },
};

test("a banned user's token is refused until the ban is over, whether it is verified at once or later", async () => {
  let now = 1000;
  const bans = new Bans(() => now);
  const atOnce = rejectBanned(() => ALICE, bans);
  const later = rejectBanned(async () => ALICE, bans);
  bans.add({ user: "alice", until: 2000 });
  expect(atOnce("", FROM)).toEqual({ ok: false, reason: "unauthorized", code: "user_banned" });
  expect(await later("", FROM)).toEqual({ ok: false, reason: "unauthorized", code: "user_banned" });
  now = 2000;
  expect(atOnce("", FROM)).toEqual(ALICE);
  expect(await later("", FROM)).toEqual(ALICE);
});

test("a ban can be lifted, once, and changed", () => {
  const bans = new Bans(() => 0);
  bans.add({ user: "__proto__", until: 10 });
  bans.add({ user: "__proto__", until: 20 });
  expect(bans.all()).toEqual([{ user: "__proto__", until: 20 }]);
  expect(bans.lift("__proto__")).not.toBeNull();
  expect(bans.lift("__proto__")).toBeNull();
  expect(bans.has("__proto__")).toBe(false);
});

test("their number is limited; expired ones do not count", () => {
  let now = 0;
  const bans = new Bans(() => now);
  for (let i = 0; i < MAX_BANS; i++) {
    expect(bans.add({ user: `u${i}`, until: i === 0 ? 5 : 10 })).not.toBeNull();
  }
  expect(bans.add({ user: "more", until: 10 })).toBeNull();
  expect(bans.add({ user: "u7", until: 99 })).not.toBeNull();
  now = 6;
  expect(bans.add({ user: "more", until: 10 })).not.toBeNull();
});

test("of two changes the newer counts, in whatever order they arrive", () => {
  const now = 1000;
  const [one, other] = [new Bans(() => now), new Bans(() => now)];
  const user = "alice";
  const banned = { user, until: 5000, version: one.add({ user, until: 5000 }) ?? 0 };
  const lifted = { user, until: 0, version: one.lift(user) ?? 0 };
  expect(lifted.version).toBeGreaterThan(banned.version);
  other.apply(lifted);
  other.apply(banned);
  expect([one.has(user), other.has(user)]).toEqual([false, false]);
  other.apply({ user, until: 6000, version: lifted.version + 1 });
  expect(other.all()).toEqual([{ user, until: 6000 }]);
});
