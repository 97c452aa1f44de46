/** What every presence store promises. */

import { describe, expect, test } from "bun:test";
import { nextMeta } from "../../../src/hub/presence/presence-info.ts";
import type {
  ChannelPresence,
  Meta,
  PresenceOwner,
  PresenceStore,
} from "../../../src/hub/presence/presence-store.ts";
import { NO_OWNER } from "./connected-presence.ts";

/** `connect` makes stores of servers that share their members; `null` where the store is for one server alone. */
export interface Implementation {
  readonly name: string;
  create(): PresenceStore;
  readonly connect: ((servers: number) => Promise<readonly PresenceStore[]>) | null;
  /** Whether the store sends diffs to backends by itself (`PresenceOwner.export`). */
  readonly exportsItself: boolean;
}

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

/** Polls until a check does not throw. */
async function until(check: () => void): Promise<void> {
  const end = performance.now() + 15_000;
  for (;;) {
    try {
      return check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await Bun.sleep(5);
  }
}

export function testContract({ name, create, connect, exportsItself }: Implementation): void {
  describe(name, () => {
    testOne(create, exportsItself);
    if (connect !== null) testSeveral(connect, exportsItself);
  });
}

function testOne(create: () => PresenceStore, exportsItself: boolean): void {
  function load(): ChannelPresence {
    const store = create();
    store.start(NO_OWNER);
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
    const encodedOnce = encoded;
    for (let i = 0; i < 1000; i++) expect(presence.state()).toBe(first);
    expect(encoded).toBe(encodedOnce);
    const before = encoded;
    const bob = meta("bob");
    presence.put(bob);
    expect(refs(presence.state()).has("bob")).toBe(true);
    expect(encoded).toBe(before);
    presence.remove(bob);
    for (let i = 0; i < 1000; i++) expect(presence.state()).toBe(first);
    expect(encoded).toBe(before + 1);
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
  }, 60_000);

  test("a channel that was unloaded is empty when it is loaded again", () => {
    const store = create();
    store.start(NO_OWNER);
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
    store.start(NO_OWNER);
    const [a, b] = [store.load("a"), store.load("b")];
    a.put(meta("alice"));
    expect(b.takeDiff()).toBeNull();
    expect(b.state()).toBe("{}");
  });

  test("a store that no other server shares reports each change to backends", () => {
    const presence = load();
    presence.put(meta("alice"));
    const diff = presence.takeDiff();
    expect(diff?.backends ?? null).toBe(exportsItself ? null : (diff?.members ?? ""));
  });
}

function testSeveral(
  connect: (servers: number) => Promise<readonly PresenceStore[]>,
  exportsItself: boolean,
): void {
  /** A server that has loaded channels, with what it was notified of, what backends got, and a copy as a client keeps it. */
  class Server {
    readonly store: PresenceStore;
    readonly exported: string[] = [];
    readonly #channels = new Map<string, ChannelPresence>();
    readonly copies = new Map<string, Map<string, Set<string>>>();
    readonly diffs: string[] = [];

    constructor(store: PresenceStore) {
      this.store = store;
      const owner: PresenceOwner = {
        ...NO_OWNER,
        changed: (channel) => this.take(channel),
        export: (_channel, diff, ack) => {
          this.exported.push(diff);
          ack.settled(true);
        },
      };
      store.start(owner);
      store.connectionChanged(true);
    }

    load(channel = "room"): ChannelPresence {
      const presence = this.store.load(channel);
      this.#channels.set(channel, presence);
      return presence;
    }

    /** As the hub does when a window closes. */
    take(channel = "room"): void {
      const presence = this.#channels.get(channel);
      if (presence === undefined || !presence.loaded) return;
      const copy = this.copies.get(channel);
      const diff = presence.takeDiff();
      if (copy === undefined) this.copies.set(channel, refs(presence.state()));
      else if (diff !== null) fold(copy, diff.members);
      if (diff === null) return;
      this.diffs.push(diff.members);
      if (diff.backends !== null) this.exported.push(diff.backends);
    }

    put(presence: ChannelPresence, meta: Meta, channel = "room"): void {
      presence.put(meta);
      this.store.membersChanged(channel, 1, false);
      this.take(channel);
    }

    remove(presence: ChannelPresence, meta: Meta, channel = "room"): void {
      presence.remove(meta);
      this.take(channel);
    }
  }

  async function servers(count: number): Promise<Server[]> {
    return (await connect(count)).map((store) => new Server(store));
  }

  async function pair(): Promise<[Server, Server]> {
    const [one, two] = await servers(2);
    if (one === undefined || two === undefined) throw new Error("two stores expected");
    return [one, two];
  }

  const only = (...metas: Meta[]) => {
    const users = new Map<string, Set<string>>();
    for (const { user, ref } of metas) users.set(user, (users.get(user) ?? new Set()).add(ref));
    return users;
  };

  test("a change on another server is in state and diff, and reported to backends by that server only", async () => {
    const [one, two] = await pair();
    const [here, there] = [one.load(), two.load()];
    const [alice, bob] = [meta("alice"), meta("bob")];
    one.put(here, bob);
    two.put(there, alice);
    await until(() => {
      expect(refs(here.state())).toEqual(only(alice, bob));
      expect(refs(there.state())).toEqual(only(alice, bob));
      expect(one.copies.get("room")).toEqual(only(alice, bob));
      expect(two.exported.join()).toContain(alice.ref);
    });
    two.remove(there, alice);
    await until(() => {
      expect(one.copies.get("room")).toEqual(only(bob));
      expect(two.exported.filter((diff) => diff.includes(alice.ref))).toHaveLength(2);
    });
    expect(one.exported.join()).not.toContain(alice.ref);
    await Promise.all([one.store.stop(), two.store.stop()]);
  });

  test("a channel that is loaded later has the members of other servers", async () => {
    const [one, two] = await pair();
    const there = two.load();
    const [alice, bob] = [meta("alice"), meta("bob")];
    two.put(there, alice);
    await until(() => expect(two.exported).toHaveLength(1));
    await Bun.sleep(exportsItself ? 200 : 0);
    const here = one.load();
    one.put(here, bob);
    await until(() => {
      expect(here.loaded).toBe(true);
      expect(refs(here.state())).toEqual(only(alice, bob));
    });
    await Promise.all([one.store.stop(), two.store.stop()]);
  });

  test("a replaced meta is replaced on the other server, with its metadata", async () => {
    const [one, two] = await pair();
    const [here, there] = [one.load(), two.load()];
    const [alice, bob] = [meta("alice"), meta("bob")];
    one.put(here, bob);
    two.put(there, alice);
    await until(() => expect(one.copies.get("room")).toEqual(only(alice, bob)));
    const next = nextMeta(alice, alice, '"typing":true');
    there.replace(alice, next);
    two.take();
    await until(() => expect(one.copies.get("room")).toEqual(only(next, bob)));
    expect(JSON.parse(here.state()).alice.metas[0]).toMatchObject({ typing: true, phx_ref_prev: alice.ref });
    await Promise.all([one.store.stop(), two.store.stop()]);
  });

  test("users of any name are shared, and channels are apart", async () => {
    const [one, two] = await pair();
    for (const [i, user] of ["__proto__", "constructor", "", '"\\', "0", "\u2028é😀", "a|b"].entries()) {
      const channel = `room:${i}|{x}`;
      const [here, there] = [one.load(channel), two.load(channel)];
      const [alice, other] = [meta("alice"), meta(user)];
      one.put(here, alice, channel);
      two.put(there, other, channel);
      await until(() => {
        expect(refs(here.state())).toEqual(only(alice, other));
        expect(refs(there.state())).toEqual(only(alice, other));
      });
    }
    await Promise.all([one.store.stop(), two.store.stop()]);
  });

  test("thousands of members in one channel, and hundreds of channels, are shared", async () => {
    const [one, two] = await pair();
    const here = one.load();
    const there = two.load();
    const bob = meta("bob");
    one.put(here, bob);
    const crowd = Array.from({ length: 3000 }, (_, i) => meta(`user ${i}`));
    for (const each of crowd) there.put(each);
    two.store.membersChanged("room", crowd.length, false);
    two.take();
    const names = Array.from({ length: 700 }, (_, i) => `room ${i}`);
    const alone = new Map(names.map((name) => [name, meta("alice")]));
    for (const [name, alice] of alone) two.put(two.load(name), alice, name);
    await until(() => {
      expect(one.copies.get("room")?.size).toBe(crowd.length + 1);
      expect(two.copies.get("room")?.size).toBe(crowd.length + 1);
      expect(two.exported).toHaveLength(1 + names.length);
    });
    for (const name of [names[0] ?? "", names.at(-1) ?? ""]) {
      const [presence, carol] = [one.load(name), meta("carol")];
      one.put(presence, carol, name);
      const alice = alone.get(name) ?? carol;
      await until(() => expect(refs(presence.state())).toEqual(only(alice, carol)));
    }
    await Promise.all([one.store.stop(), two.store.stop()]);
  }, 60_000);

  test("three servers agree after any changes, and every copy folded from diffs does too", async () => {
    let seed = 20_261_129;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (seed >>> 8) % below;
    };
    const all = await servers(3);
    const loaded = all.map((server) => server.load());
    const truth = all.map(() => new Map<string, { original: Meta; current: Meta }>());
    for (const [i, server] of all.entries()) {
      const stays = meta(`stays ${i}`);
      truth[i]?.set(stays.ref, { original: stays, current: stays });
      const presence = loaded[i];
      if (presence !== undefined) server.put(presence, stays);
    }
    const users = ["alice", "bob", "__proto__", "7", "carol"];
    for (let step = 0; step < 600; step++) {
      const at = random(3);
      const [server, presence, own] = [all[at], loaded[at], truth[at]];
      if (server === undefined || presence === undefined || own === undefined)
        throw new Error("three servers");
      const candidates = [...own.values()].filter(({ current }) => !current.user.startsWith("stays"));
      const one = candidates[random(Math.max(1, candidates.length))];
      const what = random(10);
      if (what < 5 || one === undefined) {
        const joined = meta(users[random(users.length)] ?? "");
        own.set(joined.ref, { original: joined, current: joined });
        server.put(presence, joined);
      } else if (what < 8) {
        own.delete(one.original.ref);
        server.remove(presence, one.current);
      } else {
        const next = nextMeta(one.original, one.current, `"n":${step}`);
        presence.replace(one.current, next);
        one.current = next;
        server.take();
      }
      if (step % 20 === 0) await Bun.sleep(random(60));
    }
    const metas = truth.flatMap((own) => [...own.values()].map(({ current }) => current));
    await until(() => {
      for (const [i, server] of all.entries()) {
        expect(refs(loaded[i]?.state() ?? "")).toEqual(only(...metas));
        expect(server.copies.get("room")).toEqual(only(...metas));
      }
    });
    // Nobody who stayed was seen leaving.
    for (const { diffs } of all) {
      for (const diff of diffs) expect(Object.keys(JSON.parse(diff).leaves).join()).not.toContain("stays");
    }
    await Promise.all(all.map(({ store }) => store.stop()));
  }, 60_000);
}
