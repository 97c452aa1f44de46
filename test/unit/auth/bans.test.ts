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
  expect(bans.lift("__proto__")).toBe(true);
  expect(bans.lift("__proto__")).toBe(false);
  expect(bans.has("__proto__")).toBe(false);
});

test("their number is limited; expired ones do not count", () => {
  let now = 0;
  const bans = new Bans(() => now);
  for (let i = 0; i < MAX_BANS; i++) expect(bans.add({ user: `u${i}`, until: i === 0 ? 5 : 10 })).toBe(true);
  expect(bans.add({ user: "more", until: 10 })).toBe(false);
  expect(bans.add({ user: "u7", until: 99 })).toBe(true);
  now = 6;
  expect(bans.add({ user: "more", until: 10 })).toBe(true);
});
