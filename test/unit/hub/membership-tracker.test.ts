import { describe, expect, test } from "bun:test";
import { Channel } from "../../../src/hub/channel.ts";
import { MemoryPresence } from "../../../src/hub/presence/memory-presence.ts";
import { MembershipTracker } from "../../../src/hub/webhooks/membership-tracker.ts";
import type { MembershipWrite, WebhookEvent, WebhookStore } from "../../../src/hub/webhooks/webhook-store.ts";
import { FakeMember } from "./fake-member.ts";

interface Rig {
  readonly tracker: MembershipTracker;
  /** `room +alice`, `room -alice`, `room *alice` for a visit, in the order of writing; the server is in front. */
  readonly written: string[];
  readonly added: WebhookEvent[];
  readonly lost: string[];
  ready: boolean;
  /** Whether writes fail, though they may have been applied. */
  fails: boolean;
  incarnation: string;
  /** Writes what waits now. */
  flush(): Promise<void>;
}

function rig(stored: Readonly<Record<string, readonly string[]>> | null = null): Rig {
  const written: string[] = [];
  const added: WebhookEvent[] = [];
  const lost: string[] = [];
  const write = async (server: string, writes: readonly MembershipWrite[]): Promise<number | null> => {
    if (rig.fails) return null;
    for (const { channel, changes } of writes)
      for (const { user, kind } of changes) {
        const sign = { present: "+", absent: "-", visited: "*" }[kind];
        written.push(`${server} ${channel} ${sign}${user ?? ""}`);
      }
    return 0;
  };
  const store: WebhookStore = {
    shared:
      stored === null
        ? null
        : {
            serversOf: async () => [],
            channelsOf: async () => Object.keys(stored),
            usersOf: async (channel) => stored[channel] ?? [],
          },
    get ready() {
      return rig.ready;
    },
    start: () => {},
    write,
    add: async (event) => {
      added.push(event);
      return 0;
    },
    poll: async () => null,
    finish: async () => null,
    failed: async () => {},
    release: async () => {},
    status: async () => null,
    stop: () => {},
  };
  const tracker = new MembershipTracker({
    store,
    incarnation: () => rig.incarnation,
    lost: (events, reason) => void lost.push(`${events} ${reason}`),
  });
  const rig: Rig = {
    ...{ tracker, written, added, lost, ready: true, fails: false, incarnation: "s1" },
    async flush() {
      while (tracker.waiting > 0) await Bun.sleep(5);
    },
  };
  return rig;
}

const room = (name = "room"): Channel => new Channel(name, new MemoryPresence());

function member(channel: Channel, user: string): FakeMember {
  return new FakeMember(channel, user);
}

describe("the members of a server", () => {
  test("are written per user, not per connection", async () => {
    const { tracker, written, flush } = rig();
    const channel = room();
    const [one, two] = [member(channel, "alice"), member(channel, "alice")];
    tracker.joined(one);
    tracker.joined(two);
    await flush();
    tracker.left(one);
    await flush();
    expect(written).toEqual(["s1 room +alice"]);
    tracker.left(two);
    await flush();
    expect(written).toEqual(["s1 room +alice", "s1 room -alice"]);
    tracker.left(two);
    expect(tracker.waiting).toBe(0);
  });

  test("who comes and leaves at once is written as a visit, who leaves and comes back as present", async () => {
    const { tracker, written, flush } = rig();
    const channel = room();
    const [alice, bob] = [member(channel, "alice"), member(channel, "bob")];
    tracker.joined(bob);
    await flush();
    tracker.joined(alice);
    tracker.left(alice);
    tracker.left(bob);
    tracker.joined(bob);
    await flush();
    expect(written).toEqual(["s1 room +bob", "s1 room *alice", "s1 room +bob"]);
  });

  test("users are not distinguished without presence, and the server's own channels do not count", async () => {
    const { tracker, written, flush } = rig();
    const channel = new Channel("quiet", null);
    tracker.joined(member(channel, "alice"));
    tracker.joined(member(channel, "bob"));
    for (const name of ["system", "phoenix", "admin"]) {
      const own = member(room(name), "alice");
      tracker.joined(own);
      tracker.left(own);
    }
    await flush();
    expect(written).toEqual(["s1 quiet +"]);
  });

  test("what was not written is written later, with what changed meanwhile", async () => {
    const state = rig();
    const { tracker, written, flush } = state;
    const channel = room();
    const [alice, bob, carol] = ["alice", "bob", "carol"].map((user) => member(channel, user));
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error("no member");
    state.fails = true;
    tracker.joined(alice);
    tracker.joined(bob);
    await Bun.sleep(100);
    tracker.left(bob);
    tracker.joined(carol);
    state.fails = false;
    await flush();
    // Whether the join of bob was written is not known.
    expect(written.toSorted()).toEqual(["s1 room *bob", "s1 room +alice", "s1 room +carol"]);
  });

  test("visits while the store is away are bounded and counted, members are not lost", async () => {
    const state = rig();
    const { tracker, written, lost, flush } = state;
    state.ready = false;
    const channel = room();
    tracker.joined(member(channel, "stays"));
    for (let i = 0; i < 10_100; i++) {
      const visitor = member(channel, `v${i}`);
      tracker.joined(visitor);
      tracker.left(visitor);
    }
    expect(tracker.waiting).toBe(10_001);
    expect(lost).toHaveLength(100);
    expect(lost[0]).toBe("1 unwritten");
    state.ready = true;
    await flush();
    expect(written).toHaveLength(10_001);
    expect(written).toContain("s1 room +stays");
  });

  test("are written again under a new incarnation", async () => {
    const state = rig();
    const { tracker, written, flush } = state;
    tracker.joined(member(room(), "alice"));
    await flush();
    state.incarnation = "s2";
    tracker.repeat();
    await flush();
    expect(written).toEqual(["s1 room +alice", "s2 room +alice"]);
  });

  test("after a new connection to the store, what it should not have is removed", async () => {
    const { tracker, written, flush } = rig({ room: ["alice", "ghost"] });
    tracker.joined(member(room(), "alice"));
    await flush();
    written.length = 0;
    tracker.opened();
    await Bun.sleep(20);
    await flush();
    expect(written.toSorted()).toEqual(["s1 room +alice", "s1 room -ghost"]);
  });

  test("leaves of a server that stops are left to another server, if servers share the store", async () => {
    for (const [stored, expected] of [
      [{}, []],
      [null, ["s1 room -alice"]],
    ] as const) {
      const { tracker, written, flush } = rig(stored);
      const alice = member(room(), "alice");
      tracker.joined(alice);
      await flush();
      written.length = 0;
      tracker.drain();
      tracker.left(alice);
      await tracker.stop();
      expect(written).toEqual([...expected]);
    }
  });
});

test("a gap is written once the store is there", async () => {
  const state = rig();
  state.ready = false;
  state.tracker.gap();
  state.tracker.gap();
  expect(state.tracker.waiting).toBe(1);
  state.ready = true;
  await state.flush();
  expect(state.added.map(({ event, channel }) => `${event} ${channel}`)).toEqual(["gap *"]);
});
