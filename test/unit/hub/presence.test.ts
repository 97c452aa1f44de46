import { expect, test } from "bun:test";
import { type Meta, Presence } from "../../../src/hub/presence/presence.ts";

interface Entry {
  readonly metas: readonly { readonly phx_ref: string; readonly online_at: string }[];
}
type Users = Readonly<Record<string, Entry>>;

let serial = 0;
function meta(user: string, node = "n1"): Meta {
  serial++;
  return { user, node, ref: `c.${serial}`, onlineAt: 1_700_000_000_000 + serial };
}

function refs(text: string): Map<string, Set<string>> {
  const users: Users = JSON.parse(text);
  return new Map(
    Object.entries(users).map(([user, { metas }]) => [user, new Set(metas.map((m) => m.phx_ref))]),
  );
}

/** A client's copy, kept as phoenix.js keeps its own: joins of a diff first, then its leaves. */
function fold(copy: Map<string, Set<string>>, diff: string): void {
  const { joins, leaves }: { joins: Users; leaves: Users } = JSON.parse(diff);
  for (const [user, { metas }] of Object.entries(joins)) {
    const known = copy.get(user) ?? new Set();
    for (const each of metas) known.add(each.phx_ref);
    copy.set(user, known);
  }
  for (const [user, { metas }] of Object.entries(leaves)) {
    const known = copy.get(user);
    for (const each of metas) known?.delete(each.phx_ref);
    if (known?.size === 0) copy.delete(user);
  }
}

test("nobody is an empty state, and no diff", () => {
  const presence = new Presence();
  expect(presence.state()).toBe("{}");
  expect(presence.takeDiff()).toBeNull();
  expect(presence.users).toBe(0);
  expect(presence.joining).toBe(false);
});

test("state and diff have Phoenix' shape, times being text", () => {
  const presence = new Presence();
  presence.join({ user: "alice", node: "n1", ref: "abc.1", onlineAt: 1_763_719_200_123 });
  const alice = { metas: [{ phx_ref: "abc.1", online_at: "1763719200123" }] };
  expect(JSON.parse(presence.state())).toEqual({ alice });
  expect(JSON.parse(presence.takeDiff() ?? "")).toEqual({ joins: { alice }, leaves: {} });
});

test("a user has one meta for each membership, and is gone with the last", () => {
  const presence = new Presence();
  const [first, second] = [meta("alice"), meta("alice")];
  presence.join(first);
  presence.join(second);
  expect(presence.users).toBe(1);
  expect(refs(presence.state())).toEqual(new Map([["alice", new Set([first.ref, second.ref])]]));
  presence.leave(first);
  expect(refs(presence.state())).toEqual(new Map([["alice", new Set([second.ref])]]));
  presence.leave(second);
  expect(presence.state()).toBe("{}");
});

test("a leave of somebody who is not there changes nothing", () => {
  const presence = new Presence();
  const alice = meta("alice");
  presence.join(alice);
  presence.takeDiff();
  presence.leave(meta("alice"));
  presence.leave(meta("bob"));
  expect(presence.takeDiff()).toBeNull();
  presence.leave(alice);
  presence.leave(alice);
  expect(JSON.parse(presence.takeDiff() ?? "").leaves.alice.metas).toHaveLength(1);
});

test("a diff is handed out once", () => {
  const presence = new Presence();
  presence.join(meta("alice"));
  expect(presence.takeDiff()).not.toBeNull();
  expect(presence.takeDiff()).toBeNull();
});

test("a join and its leave within one diff stand in both halves: a state may have been sent between them", () => {
  const presence = new Presence();
  const alice = meta("alice");
  presence.join(alice);
  const copy = refs(presence.state());
  presence.leave(alice);
  const diff = presence.takeDiff() ?? "";
  expect(Object.keys(JSON.parse(diff).joins)).toEqual(["alice"]);
  expect(Object.keys(JSON.parse(diff).leaves)).toEqual(["alice"]);
  fold(copy, diff);
  expect(copy.size).toBe(0);
});

test("a rejoin within one diff leaves the user present, since its ref is a new one", () => {
  const presence = new Presence();
  const [before, after] = [meta("alice"), meta("alice")];
  presence.join(before);
  presence.takeDiff();
  const copy = refs(presence.state());
  presence.leave(before);
  presence.join(after);
  fold(copy, presence.takeDiff() ?? "");
  expect(copy).toEqual(new Map([["alice", new Set([after.ref])]]));
});

test("everyone of one node leaves with it, and nobody else", () => {
  const presence = new Presence();
  const here = meta("alice", "n1");
  const there = [meta("alice", "n2"), meta("alice", "n2"), meta("bob", "n2")];
  for (const each of [here, ...there]) presence.join(each);
  presence.takeDiff();
  const copy = refs(presence.state());
  presence.leaveNode("n2");
  expect(refs(presence.state())).toEqual(new Map([["alice", new Set([here.ref])]]));
  fold(copy, presence.takeDiff() ?? "");
  expect(copy).toEqual(refs(presence.state()));
  presence.leaveNode("n2");
  expect(presence.takeDiff()).toBeNull();
});

test("a join adds to the state, after a leave it is encoded once, however many ask", () => {
  const presence = new Presence();
  let encoded = 0;
  const counted: Meta = {
    node: "n1",
    user: "alice",
    onlineAt: 1,
    get ref() {
      encoded++;
      return "c.0";
    },
  };
  presence.join(counted);
  const first = presence.state();
  for (let i = 0; i < 1000; i++) expect(presence.state()).toBe(first);
  expect(encoded).toBe(1);
  const bob = meta("bob");
  presence.join(bob);
  expect(refs(presence.state()).has("bob")).toBe(true);
  expect(encoded).toBe(1);
  presence.leave(bob);
  for (let i = 0; i < 1000; i++) expect(presence.state()).toBe(first);
  expect(encoded).toBe(2);
});

test.each(["__proto__", "constructor", "toString", "", '"\\', "1", "0", "\u2028é😀", "hasOwnProperty"])(
  "a user may be called %j",
  (user) => {
    const presence = new Presence();
    const someone = meta(user);
    presence.join(someone);
    presence.join(meta("alice"));
    expect(refs(presence.state()).get(user)).toEqual(new Set([someone.ref]));
    expect(Object.keys(JSON.parse(presence.takeDiff() ?? "").joins).toSorted()).toEqual(
      ["alice", user].toSorted(),
    );
    presence.leave(someone);
    expect(Object.keys(JSON.parse(presence.takeDiff() ?? "").leaves)).toEqual([user]);
    expect(refs(presence.state()).has(user)).toBe(false);
  },
);

test("copies folded from a state and the diffs after it agree with the model, whenever they were taken", () => {
  let seed = 20_261_121;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  const presence = new Presence();
  const model: Meta[] = [];
  const copies: Map<string, Set<string>>[] = [];
  const users = ["alice", "bob", "__proto__", "7", "carol"];
  for (let step = 0; step < 5000; step++) {
    const what = random(10);
    if (what < 4) {
      const one = meta(users[random(users.length)] ?? "", random(2) === 0 ? "n1" : "n2");
      model.push(one);
      presence.join(one);
    } else if (what < 7 && model.length > 0) {
      for (const gone of model.splice(random(model.length), 1)) presence.leave(gone);
    } else if (what === 7 && random(20) === 0) {
      presence.leaveNode("n2");
      model.splice(0, Infinity, ...model.filter(({ node }) => node !== "n2"));
    } else if (what === 8) {
      // In the middle of a window: its diff holds some of what this state has already.
      copies.push(refs(presence.state()));
      if (copies.length > 20) copies.shift();
    } else {
      const diff = presence.takeDiff();
      if (diff === null) continue;
      const truth = new Map<string, Set<string>>();
      for (const { user, ref } of model) truth.set(user, (truth.get(user) ?? new Set()).add(ref));
      expect(refs(presence.state())).toEqual(truth);
      for (const copy of copies) {
        fold(copy, diff);
        expect(copy).toEqual(truth);
      }
    }
  }
});
