import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startWorld, type World } from "../world.ts";
import { AWX_GROUPS, enterGroups, type GroupsClient } from "./groups-client.ts";

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded");
});
afterAll(() => world?.stop());

function enter(channel = "*", claims = {}): Promise<GroupsClient> {
  return enterGroups(world.channel.url, world.token(channel, claims));
}

/** Publishes, and returns what this client received of it. */
async function hears(client: GroupsClient, name: string): Promise<boolean> {
  const payload = JSON.stringify({ said: Math.random() });
  const marker = JSON.stringify({ marker: Math.random() });
  const watch = await enter();
  await watch.follow({ marker: ["all"] });
  await world.backend.publish(name, payload);
  await world.backend.publish("to:marker:all", marker);
  await watch.texts.until((text) => text === marker, "the marker");
  watch.socket.cut();
  const frames = await client.fence();
  return frames.some((frame) => JSON.stringify(frame) === payload);
}

const range = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

describe("a message", () => {
  test("replaces the whole set and says what that changed", async () => {
    const client = await enter();
    const first = ["job_events-41", "job_events-42", "jobs-status_changed", "jobs-summary"];
    expect(await client.follow({ jobs: ["status_changed", "summary"], job_events: [41, 42] })).toEqual({
      current: first,
      left: [],
      joined: first,
    });
    expect(
      await client.follow({ jobs: ["summary"], job_events: [42, 43], control: ["limit_reached_7"] }),
    ).toEqual({
      current: ["control-limit_reached_7", "job_events-42", "job_events-43", "jobs-summary"],
      left: ["job_events-41", "jobs-status_changed"],
      joined: ["control-limit_reached_7", "job_events-43"],
    });
    const heard: string[] = [];
    for (const name of [...first, "job_events-43", "control-limit_reached_7"]) {
      if (await hears(client, `to:${name.replace("-", ":")}`)) heard.push(name);
    }
    expect(heard).toEqual(["job_events-42", "jobs-summary", "job_events-43", "control-limit_reached_7"]);
    expect(await client.follow({})).toEqual({
      current: [],
      left: ["control-limit_reached_7", "job_events-42", "job_events-43", "jobs-summary"],
      joined: [],
    });
    for (const name of ["to:jobs:summary", "to:job_events:42"]) expect(await hears(client, name)).toBe(false);
  });

  test("that changes nothing loses nothing", async () => {
    const client = await enter();
    await client.follow({ jobs: ["summary"] });
    const count = 300;
    const sent: Promise<unknown>[] = [];
    for (const i of range(count)) {
      client.send({ groups: { jobs: ["summary"], ...(i % 2 === 0 ? { job_events: [i] } : {}) } });
      sent.push(world.backend.publish("to:jobs:summary", String(i)));
    }
    await Promise.all(sent);
    await client.texts.until((text) => text === String(count - 1), "the last one");
    const numbers = client.texts.all.filter((text) => /^\d+$/.test(text)).map(Number);
    expect(numbers).toEqual(range(count));
    await client.fence();
    for (const text of client.texts.all.filter((each) => each.includes("groups_current")).slice(1)) {
      expect(JSON.parse(text).groups_joined).not.toContain("jobs-summary");
    }
  });

  test("may be sent again word for word", async () => {
    const client = await enter();
    const groups = { jobs: ["summary"], job_events: [1] };
    await client.follow(groups);
    expect(await client.follow(groups)).toEqual({
      current: ["job_events-1", "jobs-summary"],
      left: [],
      joined: [],
    });
  });

  test("may name a pair twice, as text and as number: it is one", async () => {
    const client = await enter();
    client.sendText('{"groups":{"job_events":[42,"42",42.0,4.2e1,"42"],"jobs":["a"],"jobs":["b","b"]}}');
    const answer = JSON.parse(await client.texts.next());
    expect(answer.groups_current.sort()).toEqual(["job_events-42", "jobs-b"]);
    expect(answer.groups_joined.sort()).toEqual(["job_events-42", "jobs-b"]);
    await world.backend.publish("to:job_events:42", "1");
    expect(await client.next()).toBe(1);
    expect(await client.fence()).toEqual([]);
  });

  test("may hold integers that are too long for a number", async () => {
    const client = await enter();
    client.sendText('{"groups":{"job_events":[9007199254740993,-18446744073709551617,9007199254740992]}}');
    expect(JSON.parse(await client.texts.next()).groups_current).toEqual([
      "job_events-9007199254740993",
      "job_events--18446744073709551617",
      "job_events-9007199254740992",
    ]);
    expect(await hears(client, "to:job_events:9007199254740993")).toBe(true);
  });

  test("may leave out entries, and hold keys that say nothing to us", async () => {
    const client = await enter();
    expect(await client.follow({ jobs: [] }, { xrftoken: null, more: { groups: 1 } })).toEqual({
      current: [],
      left: [],
      joined: [],
    });
  });

  test("may name all nine groups of AWX, any channel, and names that JavaScript has itself", async () => {
    const odd = [
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "0",
      "a:b",
      "*",
      "ünï 名前",
      "a-b-c",
    ];
    const pairs: [string, string | number][] = [
      ...AWX_GROUPS.map(([g, e]): [string, string | number] => [g, e]),
    ];
    for (const name of odd) pairs.push([name, name.replace(":", ";")]);
    const text = pairs.map(([group, entry]) => `${JSON.stringify(group)}:[${JSON.stringify(entry)}]`).join();
    const client = await enter();
    client.sendText(`{"groups":{${text}}}`);
    const answer = JSON.parse(await client.texts.next());
    expect(answer.groups_current.sort()).toEqual(pairs.map(([group, entry]) => `${group}-${entry}`).sort());
    for (const [group, entry] of pairs)
      expect([group, await hears(client, `to:${group}:${entry}`)]).toEqual([group, true]);
    expect(await hears(client, "to:a:b")).toBe(false);
    expect((await client.follow({})).left.length).toBe(pairs.length);
  });
});

describe("two pairs with the same dashed name", () => {
  test("are two subscriptions", async () => {
    const both = await enter();
    expect(await both.follow({ a: ["b-c"], "a-b": ["c"] })).toEqual({
      current: ["a-b-c", "a-b-c"],
      left: [],
      joined: ["a-b-c", "a-b-c"],
    });
    const one = await enter();
    await one.follow({ a: ["b-c"] });
    const other = await enter();
    await other.follow({ "a-b": ["c"] });
    expect([
      await hears(both, "to:a:b-c"),
      await hears(one, "to:a:b-c"),
      await hears(other, "to:a:b-c"),
    ]).toEqual([true, true, false]);
    expect([
      await hears(both, "to:a-b:c"),
      await hears(one, "to:a-b:c"),
      await hears(other, "to:a-b:c"),
    ]).toEqual([true, false, true]);
    await both.fence();
    expect(await both.follow({ a: ["b-c"] })).toEqual({ current: ["a-b-c"], left: ["a-b-c"], joined: [] });
    expect([await hears(both, "to:a:b-c"), await hears(both, "to:a-b:c")]).toEqual([true, false]);
    expect(await both.follow({ "a-b": ["c"] })).toEqual({
      current: ["a-b-c"],
      left: ["a-b-c"],
      joined: ["a-b-c"],
    });
    expect([await hears(both, "to:a:b-c"), await hears(both, "to:a-b:c")]).toEqual([false, true]);
  });

  test("are decided about each by the token", async () => {
    for (const [allowed, group, entry, heard] of [
      ["a", "a-b", "c", "to:a:b-c"],
      ["a-b", "a", "b-c", "to:a-b:c"],
    ] as const) {
      const client = await enter(allowed);
      client.send({ groups: { a: ["b-c"], "a-b": ["c"] } });
      expect(await client.next()).toEqual({
        error: `access denied to channel ${group} for resource id ${entry}`,
      });
      expect(await client.next()).toMatchObject({ groups_current: ["a-b-c"] });
      expect(await hears(client, heard)).toBe(true);
      expect(await hears(client, `to:${group}:${entry}`)).toBe(false);
    }
  });
});

describe("the token decides", () => {
  test("about each group; the others go through", async () => {
    const client = await enter("jobs", { channels: ["jobs", "job_*"] });
    client.send({ groups: { secrets: [1, "two"], jobs: ["summary"], job_events: [3], job: [4] } });
    expect(await client.next()).toEqual({ error: "access denied to channel secrets for resource id 1" });
    expect(await client.next()).toEqual({ error: "access denied to channel secrets for resource id two" });
    expect(await client.next()).toEqual({ error: "access denied to channel job for resource id 4" });
    expect(await client.next()).toMatchObject({
      groups_current: ["jobs-summary", "job_events-3"],
      groups_joined: ["jobs-summary", "job_events-3"],
    });
    expect(await hears(client, "to:secrets:1")).toBe(false);
  });

  test("and what it does not cover is left all the same", async () => {
    const client = await enter("jobs");
    await client.follow({ jobs: ["summary"] });
    client.send({ groups: { secrets: [1] } });
    expect(await client.next()).toEqual({ error: "access denied to channel secrets for resource id 1" });
    expect(await client.next()).toEqual({
      groups_current: [],
      groups_left: ["jobs-summary"],
      groups_joined: [],
    });
  });

  test("about the administrator's channel only in an administrator's token", async () => {
    for (const channels of [["*"], ["admin"], ["a*"]]) {
      const client = await enter("x", { channels });
      client.send({ groups: { admin: ["channel.add"] } });
      expect(await client.next()).toEqual({
        error: "access denied to channel admin for resource id channel.add",
      });
      expect(await client.next()).toMatchObject({ groups_current: [] });
    }
    const administrator = await enterGroups(world.channel.url, await world.adminToken("root"));
    expect((await administrator.follow({ admin: ["channel.add"] })).current).toEqual(["admin-channel.add"]);
  });

  test("that may not join joins nothing", async () => {
    const client = await enter("jobs", { can: ["push", "presence"] });
    client.send({ groups: { jobs: ["summary"] } });
    expect(await client.next()).toEqual({ error: "access denied to channel jobs for resource id summary" });
    expect(await client.next()).toMatchObject({ groups_current: [] });
  });
});

describe("bad input is refused, changes nothing, and the connection stays", () => {
  const DENIED = "access denied to channel";
  const deep = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
  const CASES: readonly (readonly [string, string, string])[] = [
    ["no JSON", "groups", "not JSON"],
    ["nothing", "", "not JSON"],
    ["half a message", '{"groups":{"jobs":["summary"]}', "not JSON"],
    // More than 64 levels are refused unparsed.
    ["a list nested without end", `{"groups":{"jobs":["summary",${deep(200_000)},7]}}`, "not JSON"],
    ["two messages", '{"groups":{}}{"groups":{}}', "not JSON"],
    ["no groups", "{}", "no groups"],
    ["groups by another name", '{"group":{"jobs":["summary"]},"Groups":{}}', "no groups"],
    ["groups of a prototype", '{"__proto__":{"groups":{}}}', "no groups"],
    ["null", "null", "no groups"],
    ["a text", '"groups"', "no groups"],
    ["a number", "5", "no groups"],
    ["a list", '[{"groups":{}}]', "no groups"],
    ["groups that are a list", '{"groups":["jobs"]}', "groups is no object"],
    ["groups that are null", '{"groups":null}', "groups is no object"],
    ["groups that are a text", '{"groups":"jobs"}', "groups is no object"],
    ["a text for a list", '{"groups":{"schedules":["changed"],"jobs":"summary"}}', DENIED],
    ["an object for a list", '{"groups":{"jobs":{"0":"summary","length":1}}}', DENIED],
    ["null for a list", '{"groups":{"jobs":null}}', DENIED],
    ["a number for a list", '{"groups":{"jobs":1}}', DENIED],
    ["no list in a group that is no group", '{"groups":{"__proto__":{}}}', DENIED],
    ["no list behind good ones", '{"groups":{"schedules":["changed"],"secrets":[1],"jobs":true}}', DENIED],
    [
      "10,000 groups",
      JSON.stringify({ groups: Object.fromEntries(range(10_000).map((i) => [`g${i}`, [i]])) }),
      "more than 1000 subscriptions",
    ],
    [
      "10,000 entries of one group",
      JSON.stringify({ groups: { jobs: range(10_000) } }),
      "more than 1000 subscriptions",
    ],
    ["1,001 entries", JSON.stringify({ groups: { jobs: range(1001) } }), "more than 1000 subscriptions"],
    [
      "1,001 entries that could be none",
      JSON.stringify({ groups: { jobs: range(1001).map(() => ({})) } }),
      "more than 1000 subscriptions",
    ],
  ];
  for (const [what, text, error] of CASES) {
    test(what, async () => {
      const client = await enter();
      await client.follow({ jobs: ["summary"] });
      client.sendText(text);
      expect(await client.next()).toEqual({ error: expect.stringContaining(error) });
      expect(await hears(client, "to:jobs:summary")).toBe(true);
      expect(await hears(client, "to:schedules:changed")).toBe(false);
      expect(await client.follow({ jobs: ["summary"] })).toMatchObject({ left: [], joined: [] });
      client.socket.cut();
    });
  }

  test("a binary frame", async () => {
    const client = await enter();
    await client.follow({ jobs: ["summary"] });
    client.socket.sendBinary(Buffer.from('{"groups":{}}'));
    expect(await client.next()).toEqual({ error: "not JSON" });
    expect(await hears(client, "to:jobs:summary")).toBe(true);
  });

  test("a hundred of them in a row", async () => {
    const client = await enter();
    for (const _ of range(100)) client.sendText("{");
    for (const _ of range(100)) expect(await client.next()).toEqual({ error: "not JSON" });
    expect((await client.follow({ jobs: ["summary"] })).current).toEqual(["jobs-summary"]);
  });

  const NO_ENTRY: readonly (readonly [string, string, string])[] = [
    ["an object", '{"id":1}', "{...}"],
    ["an object of JavaScript's", '{"toString":"x","__proto__":[]}', "{...}"],
    ["a list", '["summary"]', "[...]"],
    ["a list nested as deep as it may be", deep(62), "[...]"],
    ["null", "null", "null"],
    ["true", "true", "true"],
    ["a fraction", "1.5", "1.5"],
    ["a number beyond all", "1e400", "Infinity"],
    ["no text", '""', ""],
    ["a colon", '"a:b"', "a:b"],
    ["a line feed", '"a\\nb"', "a\nb"],
    ["U+0000", '"\\u0000"', "\u0000"],
    ["U+0085", '"\\u0085"', "\u0085"],
    ["half a character", '"\\ud800"', "\ud800"],
    ["256 characters", `"${"x".repeat(256)}"`, "x".repeat(255)],
  ];
  for (const [what, entry, shown] of NO_ENTRY) {
    test(`an entry that is ${what} is denied, the others go through`, async () => {
      const client = await enter();
      client.sendText(`{"groups":{"jobs":["summary",${entry},7]}}`);
      expect(await client.next()).toEqual({
        error: `access denied to channel jobs for resource id ${shown}`,
      });
      expect(await client.next()).toMatchObject({ groups_current: ["jobs-summary", "jobs-7"] });
      client.socket.cut();
    });
  }

  const NO_GROUP: readonly (readonly [string, string])[] = [
    ["no text", ""],
    ["a control character", "a\tb"],
    ["over 255 bytes", "é".repeat(128)],
  ];
  for (const [what, group] of NO_GROUP) {
    test(`a group that is ${what} is denied, the others go through`, async () => {
      const client = await enter();
      client.send({ groups: { [group]: ["x"], jobs: ["summary"] } });
      expect(await client.next()).toEqual({ error: `access denied to channel ${group} for resource id x` });
      expect(await client.next()).toMatchObject({ groups_current: ["jobs-summary"] });
    });
  }

  test("a group's name as long as a frame is not sent back for each of its entries", async () => {
    const client = await enter();
    client.send({ groups: { ["g".repeat(500_000)]: range(999) } });
    for (const i of range(999)) {
      expect(await client.next()).toEqual({
        error: `access denied to channel ${"g".repeat(255)} for resource id ${i}`,
      });
    }
    expect(await client.next()).toMatchObject({ groups_current: [] });
  });
});

describe("limits of names and numbers", () => {
  test("entries of one and of 255 characters are good", async () => {
    const client = await enter();
    const names = ["x", "y".repeat(255), "é".repeat(127), "😀".repeat(255), "名".repeat(255)];
    const { current } = await client.follow({ jobs: names });
    expect(current).toEqual(names.map((name) => `jobs-${name}`).sort());
    expect(await hears(client, `to:jobs:${"y".repeat(255)}`)).toBe(true);
    expect(await hears(client, `to:jobs:${"é".repeat(127)}`)).toBe(true);
    expect((await client.follow({ jobs: names })).left).toEqual([]);
  });

  test("a thousand subscriptions are good, and another thousand in their place", async () => {
    const client = await enter();
    expect((await client.follow({ job_events: range(1000) })).joined.length).toBe(1000);
    const answer = await client.follow({ job_events: range(1000, 1000) });
    expect([answer.current.length, answer.left.length, answer.joined.length]).toEqual([1000, 1000, 1000]);
    expect(await hears(client, "to:job_events:999")).toBe(false);
    expect(await hears(client, "to:job_events:1999")).toBe(true);
    const groups = Object.fromEntries(range(1000).map((i) => [`g${i}`, ["x"]]));
    expect((await client.follow(groups)).left.length).toBe(1000);
    expect(await hears(client, "to:g999:x")).toBe(true);
  });

  test("the limit is max_subscriptions, of each connection", async () => {
    const small = await startWorld("embedded", { toml: "[limits]\nmax_subscriptions = 3\n" });
    try {
      const clients = await Promise.all(range(2).map(() => enterGroups(small.channel.url, small.token("*"))));
      for (const client of clients) {
        expect((await client.follow({ a: [1, 1, "1"], b: [1, 2] })).current.length).toBe(3);
        client.send({ groups: { a: [1, 2], b: [1, 2] } });
        expect(await client.next()).toEqual({ error: "more than 3 subscriptions" });
        expect((await client.follow({ a: [1], b: [1, 2] })).left).toEqual([]);
      }
    } finally {
      await small.stop();
    }
  });
});
