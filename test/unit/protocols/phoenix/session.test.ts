import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import type { Verdict } from "../../../../src/auth/verifier.ts";
import type { PublishAck } from "../../../../src/bus/bus.ts";
import { Membership } from "../../../../src/protocols/phoenix/membership.ts";
import { claims, createWorld, type FakeClient, verdictOf, type World, type WorldOptions } from "./world.ts";

let world: World;

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  world.stop();
  jest.useRealTimers();
});

async function start(options: WorldOptions = {}): Promise<void> {
  world = await createWorld(options);
}

function push(client: FakeClient, ...frame: readonly unknown[]): void {
  client.receive(JSON.stringify(frame));
}

function join(client: FakeClient, topic: string, joinRef = "1", token = "alice"): void {
  push(client, joinRef, joinRef, topic, "phx_join", { token });
}

function members(topic: string): string[] {
  return [...(world.hub.channels.get(topic)?.members ?? [])].map((member) => member.connection.id);
}

function present(topic: string): number {
  return world.hub.channels.get(topic)?.presence?.users ?? 0;
}

function ok(response: unknown = {}): unknown {
  return { status: "ok", response };
}

function error(reason: string, code?: string): unknown {
  return { status: "error", response: { reason, ...(code === undefined ? {} : { code }) } };
}

/** Closes presence windows, and lets those who were cut off go. */
async function settle(): Promise<void> {
  jest.advanceTimersByTime(100);
  await new Promise((resolve) => setImmediate(resolve));
  jest.advanceTimersByTime(100);
}

test("a join is answered, then comes the state, then the diff, then what backends say", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room");
  world.bus.bring("to:room:news", "1");
  const frames = client.take();
  expect(frames).toEqual([
    ["1", "1", "room", "phx_reply", ok({ id: "c1:room:1" })],
    [
      "1",
      null,
      "room",
      "presence_state",
      { alice: { metas: [expect.objectContaining({ phx_ref: "c1.1" })] } },
    ],
    [null, null, "room", "presence_diff", { joins: { alice: expect.anything() }, leaves: {} }],
    [null, null, "room", "news", 1],
  ]);
});

test("a client that stops reading is disconnected, and its join leaves no member behind", async () => {
  await start();
  const other = world.connect().client;
  join(other, "lobby");
  await settle();
  const { client } = world.connect();
  client.stalled = true;
  join(client, "room");
  join(client, "lobby");
  await settle();
  expect(client.open).toBe(false);
  expect(world.hub.channels.has("room")).toBe(false);
  expect(members("lobby")).toEqual([other.id]);
  expect(present("lobby")).toBe(1);
  other.take();
  world.bus.bring("to:lobby:news", "1");
  expect(other.take()).toEqual([[null, null, "lobby", "news", 1]]);
});

test("a client that stalls during a rejoin leaves no member behind, and others keep receiving", async () => {
  await start();
  const other = world.connect().client;
  const { client } = world.connect();
  join(other, "room");
  join(client, "room", "1", "bob");
  await settle();
  client.stalled = true;
  join(client, "room", "2", "bob");
  await settle();
  expect(members("room")).toEqual([other.id]);
  other.take();
  world.bus.bring("to:room:news", "1");
  expect(other.take()).toEqual([[null, null, "room", "news", 1]]);
  other.hangUp();
  expect(world.hub.channels.has("room")).toBe(false);
});

test("a message on which the last V2 member is cut off still reaches V1 members", async () => {
  await start();
  const slow = world.connect().client;
  const old = world.connect({ version: 1 }).client;
  join(slow, "room");
  old.receive('{"topic":"room","event":"phx_join","payload":{"token":"bob"},"ref":"1"}');
  await settle();
  old.take();
  slow.stalled = true;
  world.bus.bring("to:room:news", "1");
  world.bus.bring("to:room:news", "2");
  await settle();
  const news = old.take().filter((frame) => JSON.stringify(frame).includes('"news"'));
  expect(news).toEqual([
    { topic: "room", event: "news", payload: 1, ref: null },
    { topic: "room", event: "news", payload: 2, ref: null },
  ]);
  expect(members("room")).toEqual([old.id]);
});

test("a V1 client's membership has its join's ref: it ends with it, and older frames are stale", async () => {
  await start();
  const { client } = world.connect({ version: 1 });
  client.receive('{"topic":"room","event":"phx_join","payload":{"token":"alice"},"ref":"5"}');
  await settle();
  client.take();
  client.receive('{"topic":"room","event":"phx_leave","payload":{},"ref":"6","join_ref":"4"}');
  expect(client.take()).toEqual([]);
  client.receive('{"topic":"room","event":"phx_leave","payload":{},"ref":"7"}');
  expect(client.take()).toEqual([
    { topic: "room", event: "phx_reply", payload: ok(), ref: "7" },
    { topic: "room", event: "phx_close", payload: {}, ref: "5" },
  ]);
});

test("joining again ends the old membership first, at the limit too", async () => {
  await start({ maxChannels: 1 });
  const { client } = world.connect();
  join(client, "room", "1");
  await settle();
  client.take();
  join(client, "room", "2");
  expect(client.take().slice(0, 2)).toEqual([
    ["1", "1", "room", "phx_close", {}],
    ["2", "2", "room", "phx_reply", ok({ id: "c1:room:2" })],
  ]);
  join(client, "other", "3");
  await settle();
  expect(client.take()).toContainEqual(["3", "3", "other", "phx_reply", error("too many channels joined")]);
  expect(members("room")).toEqual([client.id]);
  expect(world.hub.channels.has("other")).toBe(false);
  expect(world.bus.on("to:admin:channel.remove")).toEqual([]);
});

test("joining again with a bad token ends the old membership all the same", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room", "1");
  await settle();
  client.take();
  join(client, "room", "2", "bad");
  expect(client.take()).toEqual([
    ["1", "1", "room", "phx_close", {}],
    ["2", "2", "room", "phx_reply", error("unauthorized")],
  ]);
  await settle();
  expect(world.hub.channels.has("room")).toBe(false);
});

test("a join, a leave and a close sent together end with no member, however late the verdict", async () => {
  let verdict: (verdict: Verdict) => void = () => {};
  await start({ verify: () => new Promise((resolve) => (verdict = resolve)) });
  const { client } = world.connect();
  join(client, "room");
  push(client, "1", "2", "room", "phx_leave", {});
  client.hangUp();
  verdict({ ok: true, claims: claims("alice") });
  await Promise.resolve();
  await settle();
  expect(world.hub.channels.has("room")).toBe(false);
  expect(world.bus.on("from:room:phx_join")).toEqual([]);
});

test("frames behind a token that is being verified are handled after it, in their order", async () => {
  let verdict: (verdict: Verdict) => void = () => {};
  await start({ verify: () => new Promise((resolve) => (verdict = resolve)) });
  const { client } = world.connect();
  join(client, "room");
  push(client, null, "h", "phoenix", "heartbeat", {});
  push(client, "1", "2", "room", "ask", 1);
  push(client, "1", "3", "room", "phx_leave", {});
  expect(client.take()).toEqual([]);
  verdict({ ok: true, claims: claims("alice") });
  await Promise.resolve();
  await Promise.resolve();
  expect(client.take().filter((frame) => JSON.stringify(frame).includes("phx_reply"))).toEqual([
    ["1", "1", "room", "phx_reply", ok({ id: "c1:room:1" })],
    [null, "h", "phoenix", "phx_reply", ok()],
    ["1", "2", "room", "phx_reply", ok()],
    ["1", "3", "room", "phx_reply", ok()],
  ]);
});

test("a renewal whose membership ended while it was verified brings nothing back", async () => {
  const pending: ((verdict: Verdict) => void)[] = [];
  let later = false;
  await start({
    verify: (token) => (later ? new Promise((resolve) => pending.push(resolve)) : verdictOf(token)),
  });
  const { client, session } = world.connect();
  join(client, "room", "1");
  const [old] = world.hub.channels.get("room")?.members ?? [];
  if (!(old instanceof Membership)) throw new Error("not joined");
  later = true;
  push(client, "1", "2", "room", "access_token", { token: "alice" });
  session.expire(old);
  push(client, "3", "3", "room", "phx_join", { token: "alice" });
  const soon = Date.now() + 1000;
  pending.shift()?.({ ok: true, claims: claims("alice", { expiresAt: soon }) });
  for (let i = 0; i < 5; i++) await Promise.resolve();
  pending.shift()?.({ ok: true, claims: claims("alice") });
  for (let i = 0; i < 5; i++) await Promise.resolve();
  expect(members("room")).toEqual([client.id]);
  jest.advanceTimersByTime(5000);
  world.tick();
  client.take();
  world.bus.bring("to:room:news", "1");
  expect(client.take()).toEqual([[null, null, "room", "news", 1]]);
  const [current] = world.hub.channels.get("room")?.members ?? [];
  expect(current).toMatchObject({ joinRef: "3" });
});

test("a stale leave or push is ignored; a null join_ref, and a number for a text, mean the current one", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room", "1");
  join(client, "room", "2");
  await settle();
  client.take();
  push(client, "1", "3", "room", "phx_leave", {});
  push(client, "1", "4", "room", "ask", {});
  expect(client.take()).toEqual([]);
  push(client, null, "5", "room", "ask", {});
  push(client, 2, 6, "room", "ask", {});
  expect(client.take()).toEqual([
    ["2", "5", "room", "phx_reply", ok()],
    ["2", 6, "room", "phx_reply", ok()],
  ]);
  expect(world.bus.on("from:room:ask")).toHaveLength(2);
});

test.each([
  [
    ["1", "9", "elsewhere", "ask", {}],
    [null, "9", "elsewhere", "phx_reply", error("unmatched topic")],
  ],
  [
    ["1", "9", "elsewhere", "phx_leave", {}],
    ["1", "9", "elsewhere", "phx_reply", ok()],
  ],
  [
    ["1", "9", "", "phx_join", {}],
    ["1", "9", "", "phx_reply", error("invalid topic")],
  ],
  [
    ["1", "9", "\ud800", "phx_join", {}],
    ["1", "9", "\ud800", "phx_reply", error("invalid topic")],
  ],
  [
    ["1", "9", "a\u0085", "phx_join", {}],
    ["1", "9", "a\u0085", "phx_reply", error("invalid topic")],
  ],
  [
    ["1", "9", "other", "phx_join", {}],
    ["1", "9", "other", "phx_reply", error("unauthorized", "token_missing")],
  ],
  [
    ["1", "9", "other", "phx_join", { token: "expired" }],
    ["1", "9", "other", "phx_reply", error("token expired")],
  ],
  [
    ["1", "9", "admin", "phx_join", { token: "alice" }],
    ["1", "9", "admin", "phx_reply", error("unauthorized", "channel_not_covered")],
  ],
  [
    ["1", "9", "room", "", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "a:b", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "a\nb", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "\udfff", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "e".repeat(256), {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "phx_close", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "presence_diff", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "heartbeat", {}],
    ["1", "9", "room", "phx_reply", error("invalid event")],
  ],
  [
    ["1", "9", "room", "access_token", {}],
    ["1", "9", "room", "phx_reply", error("unauthorized", "token_missing")],
  ],
  [
    ["1", "9", "room", "access_token", { token: "bob" }],
    ["1", "9", "room", "phx_reply", error("unauthorized", "other_user")],
  ],
  [
    ["1", "9", "room", "access_token", { token: "alice" }],
    ["1", "9", "room", "phx_reply", ok()],
  ],
])("%j is answered %j, and nothing is published", async (frame, answer) => {
  await start();
  const { client } = world.connect();
  join(client, "room");
  await settle();
  client.take();
  const before = world.bus.published.length;
  push(client, ...frame);
  expect(client.take()).toEqual([answer]);
  expect(world.bus.published).toHaveLength(before);
});

test("a push with a null ref gets no answer, a heartbeat, a join and a leave get one with a null ref", async () => {
  await start();
  const { client } = world.connect();
  push(client, null, null, "phoenix", "heartbeat", {});
  push(client, null, null, "room", "ask", {});
  push(client, null, null, "room", "phx_join", { token: "bad" });
  push(client, null, null, "room", "phx_leave", {});
  expect(client.take()).toEqual([
    [null, null, "phoenix", "phx_reply", ok()],
    [null, null, "room", "phx_reply", error("unauthorized")],
    [null, null, "room", "phx_reply", ok()],
  ]);
});

test("answers keep their order where the bus answers a later push first", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room");
  await settle();
  client.take();
  const receipts: (PublishAck | undefined)[] = [];
  world.bus.publish = (name, _payload, receipt) => void (name === "from:room:ask" && receipts.push(receipt));
  for (const ref of ["2", "3", "4"]) push(client, "1", ref, "room", "ask", {});
  push(client, null, "5", "phoenix", "heartbeat", {});
  // A bus that is full refuses at once, while it still has to answer for what it took before.
  receipts[2]?.settled(false);
  receipts[1]?.settled(true);
  expect(client.take()).toEqual([]);
  receipts[0]?.settled(true);
  expect(client.take()).toEqual([
    ["1", "2", "room", "phx_reply", ok()],
    ["1", "3", "room", "phx_reply", ok()],
    ["1", "4", "room", "phx_reply", error("backend unavailable")],
    [null, "5", "phoenix", "phx_reply", ok()],
  ]);
});

test("who asks for more answers than may wait, while the bus says nothing, is cut off", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room");
  await settle();
  world.bus.publish = () => {};
  push(client, "1", "2", "room", "ask", {});
  for (let i = 0; client.open; i++) {
    push(client, null, "h", "phoenix", "heartbeat", {});
    expect(i).toBeLessThan(100);
  }
  await settle();
  expect(members("room")).toEqual([]);
});

test("backends see joins and leaves, but never a token", async () => {
  await start();
  const { client } = world.connect();
  client.receive(
    '["1","1","room","phx_join",{"a":1.50,"token":"alice","b":9007199254740993,"tok\\u0065n":"alice"}]',
  );
  client.receive('["1","2","room","access_token",{"token":"alice"}]');
  client.receive('["1","3","room","phx_leave", { "why" : "done" , "token":"alice" } ]');
  expect(world.bus.on("from:room:phx_join")).toEqual(['{"a":1.50,"b":9007199254740993}']);
  expect(world.bus.on("from:room:phx_leave")).toEqual(['{"why" : "done"}']);
  expect(world.bus.published.some(({ payload }) => String(payload).includes("token"))).toBe(false);
});

test("a push goes out as it was written, and bytes as bytes", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room");
  client.receive('["1","2","room","ask", {"n":1.0,"n":12345678901234567890} ]');
  client.receive(Buffer.from([0, 1, 1, 4, 3, ...Buffer.from("13roomraw"), 255, 0]));
  expect(world.bus.on("from:room:ask")).toEqual(['{"n":1.0,"n":12345678901234567890}']);
  const raw = world.bus.published.find(({ name }) => name === "from:room:raw")?.payload;
  expect(raw).toEqual(Buffer.of(255, 0));
});

test("with the bus away a push is refused", async () => {
  await start();
  const { client } = world.connect();
  join(client, "room");
  await settle();
  client.take();
  world.bus.turn(false);
  push(client, "1", "2", "room", "ask", {});
  expect(client.take()).toEqual([["1", "2", "room", "phx_reply", error("backend unavailable")]]);
});

test("over the budget pushes and joins are answered so, and anything else is ignored", async () => {
  await start({ framesPerSecond: 1 });
  const { client } = world.connect();
  for (let i = 0; i < 10; i++) push(client, null, null, "phoenix", "heartbeat", {});
  client.take();
  push(client, null, "1", "phoenix", "heartbeat", {});
  push(client, "1", "2", "room", "phx_leave", {});
  push(client, "1", "3", "room", "phx_join", { token: "alice" });
  push(client, "1", "4", "room", "ask", {});
  expect(client.take()).toEqual([
    ["1", "3", "room", "phx_reply", error("rate limited")],
    ["1", "4", "room", "phx_reply", error("rate limited")],
  ]);
  jest.advanceTimersByTime(1000);
  push(client, null, "5", "phoenix", "heartbeat", {});
  expect(client.take()).toEqual([[null, "5", "phoenix", "phx_reply", ok()]]);
});

test("a join costs ten frames once a client has joined as often as it may be joined", async () => {
  await start({ framesPerSecond: 10, maxChannels: 5 });
  const { client } = world.connect();
  let joined = 0;
  for (let n = 0; n < 60; n++) {
    push(client, String(n), String(n), "room", "phx_join", { token: "alice" });
    push(client, String(n), String(n), "room", "phx_leave", {});
    if (JSON.stringify(client.take()).includes('"response":{"id"')) joined++;
  }
  // A burst of 100 frames: 5 joins of one frame, then of ten, each with its leave.
  expect(joined).toBe(5 + Math.ceil((100 - 5 * 2) / 11));
});

test("the tenth malformed frame within any minute is the last; the socket closes 2 to 5 s later", async () => {
  await start();
  const { client } = world.connect();
  join(client, "lobby");
  client.receive("{");
  client.take();
  jest.advanceTimersByTime(59_000);
  for (let i = 0; i < 8; i++) client.receive("{");
  expect(client.open).toBe(true);
  jest.advanceTimersByTime(2_000);
  client.receive("{");
  expect(client.open).toBe(true);
  client.receive("{");
  expect(client.open).toBe(false);
  expect(client.take()).toContainEqual([
    null,
    null,
    "phoenix",
    "phx_error",
    { reason: "malformed frame: not JSON" },
  ]);
  join(client, "room");
  expect(world.hub.channels.has("room")).toBe(false);
  jest.advanceTimersByTime(1_900);
  world.tick();
  expect(client.ended).toBeNull();
  jest.advanceTimersByTime(3_200);
  world.tick();
  expect(client.ended).toBe(1008);
});

test("a token that runs out ends its membership, and the socket where it was the socket's", async () => {
  const until = () => ({ ok: true, claims: claims("alice", { expiresAt: Date.now() + 10_000 }) }) as const;
  await start({ verify: until });
  const own = world.connect().client;
  const shared = world.connect({ token: "the socket's" }).client;
  join(own, "room");
  push(shared, "1", "1", "room", "phx_join", {});
  await settle();
  own.take();
  jest.advanceTimersByTime(9_000);
  world.tick();
  expect(members("room")).toHaveLength(2);
  jest.advanceTimersByTime(1_500);
  world.tick();
  await settle();
  expect(own.take()).toContainEqual(["1", "1", "room", "phx_error", { reason: "token expired" }]);
  expect(own.open).toBe(true);
  expect(shared.open).toBe(false);
  expect(world.hub.channels.has("room")).toBe(false);
});

test("random actions and disconnects leave no stale member, and no member without messages", async () => {
  let seed = 20_261_121;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  const pick = <T>(list: readonly T[]): T | undefined => list[random(list.length)];
  await start({
    maxChannels: 3,
    verify: (token) => (random(3) === 0 ? Promise.resolve(verdictOf(token)) : verdictOf(token)),
  });
  const topics = ["a", "b", "c", "d", "system"];
  const tokens = ["alice", "bob", "alice", "bad", "expired"];
  let all: ReturnType<World["connect"]>[] = [];
  let serial = 0;

  const act = (client: FakeClient, version: number): void => {
    const topic = pick(topics) ?? "";
    const ref = String(++serial);
    const event = pick(["phx_join", "phx_join", "phx_leave", "ask", "access_token", "phx_close"]) ?? "";
    const payload = { token: pick(tokens) };
    const frame =
      version === 1 ? { topic, event, payload, ref } : [pick([null, ref]), ref, topic, event, payload];
    client.receive(JSON.stringify(frame));
  };

  for (let step = 0; step < 20_000; step++) {
    const what = random(100);
    const one = pick(all);
    if (one === undefined || (all.length < 20 && what < 8)) {
      all.push(world.connect({ version: random(3) === 0 ? 1 : 2, ...(random(2) ? { token: "carol" } : {}) }));
    } else if (what < 70) act(one.client, Number(one.client.frames[0]?.startsWith("{") ?? random(2)));
    else if (what < 80) world.bus.bring(`to:${pick(topics)}:news`, String(step));
    else if (what < 83) one.client.hangUp();
    else if (what < 86) one.client.stalled = true;
    else if (what < 88) one.client.dismiss(1001, "a test");
    else if (what < 94) jest.advanceTimersByTime(random(80));
    else await Promise.resolve();
    all = all.filter(({ client }) => client.open || client.ended === null);
    if (step % 50 !== 0) continue;

    await new Promise((resolve) => setImmediate(resolve));
    const truth = all.flatMap(({ client, session }) =>
      client.open ? session.channels.map((topic) => `${topic} ${client.id}`) : [],
    );
    const kept = [...world.hub.channels.values()].flatMap((channel) =>
      [...channel.members].map((member) => `${channel.name} ${member.connection.id}`),
    );
    expect(kept.toSorted()).toEqual(truth.toSorted());
    for (const channel of world.hub.channels.values()) {
      const users = new Set([...channel.members].map(({ user }) => user));
      expect(Object.keys(JSON.parse(channel.presence?.state() ?? "{}")).toSorted()).toEqual(
        [...users].toSorted(),
      );
      const reached = [...channel.members].map(({ connection }) => connection.id);
      for (const { client } of all) client.frames.length = 0;
      world.bus.bring(`to:${channel.name}:probe`, "1");
      const heard = all.filter(({ client }) => client.frames.some((frame) => frame.includes('"probe"')));
      const quick = all.filter(({ client }) => reached.includes(client.id) && !client.stalled);
      expect(heard.map(({ client }) => client.id)).toEqual(quick.map(({ client }) => client.id));
    }
  }
  for (const { client } of all) client.hangUp();
  await settle();
  expect([...world.hub.channels.keys()]).toEqual(["phoenix", "admin", "system"]);
  for (const channel of world.hub.channels.values()) {
    expect(channel.members.size).toBe(0);
    expect(channel.receivers).toEqual([]);
    expect(channel.presence?.users).toBe(0);
  }
});
