import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Answer, call } from "../api-client.ts";
import type { ChannelProcess } from "../channel-process.ts";
import {
  SECRET as CS_SECRET,
  call as callChannelstream,
  type Ear,
  object,
  openSocket,
} from "../channelstream/rig.ts";
import { connectGroups, enterGroups } from "../groups/groups-client.ts";
import { mint, type PhoenixClient } from "../phoenix-client.ts";
import { listenSse, openSse } from "../sse-client.ts";
import { SECRET } from "../world.ts";
import { type FleetWorld, startFleet, TOML, until } from "./fleet-world.ts";

const ROOMS = "the key of a backend for rooms";
const USERS = "the key of a backend for users";

const SETTINGS = `token_endpoint = "admin"
${TOML}
[channelstream]
secret = "${CS_SECRET}"
[[api_keys]]
key = "${ROOMS}"
can = ["publish"]
channels = ["room:*", "kept:*"]
[[api_keys]]
key = "${USERS}"
can = ["publish"]
channels = ["user:*"]
[channels."kept:*"]
history = 1000
`;

let world: FleetWorld;
let a: ChannelProcess;
let b: ChannelProcess;
let names = 0;

beforeAll(async () => {
  world = await startFleet(["a", "b"], { toml: SETTINGS });
  [a, b] = world.servers as [ChannelProcess, ChannelProcess];
}, 60_000);
afterAll(() => world?.stop());

/** A name that no other test uses. */
function fresh(start: string): string {
  names++;
  return `${start}${names}`;
}

function publish(server: ChannelProcess, body: unknown, secret?: string): Promise<Answer> {
  return call(server.url, "/api/publish", { body, ...(secret === undefined ? {} : { secret }) });
}

const portOf = ({ url }: ChannelProcess): number => Number(new URL(url).port);
const tokenOf = (id: string): string => mint({ id, channels: [] }, SECRET);

async function joinOwn(server: ChannelProcess, id: string): Promise<PhoenixClient> {
  const client = await world.connect(server);
  expect((await client.join(`user:${id}`, { token: tokenOf(id) })).status).toBe("ok");
  return client;
}

/** Positions and events of the messages that a server has of a channel. */
async function history(server: ChannelProcess, channel: string): Promise<[string, string][]> {
  const { body } = await call(server.url, `/api/channels/${encodeURIComponent(channel)}/history`);
  return body.messages.map(({ position, event }: Record<string, string>) => [position, event]);
}

describe("a message to a user", () => {
  test("reaches every connection of the user on every server and by every protocol, and nobody else", async () => {
    const phoenix = await Promise.all([joinOwn(a, "alice"), joinOwn(a, "alice"), joinOwn(b, "alice")]);
    const groups = await Promise.all([a, b].map((server) => enterGroups(server.url, tokenOf("alice"))));
    for (const each of groups) await each.follow({ "user:alice": ["note"] });
    const sse = await Promise.all(
      [a, b].map((server) => listenSse(portOf(server), `/sse?channel=user:alice&token=${tokenOf("alice")}`)),
    );
    const ears: Ear[] = [];
    for (const { url } of [a, b]) {
      const body = { username: "alice", channels: ["user:alice"] };
      const connected = await callChannelstream(url, "POST", "/connect", body);
      ears.push(await openSocket(url, String(object(connected.body).conn_id)));
    }
    const bob = await joinOwn(b, "bob");
    const receivedBy = async (n: number): Promise<void> => {
      const payload = { n };
      for (const client of phoenix) expect((await client.event("note")).payload).toEqual(payload);
      for (const client of groups) expect(await client.next()).toEqual(payload);
      for (const stream of sse) expect((await stream.message()).payload).toEqual(payload);
      for (const { inbox } of ears) {
        const { message } = await inbox.next();
        expect(message).toEqual({ event: "note", payload });
      }
    };
    await world.backend.publish("to:user:alice:note", '{"n":1}');
    await receivedBy(1);
    const answer = await publish(b, { user: "alice", event: "note", payload: { n: 2 } });
    // Phoenix, an event group, a stream and a connection of Channelstream.
    expect(answer).toMatchObject({ status: 200, body: { listeners: 4 } });
    await receivedBy(2);
    expect((await bob.fence()).filter(({ event }) => event === "note")).toEqual([]);
    for (const stream of sse) stream.cut();
    for (const client of groups) client.socket.cut();
    for (const ear of ears) await ear.close();
  }, 30_000);

  test.each(["*", "al*", "a:b", "a b/%2f?#", "ünï😀", '"\\\\"', "x".repeat(250)])(
    "reaches a user with the id %p",
    async (id) => {
      const client = await joinOwn(a, id);
      const other = await joinOwn(a, fresh("alone"));
      expect((await publish(b, { user: id, event: "note", payload: 1 })).status).toBe(200);
      expect((await client.event("note")).topic).toBe(`user:${id}`);
      expect((await other.fence()).filter(({ event }) => event === "note")).toEqual([]);
    },
  );

  test("an id without a channel is refused", async () => {
    for (const id of ["", "x".repeat(251), "a\nb", "\ud800"]) {
      const { status, body } = await publish(a, { user: id, event: "note", payload: 1 });
      expect([id, status, body.code]).toEqual([id, 422, "invalid_request"]);
    }
  });

  test("the channel of a user is for its tokens and for Channelstream's signed calls alone", async () => {
    const sse = async (query: string): Promise<number> => {
      const stream = openSse(portOf(a), `/sse?channel=user:alice${query}`);
      const status = await stream.status;
      stream.cut();
      return status;
    };
    expect(await sse("")).toBe(401);
    for (const id of ["bob", "*", "", "user:alice"]) {
      const token = tokenOf(id);
      const client = await world.connect(a);
      expect((await client.join("user:alice", { token })).status).toBe("error");
      expect(await sse(`&token=${token}`)).toBe(403);
      const groups = await connectGroups(a.url, { params: { token } });
      await groups.next();
      groups.send({ groups: { "user:alice": ["note"] } });
      expect(await groups.next()).toEqual({
        error: "access denied to channel user:alice for resource id note",
      });
      groups.socket.cut();
    }
    const body = { username: "eve", channels: ["user:alice"] };
    expect((await callChannelstream(a.url, "POST", "/connect", body, { signature: null })).status).toBe(403);
    const eve = await callChannelstream(a.url, "POST", "/connect", { username: "eve", channels: [] });
    const more = { conn_id: object(eve.body).conn_id, channels: ["user:alice"] };
    expect((await callChannelstream(a.url, "POST", "/subscribe", more, { signature: null })).status).toBe(
      403,
    );
  });
});

describe("a message to several channels", () => {
  test("reaches each of them once, with its position where it has history", async () => {
    const [one, two, plain] = [fresh("kept:"), fresh("kept:"), fresh("room:")];
    const clients = await Promise.all([one, two, plain].map((name) => world.join(b, name, "bea")));
    const body = { channels: [one, plain, two, one], event: "news", payload: [1] };
    const answer = await publish(a, body);
    expect(answer).toMatchObject({ status: 200, body: { listeners: 0 } });
    for (const client of clients) {
      expect((await client.event("news")).payload).toEqual([1]);
      expect((await client.fence()).filter(({ event }) => event === "news")).toEqual([]);
    }
    const [first] = await history(a, one);
    const [second] = await history(a, two);
    expect(answer.body.positions).toEqual({ [one]: first?.[0], [two]: second?.[0] });
    expect(await history(b, one)).toEqual(await history(a, one));
  });

  test("is refused as a whole for one channel that is invalid or not allowed", async () => {
    const good = fresh("room:");
    const received = await world.backend.listen(`to:${good}:*`);
    for (const [channels, secret, status, code] of [
      [[good, "news"], ROOMS, 403, "channel_not_allowed"],
      [[good, "admin"], ROOMS, 403, "channel_not_allowed"],
      [[good, "user:alice"], ROOMS, 403, "channel_not_allowed"],
      [[good, ""], ROOMS, 422, "invalid_request"],
      [[good, "a\n"], ROOMS, 422, "invalid_request"],
      [[], ROOMS, 422, "invalid_request"],
      [Array.from({ length: 101 }, (_, i) => `room:${i}`), ROOMS, 422, "invalid_request"],
      [[good, 5], ROOMS, 422, "invalid_request"],
    ] as const) {
      const answer = await publish(a, { channels, event: "news", payload: 1 }, secret);
      expect([channels.slice(0, 2), answer.status, answer.body.code]).toEqual([
        channels.slice(0, 2),
        status,
        code,
      ]);
    }
    const reserved = await publish(a, { channels: [good, "admin"], event: "channel.add", payload: 1 });
    expect(reserved).toMatchObject({ status: 422, body: { code: "event_reserved" } });
    const large = { channels: [good, "room:x", "room:y"], event: "news", payload: "x".repeat(1_500_000) };
    expect((await publish(a, large)).status).toBe(200);
    await received.until(({ payload }) => payload.length > 1_000_000);
    const tooLarge = {
      ...large,
      channels: Array.from({ length: 12 }, (_, i) => (i === 0 ? good : `room:large:${i}`)),
    };
    expect(await publish(a, tooLarge)).toMatchObject({ status: 413, body: { code: "payload_too_large" } });
    await publish(a, { channel: good, event: "last", payload: 1 });
    expect((await received.next()).name).toBe(`to:${good}:last`);
  });

  test("a hundred channels are published without others between", async () => {
    const start = fresh("kept:many:");
    const channels = Array.from({ length: 100 }, (_, i) => `${start}:${i}`);
    const noise = setInterval(() => void world.backend.publish("to:noise:x", "1"), 1);
    try {
      const { body } = await publish(a, { channels, event: "e", payload: 1 }, ROOMS);
      const numbers = Object.values<string>(body.positions).map((position) => Number(position.split("-")[1]));
      expect(numbers).toEqual(numbers.map((_, i) => (numbers[0] ?? 0) + i));
    } finally {
      clearInterval(noise);
    }
  });
});

test("an API key must cover the channel of the user", async () => {
  const body = { user: "alice", event: "note", payload: 1 };
  expect(await publish(a, body, ROOMS)).toMatchObject({ status: 403, body: { code: "channel_not_allowed" } });
  expect((await publish(a, body, USERS)).status).toBe(200);
  const rooms = { channel: "room:1", event: "note", payload: 1 };
  expect((await publish(a, rooms, USERS)).status).toBe(403);
});

test("one target is required, and no more", async () => {
  const rest = { event: "e", payload: 1 };
  for (const body of [
    rest,
    { ...rest, channel: "a", channels: ["b"] },
    { ...rest, channel: "a", user: "alice" },
    { ...rest, channels: ["a"], user: "alice" },
    { ...rest, channel: null },
    { event: "e", channel: "a" },
    { ...rest, channel: "a", base64: "AA==" },
  ]) {
    expect([body, (await publish(a, body)).status]).toEqual([body, 422]);
  }
});

describe("a position", () => {
  test("is that of the message, also of equal messages at once", async () => {
    const channel = fresh("kept:");
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        publish(i % 2 === 0 ? a : b, { channel, event: "same", payload: 1 }),
      ),
    );
    const positions = answers.map(({ body }) => body.position);
    const kept = await until(
      () => history(a, channel),
      (found) => found.length === 50,
    );
    expect(positions.toSorted()).toEqual(kept.map(([position]) => position).toSorted());
    expect(new Set(positions).size).toBe(50);
  });

  test("is where a client resumes that has read a state before", async () => {
    const channel = fresh("kept:");
    const { body } = await publish(a, { channel, event: "one", payload: 1 });
    await publish(b, { channel, event: "two", payload: 2 });
    const client = await world.connect(b);
    const token = mint({ id: "r", channel }, SECRET);
    const { response } = await client.join(channel, { token, recover: body.position });
    expect(response).toMatchObject({ recovered: true, position: body.position });
    expect((await client.event("two")).payload).toBe(2);
    expect((await client.fence()).filter(({ event }) => event === "one")).toEqual([]);
  });
});

/** A counter of a server. */
async function metric({ url }: ChannelProcess, name: string): Promise<number> {
  const { body } = await call(url, "/metrics");
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(body)?.[1]);
}

describe("an id", () => {
  test("is published once, whichever servers are asked, at once or later", async () => {
    const channel = fresh("kept:");
    const received = await world.backend.listen(`to:${channel}:*`);
    const body = { channel, event: "paid", payload: { n: 1 }, id: fresh("order ") };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => publish(i % 2 === 0 ? a : b, body, ROOMS)),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const first = answers.filter(({ body: { repeated } }) => repeated === false);
    expect(first).toHaveLength(1);
    for (const { body: each } of answers) {
      expect(each).toMatchObject({ listeners: 0, repeated: expect.any(Boolean) });
      expect(Object.keys(each).toSorted()).toEqual(["listeners", "position", "repeated"]);
    }
    // If the other server has published it, this one has not yet received it.
    const [kept] = await until(
      () => history(a, channel),
      (found) => found.length > 0,
    );
    expect(first[0]?.body.position).toBe(kept?.[0]);
    // The position is kept once it is known.
    for (const server of [a, b]) {
      await until(
        () => publish(server, body, ROOMS),
        (again) => again.body.repeated === true && again.body.position === kept?.[0],
      );
    }
    await publish(a, { channel, event: "last", payload: 1 });
    const seen = [await received.next(), await received.next()];
    expect(seen.map(({ name }) => name)).toEqual([`to:${channel}:paid`, `to:${channel}:last`]);
  });

  test("is of one key, and nothing is published with it that was refused", async () => {
    const channel = fresh("room:");
    const id = fresh("order ");
    const received = await world.backend.listen(`to:${channel}:*`);
    const body = { channel, event: "e", payload: 1, id };
    expect((await publish(a, body, USERS)).status).toBe(403);
    expect((await publish(a, { ...body, event: "phx_join" }, ROOMS)).status).toBe(422);
    expect((await publish(a, body, ROOMS)).body).toEqual({ listeners: 0, repeated: false });
    expect((await publish(b, body)).body).toEqual({ listeners: 0, repeated: false });
    const counted = await metric(a, "channel_publish_repeated_total");
    expect((await publish(a, body)).body).toEqual({ listeners: 0, repeated: true });
    expect(await metric(a, "channel_publish_repeated_total")).toBe(counted + 1);
    expect((await publish(b, body, ROOMS)).body).toEqual({ listeners: 0, repeated: true });
    for (const wrong of ["", "x".repeat(129), 5, "\ud800"]) {
      expect((await publish(a, { ...body, id: wrong })).status).toBe(422);
    }
    await publish(a, { channel, event: "last", payload: 1 });
    const seen = [await received.next(), await received.next(), await received.next()];
    expect(seen.map(({ name }) => name)).toEqual([
      `to:${channel}:e`,
      `to:${channel}:e`,
      `to:${channel}:last`,
    ]);
  });

  test("covers several channels, and is kept for five minutes in Redis under a hash", async () => {
    const channels = [fresh("kept:"), fresh("kept:")];
    const body = { channels, event: "e", payload: 1, id: "a secret of the application" };
    const first = await publish(a, body);
    expect(first.body).toMatchObject({ repeated: false });
    await until(
      () => publish(b, body),
      (again) =>
        again.body.repeated && JSON.stringify(again.body.positions) === JSON.stringify(first.body.positions),
    );
    const keys = await world.backend.redis.keys("hub:id:*");
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.join()).not.toContain("secret");
    for (const key of keys) {
      const ttl = await world.backend.redis.pttl(key);
      expect(ttl).toBeGreaterThan(0);
      expect(ttl).toBeLessThanOrEqual(300_000);
    }
  });
});

describe("a message to some members", () => {
  interface Receiver {
    readonly id: string;
    /** The payloads of the event `say` up to `end`. */
    untilEnd(): Promise<unknown[]>;
  }

  /** The connections of a user. A search also finds ids in which such a short name stands. */
  async function connectionsOf(user: string): Promise<readonly string[]> {
    const { body } = await call(a.url, `/api/connections?search=${user}`);
    const rows: readonly { id: string; users: string[] }[] = body.connections;
    return rows.filter(({ users }) => users.includes(user)).map(({ id }) => id);
  }

  async function connectionOf(user: string): Promise<string> {
    const [id] = await connectionsOf(user);
    if (id === undefined) throw new Error(`${user} is not connected`);
    return id;
  }

  async function receivers(server: ChannelProcess, channel: string): Promise<Receiver[]> {
    const collect = async (next: () => Promise<unknown>): Promise<unknown[]> => {
      const payloads: unknown[] = [];
      for (let payload = await next(); payload !== "end"; payload = await next()) payloads.push(payload);
      return payloads;
    };
    const [phoenixUser, groupsUser, streamUser] = [fresh("p"), fresh("g"), fresh("c")];
    const phoenix = await world.join(server, channel, phoenixUser);
    const groups = await enterGroups(server.url, mint({ id: groupsUser, channel }, SECRET));
    await groups.follow({ [channel]: ["say"] });
    const token = mint({ id: "s", channel }, SECRET);
    const sse = await listenSse(portOf(server), `/sse?channel=${encodeURIComponent(channel)}&token=${token}`);
    const { id: sseId } = JSON.parse(sse.events.all.find(({ event }) => event === "ready")?.data ?? "{}");
    const body = { username: streamUser, channels: [channel] };
    const connected = await callChannelstream(server.url, "POST", "/connect", body);
    const { inbox } = await openSocket(server.url, String(object(connected.body).conn_id));
    return [
      {
        id: await connectionOf(phoenixUser),
        untilEnd: () => collect(async () => (await phoenix.event("say")).payload),
      },
      { id: await connectionOf(groupsUser), untilEnd: () => collect(() => groups.next()) },
      { id: sseId, untilEnd: () => collect(async () => (await sse.message()).payload) },
      {
        id: await connectionOf(streamUser),
        untilEnd: () => collect(async () => object((await inbox.next()).message).payload),
      },
    ];
  }

  test("reaches one connection alone, or all but some, by every protocol and from each server", async () => {
    const channel = fresh("kept:");
    const all = [...(await receivers(a, channel)), ...(await receivers(b, channel))];
    const seen = await world.backend.listen("to:*");
    const expected = all.map((): unknown[] => []);
    for (const [i, { id }] of all.entries()) {
      for (const server of [a, b]) {
        const say = { channel, event: "say" };
        const only = await publish(server, { ...say, connection: id, payload: { only: i } }, ROOMS);
        expect(only).toMatchObject({ status: 200, body: { listeners: 1 } });
        expect(only.body.position).toBeUndefined();
        expected[i]?.push({ only: i });
        const but = await publish(server, { ...say, except: [id, id, "unknown"], payload: { but: i } });
        const isHere = (server === a) === i < all.length / 2;
        expect(but.body).toEqual({ listeners: all.length / 2 - (isHere ? 1 : 0) });
        for (const [j, payloads] of expected.entries()) if (j !== i) payloads.push({ but: i });
      }
    }
    const end = await publish(a, { channel, event: "say", payload: "end" });
    for (const [i, each] of all.entries()) expect([i, await each.untilEnd()]).toEqual([i, expected[i] ?? []]);
    // Nothing else was on `to:`, or kept.
    await seen.until(({ name }) => name === `to:${channel}:say`);
    expect(seen.all.filter(({ name }) => name === `to:${channel}:say`)).toHaveLength(1);
    expect(await history(a, channel)).toEqual([[end.body.position, "say"]]);
  }, 30_000);

  test("is 404 for a connection that is not in the channel, wherever it is", async () => {
    const channel = fresh("room:");
    const client = await world.connect(b);
    const user = fresh("u");
    await client.join(fresh("room:"), { token: mint({ id: user, channel: "room:*" }, SECRET) });
    const id = await connectionOf(user);
    for (const server of [a, b]) {
      for (const connection of [id, "unknown", `${id.slice(0, 6)}xxxxxxxx`]) {
        const answer = await publish(server, { channel, connection, event: "say", payload: 1 });
        expect(answer).toMatchObject({ status: 404, body: { code: "connection_not_in_channel" } });
      }
    }
    await client.join(channel, { token: mint({ id: user, channel: "room:*" }, SECRET) });
    const body = { channel, connection: id, event: "say", payload: 1 };
    expect((await publish(a, body)).status).toBe(200);
    expect((await client.event("say")).topic).toBe(channel);
    expect((await publish(a, body, USERS)).status).toBe(403);
  });

  test("with an id is published once, also when the connection has left meanwhile", async () => {
    const channel = fresh("room:");
    const user = fresh("u");
    const client = await world.join(b, channel, user);
    const connection = await connectionOf(user);
    const body = { channel, connection, event: "say", payload: 1, id: fresh("order ") };
    expect((await publish(a, body)).body).toEqual({ listeners: 1, repeated: false });
    expect((await publish(b, body)).body).toMatchObject({ repeated: true });
    await client.event("say");
    expect((await client.fence()).filter(({ event }) => event === "say")).toEqual([]);
    client.socket.cut();
    await until(
      () => connectionsOf(user),
      (found) => found.length === 0,
    );
    expect((await publish(a, body)).body).toEqual({ listeners: 0, repeated: true });
    expect((await publish(a, { ...body, id: fresh("order ") })).status).toBe(404);
  });

  test("is refused without a channel, for both, and for ids that are none", async () => {
    const rest = { event: "e", payload: 1 };
    for (const body of [
      { ...rest, channels: ["a"], connection: "x" },
      { ...rest, user: "alice", except: ["x"] },
      { ...rest, channel: "a", connection: "x", except: ["y"] },
      { ...rest, channel: "a", connection: "" },
      { ...rest, channel: "a", connection: "x y" },
      { ...rest, channel: "a", except: Array.from({ length: 101 }, (_, i) => `c${i}`) },
      { ...rest, channel: "a", except: "x" },
      { ...rest, channel: "a", except: ["x".repeat(65)] },
    ]) {
      expect([body, (await publish(a, body)).status]).toEqual([body, 422]);
    }
  });
});
