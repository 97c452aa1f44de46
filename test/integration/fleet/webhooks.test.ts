import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { STREAMS, streamOf } from "../../../src/hub/webhooks/webhook-store.ts";
import { call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import { startReceiver, type WebhookReceiver, webhookToml } from "../webhook-receiver.ts";
import { type FleetWorld, startFleet, TOML, until, untilServers } from "./fleet-world.ts";

/** A server is dead after 10 s without a report, and its lease ends after 10 s; more on a busy machine. */
const DEATH = 60_000;

/** The channel of the fleet that was killed. */
const ALL = "room:all";

let receiver: WebhookReceiver;
let world: FleetWorld;
/** Another fleet, all of whose servers have ended; one more was started then. */
let second: Promise<SecondFleet>;
let a: ChannelProcess;
let b: ChannelProcess;
let c: ChannelProcess;

beforeAll(async () => {
  receiver = startReceiver();
  world = await startFleet(["a", "b", "c"], { toml: webhookToml(receiver) + TOML });
  [a, b, c] = world.servers as [ChannelProcess, ChannelProcess, ChannelProcess];
  second = endAll();
  second.catch(() => {});
}, 60_000);
afterAll(async () => {
  const other = await second?.catch(() => null);
  await other?.world.stop();
  await other?.receiver.down();
  await world?.stop();
  await receiver?.down();
});

interface SecondFleet {
  readonly world: FleetWorld;
  readonly receiver: WebhookReceiver;
  /** The owners of the streams while the first server was alone, and after it was stopped. */
  readonly owners: readonly (readonly (string | null)[])[];
}

/**
 * Starts a server and then another one, stops the first, kills the second while the receiver is away, and starts a third, which
 * removes the members after 20 s: so long that the other tests run meanwhile.
 */
async function endAll(): Promise<SecondFleet> {
  const other = startReceiver();
  const fleet = await startFleet(["first"], { toml: webhookToml(other) + TOML });
  const [first] = fleet.servers as [ChannelProcess];
  const before = await until(
    () => leases(fleet),
    (owners) => !owners.includes(null),
    DEATH,
  );
  const next = await fleet.start("next");
  for (const server of [first, next]) await untilServers(server, (rows) => rows.length === 2, DEATH);
  await first.stop();
  const after = await leases(fleet);
  await other.down();
  await fleet.join(next, ALL, "alice");
  await until(
    () => statusOf(next),
    ({ backlog }) => backlog >= 2,
    DEATH,
  );
  next.kill("SIGKILL");
  await next.exited;
  other.up();
  await fleet.start("last");
  return { world: fleet, receiver: other, owners: [before, after] };
}

/** Resolves when these are the events of a channel. */
async function untilEvents(
  channel: string,
  expected: readonly string[],
  timeout?: number,
  by = receiver,
): Promise<void> {
  const read = async (): Promise<string[]> => by.eventsOf(channel);
  const seen = await until(read, (events) => events.length >= expected.length, timeout).catch(read);
  expect(seen).toEqual([...expected]);
}

/** The owner of each stream. */
async function leases({ redis: { port } }: FleetWorld): Promise<(string | null)[]> {
  const redis = new Redis(port, "127.0.0.1");
  const keys = Array.from({ length: STREAMS }, (_, n) => `hub:{w${n}}:lease`);
  const owners = await redis.mget(keys);
  redis.disconnect();
  return owners;
}

/** The number of servers that have written that a user is in a channel. */
async function serversWith(channel: string, user: string): Promise<number> {
  const key = `hub:{w${streamOf(channel)}}:members:${channel}`;
  const servers = (await world.backend.redis.hget(key, `u${user}`)) ?? "";
  return servers.split(" ").filter((server) => server !== "").length;
}

async function statusOf({ url }: ChannelProcess) {
  return (await call(url, "/api/webhooks")).body;
}

describe("webhooks of several servers", () => {
  test("each event is sent once, and members are users, on whatever servers they are", async () => {
    const room = "room:once";
    const [one, two] = [await world.join(a, room, "alice"), await world.join(b, room, "alice")];
    await untilEvents(room, ["channel_occupied", "member_added alice"]);
    // The first of both servers to write its member causes the events; the other may still be writing.
    await until(
      () => serversWith(room, "alice"),
      (servers) => servers === 2,
    );
    const bob = await world.join(c, room, "bob");
    await untilEvents(room, ["channel_occupied", "member_added alice", "member_added bob"]);
    one.socket.cut();
    bob.socket.cut();
    const before = ["channel_occupied", "member_added alice", "member_added bob", "member_removed bob"];
    await untilEvents(room, before);
    two.socket.cut();
    await untilEvents(room, [...before, "member_removed alice", "channel_vacated"]);
    const [first] = receiver.accepted.all;
    expect(Object.keys(first ?? {})).toEqual(["id", "at", "events"]);
    expect(receiver.refused.all).toEqual([]);
  }, 60_000);

  test("a channel is not vacated if a member comes back in time, on another server", async () => {
    const room = "room:back";
    const alice = await world.join(a, room, "alice");
    await untilEvents(room, ["channel_occupied", "member_added alice"]);
    alice.socket.cut();
    await untilEvents(room, ["channel_occupied", "member_added alice", "member_removed alice"]);
    await world.join(b, room, "bob");
    await untilEvents(room, [
      "channel_occupied",
      "member_added alice",
      "member_removed alice",
      "member_added bob",
    ]);
  });

  test("events wait for a receiver that is away or refuses, and the API of every server says so", async () => {
    const room = "room:waits";
    await receiver.down();
    await world.join(a, room, "alice");
    for (const server of [a, b, c]) {
      const { backlog, last_error: error } = await until(
        () => statusOf(server),
        (status) => status.last_error !== null,
      );
      expect(backlog).toBeGreaterThanOrEqual(2);
      expect(error.reason).toBe("unreachable");
    }
    receiver.status = 503;
    receiver.up();
    const refused = await receiver.refused.until(
      ({ events }) => events.some(({ channel }) => channel === room),
      "a refused request",
    );
    receiver.status = 204;
    await untilEvents(room, ["channel_occupied", "member_added alice"]);
    expect(receiver.accepted.all.find(({ id }) => id === refused.id)?.events).toEqual(refused.events);
    const status = await until(
      () => statusOf(b),
      ({ backlog, last_error: error }) => backlog === 0 && error === null,
    );
    expect(status).toEqual({ backlog: 0, last_error: null });
  }, 60_000);

  test("a server that stops gives its streams to another, and its members do not leave at once", async () => {
    const room = "room:stops";
    await world.join(c, room, "alice");
    await untilEvents(room, ["channel_occupied", "member_added alice"]);
    expect(await c.stop()).toBe(0);
    await world.join(a, room, "alice");
    await world.join(a, room, "bob");
    await untilEvents(room, ["channel_occupied", "member_added alice", "member_added bob"]);
    const [before = [], after = []] = (await second).owners;
    expect(new Set(before).size).toBe(1);
    expect(after).toHaveLength(STREAMS);
    expect(after.filter((owner) => owner === before[0])).toEqual([]);
  }, 120_000);

  test("killed servers are replaced: events go on, and who does not come back is removed", async () => {
    const room = "room:killed";
    await world.join(a, room, "alice");
    await world.join(a, room, "bob");
    await untilEvents(room, ["channel_occupied", "member_added alice", "member_added bob"]);
    a.kill("SIGKILL");
    await a.exited;
    await world.join(b, room, "alice");
    // Bob is gone with the server; alice is there all the time.
    await untilEvents(
      room,
      ["channel_occupied", "member_added alice", "member_added bob", "member_removed bob"],
      DEATH,
    );
    const other = "room:after";
    await world.join(b, other, "carol");
    await untilEvents(other, ["channel_occupied", "member_added carol"], DEATH);
  }, 120_000);

  test("a Redis that restarts empty is filled again, and a gap is reported", async () => {
    const room = "room:redis";
    await world.join(b, room, "alice");
    await untilEvents(room, ["channel_occupied", "member_added alice"]);
    await world.redis.restart();
    await receiver.accepted.until(
      ({ events }) => events.some(({ event, channel }) => event === "gap" && channel === "*"),
      "a gap",
    );
    await world.join(b, room, "bob");
    // Redis has forgotten alice, too: once more is allowed, less is not.
    await until(
      async () => receiver.eventsOf(room),
      (events) => events.includes("member_added bob"),
    );
    expect(receiver.eventsOf(room).slice(0, 2)).toEqual(["channel_occupied", "member_added alice"]);
    expect((await statusOf(b)).backlog).toBeNumber();
  }, 60_000);

  test("what waited when all servers were killed is sent by the next one", async () => {
    const other = await second;
    await untilEvents(
      ALL,
      ["channel_occupied", "member_added alice", "member_removed alice", "channel_vacated"],
      DEATH,
      other.receiver,
    );
  }, 120_000);
});
