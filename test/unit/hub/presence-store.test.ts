/** What every presence store promises. A new implementation is one more entry of `stores`. */

import { describe, expect, test } from "bun:test";
import { MemoryPresenceStore } from "../../../src/hub/presence/memory-presence.ts";
import { nextMeta } from "../../../src/hub/presence/presence-info.ts";
import type { ChannelPresence, Meta, PresenceStore } from "../../../src/hub/presence/presence-store.ts";
import { connectStores } from "./connected-presence.ts";

/** `connect` makes stores of servers that share their members; `null` where the store is for one server alone. */
interface Implementation {
  readonly name: string;
  create(): PresenceStore;
  readonly connect: ((servers: number) => readonly PresenceStore[]) | null;
}

const stores: readonly Implementation[] = [
  { name: "memory", create: () => new MemoryPresenceStore(), connect: null },
  // In tests only: proves that a store which servers share needs no change of the hub.
  {
    name: "connected",
    create: () => connectStores(1)[0] ?? new MemoryPresenceStore(),
    connect: connectStores,
  },
];

interface Entry {
  readonly metas: readonly { readonly phx_ref: string; readonly online_at: string }[];
}
type Users = Readonly<Record<string, Entry>>;

let serial = 0;
function meta(user: string): Meta {
  serial++;
  return { user, ref: `c.${serial}`, onlineAt: 1_700_000_000_000 + serial };
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

/** The diff for members; empty when nothing changed. */
function take(presence: ChannelPresence): string {
  return presence.takeDiff()?.members ?? "";
}

describe.each([...stores])("$name", ({ create, connect }) => {
  function load(): ChannelPresence {
    const store = create();
    store.start(() => {});
    return store.load("room");
  }

  test("without members the state is empty, and there is no diff", () => {
    const presence = load();
    expect(presence.state()).toBe("{}");
    expect(take(presence)).toBe("");
    expect(presence.users).toBe(0);
    expect(presence.hasJoins).toBe(false);
  });

  test("state and diff have the format of Phoenix, with times as text", () => {
    const presence = load();
    presence.put({ user: "alice", ref: "abc.1", onlineAt: 1_763_719_200_123 });
    const alice = { metas: [{ phx_ref: "abc.1", online_at: "1763719200123" }] };
    expect(JSON.parse(presence.state())).toEqual({ alice });
    expect(JSON.parse(take(presence))).toEqual({ joins: { alice }, leaves: {} });
  });

  test("a user has one meta for each membership, and is removed with the last", () => {
    const presence = load();
    const [first, second] = [meta("alice"), meta("alice")];
    presence.put(first);
    presence.put(second);
    expect(presence.users).toBe(1);
    expect(refs(presence.state())).toEqual(new Map([["alice", new Set([first.ref, second.ref])]]));
    presence.remove(first);
    expect(refs(presence.state())).toEqual(new Map([["alice", new Set([second.ref])]]));
    presence.remove(second);
    expect(presence.state()).toBe("{}");
  });

  test("a removal of a membership that is not there changes nothing", () => {
    const presence = load();
    const alice = meta("alice");
    presence.put(alice);
    presence.takeDiff();
    presence.remove(meta("alice"));
    presence.remove(meta("bob"));
    expect(take(presence)).toBe("");
    presence.remove(alice);
    presence.remove(alice);
    expect(JSON.parse(take(presence)).leaves.alice.metas).toHaveLength(1);
  });

  test("a change is in one diff only", () => {
    const presence = load();
    presence.put(meta("alice"));
    expect(take(presence)).not.toBe("");
    expect(take(presence)).toBe("");
  });

  test("a join and its leave within one diff are in both halves, since a state may have been sent in between", () => {
    const presence = load();
    const alice = meta("alice");
    presence.put(alice);
    const copy = refs(presence.state());
    presence.remove(alice);
    const diff = take(presence);
    expect(Object.keys(JSON.parse(diff).joins)).toEqual(["alice"]);
    expect(Object.keys(JSON.parse(diff).leaves)).toEqual(["alice"]);
    fold(copy, diff);
    expect(copy.size).toBe(0);
  });

  test("a rejoin within one diff leaves the user present, since its ref is a new one", () => {
    const presence = load();
    const [before, after] = [meta("alice"), meta("alice")];
    presence.put(before);
    presence.takeDiff();
    const copy = refs(presence.state());
    presence.remove(before);
    presence.put(after);
    fold(copy, take(presence));
    expect(copy).toEqual(new Map([["alice", new Set([after.ref])]]));
  });

  test("metadata is shown beside ref and time", () => {
    const presence = load();
    presence.put({ user: "alice", ref: "abc.1", onlineAt: 5, info: '"typing":true' });
    const alice = { metas: [{ phx_ref: "abc.1", online_at: "5", typing: true }] };
    expect(JSON.parse(presence.state())).toEqual({ alice });
    expect(JSON.parse(take(presence))).toEqual({ joins: { alice }, leaves: {} });
  });

  test("a replaced meta is one diff: the new one with phx_ref_prev, and the leave of the old one", () => {
    const presence = load();
    const [first, other] = [meta("alice"), meta("alice")];
    presence.put(first);
    presence.put(other);
    presence.takeDiff();
    const copy = refs(presence.state());
    const second = nextMeta(first, first, '"n":1');
    presence.replace(first, second);
    const diff = take(presence);
    const [joined, left] = [JSON.parse(diff).joins.alice.metas, JSON.parse(diff).leaves.alice.metas];
    const online_at = String(first.onlineAt);
    expect(joined).toEqual([{ phx_ref: `${first.ref}.1`, phx_ref_prev: first.ref, online_at, n: 1 }]);
    expect(left).toEqual([{ phx_ref: first.ref, online_at }]);
    fold(copy, diff);
    expect(copy).toEqual(refs(presence.state()));
    expect(copy.get("alice")).toEqual(new Set([other.ref, second.ref]));
  });

  test("no ref of a replaced meta is in both halves, whatever happens within one diff", () => {
    for (const announced of [false, true]) {
      for (const leaves of [false, true]) {
        const presence = load();
        let last = meta("alice");
        const original = last;
        presence.put(last);
        const copies = [refs(presence.state())];
        if (announced) presence.takeDiff();
        for (const n of [1, 2, 3]) {
          const next = nextMeta(original, last, `"n":${n}`);
          presence.replace(last, next);
          last = next;
          copies.push(refs(presence.state()));
        }
        if (leaves) presence.remove(last);
        const diff = take(presence);
        const { joins, leaves: left }: { joins: Users; leaves: Users } = JSON.parse(diff);
        const joined = new Set(joins.alice?.metas.map((each) => each.phx_ref));
        for (const each of left.alice?.metas ?? []) expect(joined).not.toContain(each.phx_ref);
        for (const copy of copies) {
          fold(copy, diff);
          expect(copy).toEqual(new Map(leaves ? [] : [["alice", new Set([last.ref])]]));
        }
      }
    }
  });

  test("a meta that is not there is not replaced", () => {
    const presence = load();
    const alice = meta("alice");
    presence.replace(alice, nextMeta(alice, alice, ""));
    expect(presence.state()).toBe("{}");
    expect(take(presence)).toBe("");
  });

  test("a join adds to the state, after a leave it is encoded once for all calls", () => {
    const presence = load();
    let encoded = 0;
    const counted: Meta = {
      user: "alice",
      onlineAt: 1,
      get ref() {
        encoded++;
        return "c.0";
      },
    };
    presence.put(counted);
    const first = presence.state();
    for (let i = 0; i < 1000; i++) expect(presence.state()).toBe(first);
    expect(encoded).toBe(1);
    const bob = meta("bob");
    presence.put(bob);
    expect(refs(presence.state()).has("bob")).toBe(true);
    expect(encoded).toBe(1);
    presence.remove(bob);
    for (let i = 0; i < 1000; i++) expect(presence.state()).toBe(first);
    expect(encoded).toBe(2);
  });

  test.each(["__proto__", "constructor", "toString", "", '"\\', "1", "0", "\u2028é😀", "hasOwnProperty"])(
    "a user may be named %j",
    (user) => {
      const presence = load();
      const someone = meta(user);
      presence.put(someone);
      presence.put(meta("alice"));
      expect(refs(presence.state()).get(user)).toEqual(new Set([someone.ref]));
      expect(Object.keys(JSON.parse(take(presence)).joins).toSorted()).toEqual(["alice", user].toSorted());
      presence.remove(someone);
      expect(Object.keys(JSON.parse(take(presence)).leaves)).toEqual([user]);
      expect(refs(presence.state()).has(user)).toBe(false);
    },
  );

  test("copies folded from a state and the diffs after it agree with the model, at any time", () => {
    let seed = 20_261_121;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (seed >>> 8) % below;
    };
    const presence = load();
    const model: Meta[] = [];
    const copies: Map<string, Set<string>>[] = [];
    const users = ["alice", "bob", "__proto__", "7", "carol"];
    for (let step = 0; step < 5000; step++) {
      const what = random(10);
      if (what < 4) {
        const one = meta(users[random(users.length)] ?? "");
        model.push(one);
        presence.put(one);
      } else if (what < 6 && model.length > 0) {
        const at = random(model.length);
        const old = model[at];
        if (old === undefined) continue;
        const next = { ...meta(old.user), previous: old.ref };
        model[at] = next;
        presence.replace(old, next);
      } else if (what < 8 && model.length > 0) {
        for (const gone of model.splice(random(model.length), 1)) presence.remove(gone);
      } else if (what === 8) {
        // In the middle of a window: its diff holds some of what this state has already.
        copies.push(refs(presence.state()));
        if (copies.length > 20) copies.shift();
      } else {
        const diff = take(presence);
        if (diff === "") continue;
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

  test("a channel that was unloaded is empty when it is loaded again", () => {
    const store = create();
    store.start(() => {});
    const first = store.load("room");
    const alice = meta("alice");
    first.put(alice);
    first.remove(alice);
    first.takeDiff();
    store.unload("room");
    expect(store.load("room").state()).toBe("{}");
  });

  test("channels are apart", () => {
    const store = create();
    store.start(() => {});
    const [a, b] = [store.load("a"), store.load("b")];
    a.put(meta("alice"));
    expect(b.takeDiff()).toBeNull();
    expect(b.state()).toBe("{}");
  });

  test("a store that no other server shares reports each change to backends", () => {
    const presence = load();
    presence.put(meta("alice"));
    const diff = presence.takeDiff();
    expect(diff?.backends).toBe(diff?.members ?? "");
  });

  if (connect === null) return;

  /** Two servers that have loaded one channel, and what each was notified of. */
  function pair(): { here: ChannelPresence; there: ChannelPresence; changed: string[] } {
    const [one, two] = connect?.(2) ?? [];
    if (one === undefined || two === undefined) throw new Error("two stores expected");
    const changed: string[] = [];
    one.start((channel) => changed.push(channel));
    two.start(() => {});
    return { here: one.load("room"), there: two.load("room"), changed };
  }

  test("a change on another server is in state and diff, and reported to backends by that server only", () => {
    const { here, there, changed } = pair();
    const alice = meta("alice");
    there.put(alice);
    expect(there.takeDiff()?.backends).not.toBeNull();
    expect(changed).toContain("room");
    expect(here.loaded).toBe(true);
    expect(refs(here.state())).toEqual(new Map([["alice", new Set([alice.ref])]]));
    const diff = here.takeDiff();
    expect(refs(JSON.stringify(JSON.parse(diff?.members ?? "{}").joins)).has("alice")).toBe(true);
    expect(diff?.backends).toBeNull();
    there.remove(alice);
    there.takeDiff();
    expect(here.state()).toBe("{}");
    expect(here.takeDiff()?.backends).toBeNull();
  });

  test("a channel that is loaded later has the members of other servers", () => {
    const [one, two] = connect(2);
    two?.start(() => {});
    const there = two?.load("room");
    const alice = meta("alice");
    there?.put(alice);
    there?.takeDiff();
    one?.start(() => {});
    expect(refs(one?.load("room").state() ?? "{}")).toEqual(new Map([["alice", new Set([alice.ref])]]));
  });
});
