import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ChannelProcess } from "../channel-process.ts";
import { eventually, type PhoenixClient } from "../phoenix-client.ts";
import { type FleetWorld, startFleet, TOML } from "./fleet-world.ts";

const PRESENCE_TOML = `${TOML}presence_window = "20ms"\nshutdown_grace = "200ms"\n[channels."room:*"]\npresence_meta = true\n[channels."crowd:*"]\npresence = "count"\n[channels."plain:*"]\npresence = false\n`;

interface Meta {
  readonly phx_ref: string;
  readonly phx_ref_prev?: string;
  readonly [field: string]: unknown;
}
type Users = Readonly<Record<string, { readonly metas: readonly Meta[] }>>;
interface Diff {
  readonly joins: Users;
  readonly leaves: Users;
}

/** Folds the presence events that a client received, as phoenix.js does, and counts what it saw of each user. */
function seenBy({ frames }: PhoenixClient, topic: string) {
  const metas = new Map<string, Map<string, Meta>>();
  const diffs: Diff[] = [];
  for (const frame of frames.all) {
    if (frame.topic !== topic) continue;
    if (frame.event === "presence_state") {
      metas.clear();
      const users: Users = JSON.parse(frame.text)[4];
      for (const [user, each] of Object.entries(users)) metas.set(user, byRef(each.metas));
    } else if (frame.event === "presence_diff") {
      const diff: Diff = JSON.parse(frame.text)[4];
      diffs.push(diff);
      for (const [user, each] of Object.entries(diff.joins)) {
        metas.set(user, new Map([...(metas.get(user) ?? []), ...byRef(each.metas)]));
      }
      for (const [user, each] of Object.entries(diff.leaves)) {
        for (const { phx_ref } of each.metas) metas.get(user)?.delete(phx_ref);
        if (metas.get(user)?.size === 0) metas.delete(user);
      }
    }
  }
  return { users: [...metas.keys()].sort(), metas, diffs };
}

function byRef(metas: readonly Meta[]): Map<string, Meta> {
  return new Map(metas.map((meta) => [meta.phx_ref, meta]));
}

/** Waits until each client sees exactly these users. */
async function untilSeen(
  clients: readonly PhoenixClient[],
  topic: string,
  users: readonly string[],
  ms = 30_000,
) {
  const wanted = users.toSorted().join();
  await eventually(
    () => clients.every((client) => seenBy(client, topic).users.join() === wanted),
    `${wanted} in ${topic}`,
    ms,
  );
}

function leavesOf(client: PhoenixClient, topic: string): string[] {
  return seenBy(client, topic).diffs.flatMap(({ leaves }) => Object.keys(leaves));
}

describe("presence of three servers", () => {
  let world: FleetWorld;
  let [a, b, c]: ChannelProcess[] = [];
  beforeAll(async () => {
    world = await startFleet(["a", "b", "c"], { toml: PRESENCE_TOML });
    [a, b, c] = world.servers;
  });
  afterAll(() => world.stop());

  const on = (server: ChannelProcess | undefined): ChannelProcess => {
    if (server === undefined) throw new Error("three servers");
    return server;
  };

  test("members of all servers are in states and diffs, and backends get each change once", async () => {
    const topic = "room:1";
    const diffs = await world.backend.listen(`to:${topic}:presence_diff`);
    const alice = await world.join(on(a), topic, "alice");
    const bob = await world.join(on(b), topic, "bob");
    await untilSeen([alice, bob], topic, ["alice", "bob"]);
    const carol = await world.join(on(c), topic, "carol");
    await untilSeen([alice, bob, carol], topic, ["alice", "bob", "carol"]);
    // The first state of the last one had all of them.
    const state = carol.frames.all.find(({ event }) => event === "presence_state");
    expect(Object.keys(Object(state?.payload)).sort()).toEqual(["alice", "bob", "carol"]);
    await bob.ask({ topic, event: "phx_leave" });
    await untilSeen([alice, carol], topic, ["alice", "carol"]);
    carol.socket.cut();
    await untilSeen([alice], topic, ["alice"]);
    await eventually(() => diffs.all.length >= 5, "diffs for backends");
    await Bun.sleep(300);
    const all = diffs.all.map(({ payload }): Diff => JSON.parse(payload.toString()));
    expect(all.flatMap(({ joins }) => Object.keys(joins)).sort()).toEqual(["alice", "bob", "carol"]);
    expect(all.flatMap(({ leaves }) => Object.keys(leaves)).sort()).toEqual(["bob", "carol"]);
  });

  test("metadata and its updates reach the members on other servers", async () => {
    const topic = "room:2";
    const alice = await world.join(on(a), topic, "alice");
    const bob = await world.join(on(b), topic, "bob");
    await untilSeen([alice, bob], topic, ["alice", "bob"]);
    await alice.ask({ topic, event: "presence", payload: '{"mood":"fine"}' });
    const metasOf = () => [...(seenBy(bob, topic).metas.get("alice")?.values() ?? [])];
    const meta = await eventually(() => metasOf().find(({ mood }) => mood === "fine"), "the metadata");
    expect(metasOf()).toHaveLength(1);
    const before = seenBy(alice, topic).diffs[0]?.joins.alice?.metas[0]?.phx_ref;
    expect(meta.phx_ref_prev).toBe(before);
    // One diff: never without alice.
    const updates = seenBy(bob, topic).diffs.filter(({ leaves }) => "alice" in leaves);
    expect(updates.map(({ joins }) => Object.keys(joins))).toEqual([["alice"]]);
  });

  test("members are counted over all servers", async () => {
    const topic = "crowd:1";
    const first = await world.join(on(a), topic, "alice");
    for (const server of [b, b, c]) await world.join(on(server), topic, "someone");
    const last = () => first.frames.all.findLast(({ event }) => event === "presence_count")?.payload;
    await eventually(() => Object(last()).count === 4, "the count");
    const late = await world.join(on(c), topic, "late");
    await eventually(
      () =>
        late.frames.all.some(
          ({ event, payload }) => event === "presence_count" && Object(payload).count === 5,
        ),
      "the count on another server",
    );
  });

  test("channel.add and channel.remove mean the first and last member on all servers", async () => {
    for (const kind of ["room", "plain", "crowd"]) {
      const topic = `${kind}:admin`;
      const events = await world.backend.listen("to:admin:channel.*");
      const of = (event: string) =>
        events.all.filter(
          ({ name, payload }) =>
            name === `to:admin:${event}` && JSON.parse(payload.toString()).channel === topic,
        ).length;
      const one = await world.join(on(a), topic, "alice");
      await eventually(() => of("channel.add") === 1, `channel.add of ${topic}`);
      const two = await world.join(on(b), topic, "bob");
      await eventually(async () => (await world.backend.redis.hlen(`hub:occupied:${topic}`)) === 2, "both");
      await one.ask({ topic, event: "phx_leave" });
      await Bun.sleep(300);
      expect([of("channel.add"), of("channel.remove")]).toEqual([1, 0]);
      await two.ask({ topic, event: "phx_leave" });
      await eventually(() => of("channel.remove") === 1, `channel.remove of ${topic}`);
      expect(of("channel.add")).toBe(1);
    }
  });
});

test("a killed server loses its people on all others within 12 s, once, and backends get the leaves once", async () => {
  const world = await startFleet(["a", "b", "c"], { toml: PRESENCE_TOML });
  try {
    const [a, b, c] = world.servers;
    if (a === undefined || b === undefined || c === undefined) throw new Error("three servers");
    const topic = "room:killed";
    const diffs = await world.backend.listen("to:*:presence_diff");
    const admin = await world.backend.listen("to:admin:channel.remove");
    const stays = await world.join(a, topic, "stays");
    const other = await world.join(c, topic, "other");
    for (const user of ["x", "y", "z"]) await world.join(b, topic, user);
    await world.join(b, "room:only there", "lonely");
    await untilSeen([stays, other], topic, ["other", "stays", "x", "y", "z"]);
    await eventually(() => diffs.all.some(({ payload }) => payload.includes("lonely")), "the join");
    b.kill("SIGKILL");
    // 12 s, and what a busy machine needs.
    await untilSeen([stays, other], topic, ["other", "stays"], 20_000);
    await eventually(
      () => diffs.all.some(({ payload }) => payload.includes("lonely") && payload.includes('"joins":{}')),
      "the leaves",
    );
    await eventually(() => admin.all.some(({ payload }) => payload.includes("only there")), "channel.remove");
    await Bun.sleep(1000);
    for (const client of [stays, other]) expect(leavesOf(client, topic).sort()).toEqual(["x", "y", "z"]);
    const left = diffs.all.flatMap(({ payload }) => Object.keys(JSON.parse(payload.toString()).leaves));
    expect(left.sort()).toEqual(["lonely", "x", "y", "z"]);
    // Nothing of it is left in Redis.
    const keys = await world.backend.redis.keys("hub:*");
    const rest = await world.backend.redis.hkeys(`hub:presence:${topic}`);
    expect(rest).toHaveLength(2);
    expect(keys.filter((key) => key.includes("only there"))).toEqual([]);
  } finally {
    await world.stop();
  }
}, 60_000);

test("while a server drains nobody is seen leaving; who comes back is one diff, the others leave after 10 s", async () => {
  const world = await startFleet(["a", "b"], { toml: PRESENCE_TOML });
  try {
    const [a, b] = world.servers;
    if (a === undefined || b === undefined) throw new Error("two servers");
    const topic = "room:drained";
    const diffs = await world.backend.listen(`to:${topic}:presence_diff`);
    const stays = await world.join(a, topic, "stays");
    await world.join(b, topic, "returns");
    await world.join(b, topic, "gone");
    await untilSeen([stays], topic, ["gone", "returns", "stays"]);
    const old = [...(seenBy(stays, topic).metas.get("returns")?.keys() ?? [])];
    const stopped = performance.now();
    await b.stop();
    const back = await world.join(a, topic, "returns");
    await untilSeen([back], topic, ["gone", "returns", "stays"]);
    await Bun.sleep(3000);
    expect(leavesOf(stays, topic)).toEqual(["returns"]);
    const diff = seenBy(stays, topic).diffs.find(({ leaves }) => "returns" in leaves);
    expect(diff?.leaves.returns?.metas.map(({ phx_ref }) => phx_ref)).toEqual(old);
    expect(diff?.joins.returns?.metas.map(({ phx_ref_prev }) => phx_ref_prev)).toEqual(old as never);
    await untilSeen([stays, back], topic, ["returns", "stays"], 20_000);
    expect(performance.now() - stopped).toBeGreaterThan(9000);
    await eventually(
      () => diffs.all.some(({ payload }) => payload.includes('"joins":{},"leaves":{"gone"')),
      "the leave",
    );
    const all = diffs.all.map(({ payload }): Diff => JSON.parse(payload.toString()));
    expect(all.flatMap(({ leaves }) => Object.keys(leaves))).toEqual(["returns", "gone"]);
  } finally {
    await world.stop();
  }
}, 60_000);

test("a frozen server loses its people on the others, and they come back with new refs; backends get each change once", async () => {
  const world = await startFleet(["a", "b"], { toml: PRESENCE_TOML });
  try {
    const [a, b] = world.servers;
    if (a === undefined || b === undefined) throw new Error("two servers");
    const topic = "room:frozen";
    const diffs = await world.backend.listen(`to:${topic}:presence_diff`);
    const stays = await world.join(a, topic, "stays");
    const frozen = await world.join(b, topic, "frozen");
    const leaves = await world.join(b, topic, "leaves");
    await untilSeen([stays, frozen], topic, ["frozen", "leaves", "stays"]);
    const old = [...(seenBy(stays, topic).metas.get("frozen")?.keys() ?? [])];
    b.kill("SIGSTOP");
    await untilSeen([stays], topic, ["stays"], 20_000);
    leaves.socket.cut();
    await Bun.sleep(1000);
    b.kill("SIGCONT");
    await untilSeen([stays, frozen], topic, ["frozen", "stays"]);
    const now = [...(seenBy(stays, topic).metas.get("frozen")?.keys() ?? [])];
    expect(now).not.toEqual(old);
    // Its own members saw it change its ref, and never leave; a push still works.
    expect(seenBy(frozen, topic).users).toContain("frozen");
    for (const { joins, leaves: left } of seenBy(frozen, topic).diffs) {
      if ("frozen" in left) expect(Object.keys(joins)).toContain("frozen");
    }
    expect((await frozen.ask({ topic, event: "said" })).status).toBe("ok");
    await eventually(() => diffs.all.some(({ payload }) => payload.includes(String(now[0]))), "the join");
    await Bun.sleep(1000);
    const all = diffs.all.map(({ payload }): Diff => JSON.parse(payload.toString()));
    expect(all.flatMap(({ leaves: left }) => Object.keys(left)).sort()).toEqual(["frozen", "leaves"]);
    const joins = all.flatMap(({ joins: joined }) => Object.keys(joined)).sort();
    expect(joins).toEqual(["frozen", "frozen", "leaves", "stays"]);
  } finally {
    await world.stop();
  }
}, 60_000);

test("a server that is alone publishes its leaves before it ends", async () => {
  const world = await startFleet(["a"], { toml: PRESENCE_TOML });
  try {
    const [a] = world.servers;
    if (a === undefined) throw new Error("a server");
    const diffs = await world.backend.listen("to:room:alone:presence_diff");
    await world.join(a, "room:alone", "alice");
    await eventually(() => diffs.all.length === 1, "the join");
    await a.stop();
    await eventually(() => diffs.all.length === 2, "the leave");
    expect(Object.keys(JSON.parse(String(diffs.all[1]?.payload)).leaves)).toEqual(["alice"]);
    expect(await world.backend.redis.exists("hub:presence:room:alone")).toBe(0);
  } finally {
    await world.stop();
  }
}, 60_000);

test("what a server left that was killed while it was alone is not shown, and backends get the leaves of it", async () => {
  const world = await startFleet(["a"], { toml: PRESENCE_TOML });
  try {
    const [a] = world.servers;
    if (a === undefined) throw new Error("a server");
    const topic = "room:abandoned";
    const diffs = await world.backend.listen(`to:${topic}:presence_diff`);
    await world.join(a, topic, "abandoned");
    await eventually(async () => (await world.backend.redis.hlen(`hub:presence:${topic}`)) === 1, "an entry");
    a.kill("SIGKILL");
    await a.exited;
    const next = await world.start("a again");
    const alice = await world.join(next, topic, "alice");
    await untilSeen([alice], topic, ["alice"]);
    await eventually(
      () => diffs.all.some(({ payload }) => "abandoned" in JSON.parse(payload.toString()).leaves),
      "the leave",
      45_000,
    );
    await eventually(
      async () => (await world.backend.redis.hlen(`hub:presence:${topic}`)) === 1,
      "its removal",
    );
    expect(leavesOf(alice, topic)).toEqual([]);
  } finally {
    await world.stop();
  }
}, 90_000);

test("after a Redis outage nobody who stayed was seen leaving, all agree, and backends get one diff per channel", async () => {
  const world = await startFleet(["a", "b", "c"], { toml: PRESENCE_TOML });
  try {
    const [a, b, c] = world.servers;
    if (a === undefined || b === undefined || c === undefined) throw new Error("three servers");
    const topic = "room:outage";
    const watchers = await Promise.all([a, b, c].map((server, i) => world.join(server, topic, `stays ${i}`)));
    const stay = ["stays 0", "stays 1", "stays 2"];
    const leaving = await world.join(b, topic, "leaves");
    await untilSeen(watchers, topic, [...stay, "leaves"]);
    await world.redis.down();
    // A server that has not noticed it sends backends the join and the leave of one window.
    for (const { url } of [a, b, c]) await untilServerDown(url);
    await leaving.ask({ topic, event: "phx_leave" });
    await world.join(b, topic, "joins");
    await world.join(c, topic, "joins too");
    const brief = await world.join(c, topic, "brief");
    await brief.ask({ topic, event: "phx_leave" });
    await Bun.sleep(3000);
    // They connect again when the backend has subscribed.
    for (const server of [a, b, c]) server.kill("SIGSTOP");
    await world.redis.restart();
    const diffs = await world.backend.listen(`to:${topic}:presence_diff`);
    for (const server of [a, b, c]) server.kill("SIGCONT");
    for (const { url } of [a, b, c]) {
      await eventually(async () => (await fetch(`${url}/ready`)).status === 200, "ready again", 30_000);
    }
    await untilSeen(watchers, topic, [...stay, "joins", "joins too"]);
    await Bun.sleep(2000);
    for (const watcher of watchers) {
      expect(leavesOf(watcher, topic).filter((user) => user.startsWith("stays"))).toEqual([]);
      expect(leavesOf(watcher, topic).filter((user) => user === "leaves")).toEqual(["leaves"]);
    }
    const all = diffs.all.map(({ payload }): Diff => JSON.parse(payload.toString()));
    expect(all.map(({ joins, leaves }) => [Object.keys(joins), Object.keys(leaves)]).sort()).toEqual(
      [
        [["joins"], ["leaves"]],
        [["joins too"], []],
      ].sort(),
    );
  } finally {
    await world.stop();
  }
}, 90_000);

async function untilServerDown(url: string): Promise<void> {
  await eventually(async () => (await fetch(`${url}/ready`)).status === 503, "Redis away", 30_000);
}
