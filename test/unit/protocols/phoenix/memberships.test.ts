import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import type { Channel } from "../../../../src/hub/channel.ts";
import { Membership } from "../../../../src/protocols/phoenix/membership.ts";
import { Memberships } from "../../../../src/protocols/phoenix/memberships.ts";
import { createWorld, type World } from "./world.ts";

let world: World;

beforeEach(async () => {
  jest.useFakeTimers();
  world = await createWorld();
});

afterEach(() => jest.useRealTimers());

function joined(...topics: string[]): Membership[] {
  const { client } = world.connect();
  for (const topic of topics) {
    client.receive(JSON.stringify(["1", "1", topic, "phx_join", { token: "alice" }]));
  }
  return topics.map((topic) => {
    const channel: Channel | undefined = world.hub.channels.get(topic);
    const member = [...(channel?.members ?? [])].find(({ connection }) => connection.id === client.id);
    if (!(member instanceof Membership)) throw new Error(`not in ${topic}`);
    return member;
  });
}

test("none, one and many are found by their topics, and listed in their order", () => {
  const members = joined("a", "b", "c");
  const memberships = new Memberships();
  expect([memberships.size, memberships.all(), memberships.get("a")]).toEqual([0, [], undefined]);
  members.forEach((member, i) => {
    memberships.add(member);
    expect(memberships.size).toBe(i + 1);
    expect(memberships.all()).toEqual(members.slice(0, i + 1));
    for (const each of members) {
      expect(memberships.get(each.channel.name)).toBe(members.indexOf(each) <= i ? each : undefined);
    }
  });
});

test("each may go, in any order, and come again", () => {
  const members = joined("a", "b");
  const [a, b] = members;
  if (a === undefined || b === undefined) throw new Error("two were joined");
  const memberships = new Memberships();
  memberships.delete(a);
  memberships.add(a);
  memberships.delete(b);
  expect(memberships.all()).toEqual([a]);
  memberships.add(b);
  memberships.delete(a);
  expect([memberships.size, memberships.get("a"), memberships.get("b")]).toEqual([1, undefined, b]);
  memberships.delete(b);
  expect([memberships.size, memberships.all()]).toEqual([0, []]);
  memberships.add(a);
  expect(memberships.all()).toEqual([a]);
});
