import { afterEach, describe, expect, test } from "bun:test";
import type { Verdict } from "../../../../src/auth/verifier.ts";
import { claims } from "../phoenix/world.ts";
import { createWorld, follow, type GroupsWorld } from "./world.ts";

const worlds: GroupsWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.stop();
});

async function open(...args: Parameters<typeof createWorld>): Promise<GroupsWorld> {
  const world = await createWorld(...args);
  worlds.push(world);
  return world;
}

/** How many receivers and subscriptions are left anywhere, and which channels are open besides those that always are. */
function leftovers(world: GroupsWorld): unknown {
  const open = [...world.hub.channels.values()];
  return {
    listeners: open.flatMap(({ receivers }) => receivers).reduce((sum, { listeners }) => sum + listeners, 0),
    receivers: open.flatMap(({ receivers }) => receivers).length,
    channels: open.map(({ name }) => name).sort(),
  };
}

const NOTHING = { listeners: 0, receivers: 0, channels: ["admin", "phoenix", "system"] };

describe("a session", () => {
  test("has one Bun topic for each subscription, that no other pair and no Phoenix client has", async () => {
    const world = await open();
    const client = world.enter();
    follow(client, { a: ["b-c"], "a-b": ["c"], "a:b": ["c"] });
    const { client: page } = world.connect();
    page.receive('["1","1","a","phx_join",{"token":"bob"}]');
    const topics = [...client.topics, ...page.topics];
    expect(client.topics.size).toBe(3);
    expect(new Set(topics).size).toBe(topics.length);
    follow(client, {});
    expect(client.topics.size).toBe(0);
  });

  test("that ends leaves nothing behind, however it ends", async () => {
    for (const end of ["hangUp", "dismiss", "close", "cutOff"] as const) {
      const world = await open();
      const client = world.enter();
      follow(client, { jobs: ["a", "b"], job_events: [1], system: ["datetime"] });
      if (end === "hangUp") client.hangUp();
      else if (end === "cutOff") client.cutOff("slow");
      else client[end](1001, "for a test");
      await new Promise((resolve) => setImmediate(resolve));
      expect([end, leftovers(world)]).toEqual([end, NOTHING]);
      client.receive('{"groups":{"jobs":["late"]}}');
      client.hangUp();
      expect(leftovers(world)).toEqual(NOTHING);
    }
  });

  test("keeps a channel open that others are in, and closes it after the last", async () => {
    const world = await open();
    const [first, second] = [world.enter(), world.enter()];
    const { client: page } = world.connect();
    follow(first, { jobs: ["a"] });
    follow(second, { jobs: ["a", "b"] });
    page.receive('["1","1","jobs","phx_join",{"token":"bob"}]');
    page.hangUp();
    expect(world.hub.channels.has("jobs")).toBe(true);
    follow(first, {});
    world.bus.bring("to:jobs:a", "1");
    expect(second.take()).toContainEqual(1);
    second.hangUp();
    expect(leftovers(world)).toEqual(NOTHING);
  });

  test("that is cut off in the middle of a message follows nothing afterwards", async () => {
    const world = await open(() => ({ ok: true, claims: claims("alice", { channels: ["jobs"] }) }));
    const client = world.enter();
    follow(client, { jobs: ["a"] });
    client.stalled = true;
    // A denial is sent at once, and the network does not accept it.
    client.receive('{"groups":{"secrets":["x"],"jobs":["b","c"]}}');
    await new Promise((resolve) => setImmediate(resolve));
    expect(leftovers(world)).toEqual(NOTHING);
  });

  test("whose network ends from within a send follows nothing afterwards", async () => {
    const world = await open(() => ({ ok: true, claims: claims("alice", { channels: ["jobs"] }) }));
    const client = world.enter();
    client.checkBacklog = () => client.hangUp();
    client.stalled = true;
    client.receive('{"groups":{"secrets":["x"],"jobs":["b","c"]}}');
    expect(leftovers(world)).toEqual(NOTHING);
  });

  test("says no more than it did when a message is refused whole", async () => {
    const world = await open();
    const client = world.enter();
    follow(client, { jobs: ["a"] });
    for (const text of [
      "{",
      "{}",
      '{"groups":{"x":["1"],"jobs":1}}',
      JSON.stringify({ groups: { jobs: Array.from({ length: 1001 }, (_, i) => i) } }),
    ]) {
      client.receive(text);
      expect(client.take()).toEqual([{ error: expect.any(String) }]);
      expect(leftovers(world)).toMatchObject({ listeners: 1 });
    }
  });
});

describe("a token that is verified elsewhere", () => {
  test("holds back messages until it is there, in their order", async () => {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const world = await open(() => promise);
    const client = world.enter();
    client.receive('{"groups":{"jobs":["a"]}}');
    client.receive('{"groups":{"jobs":["b"]}}');
    expect(client.take()).toEqual([]);
    resolve({ ok: true, claims: claims("alice") });
    await promise;
    await Promise.resolve();
    expect(client.take()).toEqual([
      { accept: true, user: "alice" },
      { groups_current: ["jobs-a"], groups_left: [], groups_joined: ["jobs-a"] },
      { groups_current: ["jobs-b"], groups_left: ["jobs-a"], groups_joined: ["jobs-b"] },
    ]);
  });

  test("that turns out bad drops them", async () => {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const world = await open(() => promise);
    const client = world.enter();
    client.receive('{"groups":{"jobs":["a"]}}');
    resolve({ ok: false, reason: "unauthorized", code: "bad_signature" });
    await promise;
    await Promise.resolve();
    expect(client.take()).toEqual([{ accept: false, close: true }]);
    expect(leftovers(world)).toEqual(NOTHING);
  });

  test("that comes too late opens nothing", async () => {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const world = await open(() => promise);
    const client = world.enter();
    client.receive('{"groups":{"jobs":["a"]}}');
    client.hangUp();
    resolve({ ok: true, claims: claims("alice") });
    await promise;
    await Promise.resolve();
    expect(client.take()).toEqual([]);
    expect(leftovers(world)).toEqual(NOTHING);
  });
});

describe("delivery", () => {
  test("is one publish for each message and any number of subscribers, and none for another entry", async () => {
    const world = await open();
    const clients = Array.from({ length: 50 }, () => world.enter());
    for (const client of clients) follow(client, { jobs: ["a"] });
    const other = world.enter();
    follow(other, { jobs: ["b"], job: ["a"] });
    world.bus.bring("to:jobs:a", ' {"n":12345678901234567890} ');
    for (const client of clients) expect(client.frames).toEqual([' {"n":12345678901234567890} ']);
    expect(other.frames).toEqual([]);
    expect(world.hub.stats.deliveries).toBe(50);
  });

  test("leaves binary out, and counts those who did not get it", async () => {
    const world = await open();
    const clients = [world.enter(), world.enter()];
    for (const client of clients) follow(client, { jobs: ["a"] });
    world.bus.bring("to:jobs:a", Buffer.from([0xff]));
    world.bus.bring("to:jobs:a", "plain text");
    expect(clients.flatMap((client) => client.frames)).toEqual([]);
    expect(world.hub.stats.unsendable).toBe(4);
    expect(world.hub.stats.deliveries).toBe(0);
  });

  test("disconnects the client that does not read, and no other", async () => {
    const world = await open();
    const [slow, quick] = [world.enter(), world.enter()];
    for (const client of [slow, quick]) follow(client, { jobs: ["a"] });
    slow.stalled = true;
    world.bus.bring("to:jobs:a", "1");
    await new Promise((resolve) => setImmediate(resolve));
    world.bus.bring("to:jobs:a", "2");
    expect(quick.take()).toEqual([1, 2]);
    expect(world.hub.stats.closed).toEqual({ slow: 1 });
    expect(leftovers(world)).toMatchObject({ listeners: 1 });
  });
});

test("a message that must repeat the csrftoken and does not is counted, and changes nothing", async () => {
  const world = await open();
  const client = world.enter({ csrf: "secret" });
  expect(follow(client, { jobs: ["a"] }, { xrftoken: "wrong" })).toEqual([
    { error: "access denied to channel" },
  ]);
  expect(follow(client, { jobs: ["a"] }, { xrftoken: "secret" })).toMatchObject([
    { accept: true, user: "alice" },
    { groups_joined: ["jobs-a"] },
  ]);
  const none = world.enter({ csrf: null });
  expect(follow(none, { jobs: ["a"] }, { xrftoken: null })).toEqual([{ error: "access denied to channel" }]);
  expect(world.hub.stats.refused).toEqual({ no_xrftoken: 2 });
});
