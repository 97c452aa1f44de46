import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startChannel } from "../channel-process.ts";
import { enterGroups } from "../groups/groups-client.ts";
import type { Inbox } from "../inbox.ts";
import type { Frame } from "../phoenix-client.ts";
import { BUSES, type Heard, type World } from "../world.ts";
import { call, type Json, list, object, openSocket, type Rig, SECRET, startRig, TRANSPORTS } from "./rig.ts";

let count = 0;
function fresh(word: string): string {
  count++;
  return `${word}-${count}`;
}

/** What backends receive on `to:` of one channel, without our own Phoenix presence. */
function ofChannel(heard: readonly Heard[], channel: string): [string, Json][] {
  const before = `to:${channel}:`;
  return heard
    .filter(({ name }) => name.startsWith(before) && !name.endsWith("presence_diff"))
    .map(({ name, payload }) => [name.slice(before.length), object(JSON.parse(payload.toString()))]);
}

/** The payload of a V2 frame. */
function payloadOf({ text }: Frame): unknown {
  const frame: unknown = JSON.parse(text);
  return Array.isArray(frame) ? frame[4] : null;
}

describe.each([...BUSES])("on the %s bus", (bus) => {
  let rig: Rig;
  let world: World;
  let heard: Inbox<Heard>;
  beforeAll(async () => {
    rig = await startRig("wake_connections_after = 1", bus);
    world = rig.world;
    heard = await world.backend.listen("to:*");
  });
  afterAll(() => rig.stop());

  /** Waits until all have received what the server, and then the backend, published so far. */
  async function settle(): Promise<void> {
    const mark = fresh("mark");
    await rig.ok("POST", "/channel_config", { [mark]: {} });
    const ear = await rig.listen(await rig.connect(mark, [mark]));
    await rig.send({ user: "sys", channel: mark, message: {} });
    await heard.until(({ name }) => name === `to:${mark}:message`, "the server's mark");
    await world.backend.publish(`to:${mark}:end`, "{}");
    await ear.inbox.until(({ message }) => object(message).event === "end", "the backend's mark");
  }

  test("a message reaches its own members once, Phoenix members, group members and backends", async () => {
    const room = fresh("room");
    const ear = await rig.listen(await rig.connect(fresh("ann"), [room]));
    const phoenix = await world.connect();
    await phoenix.join(room, { token: world.token(room) });
    const groups = await enterGroups(rig.url, world.token(room));
    await groups.follow({ [room]: ["message"] });
    const [sent] = await rig.send({ user: "sys", channel: room, message: { text: "hello" } });
    const got = await ear.inbox.next();
    expect(got.uuid).toBe(sent?.uuid);
    expect(payloadOf(await phoenix.event("message", room))).toEqual(got);
    expect(await groups.next()).toEqual(got);
    await settle();
    expect(ofChannel(heard.all, room)).toEqual([["message", got]]);
    expect(ear.inbox.take()).toEqual([]);
  });

  test("Phoenix members of a channel that is not open here receive a call's message", async () => {
    const room = fresh("room");
    const phoenix = await world.connect();
    await phoenix.join(room, { token: world.token(room) });
    await rig.send({ user: "sys", channel: room, message: { text: "over there" } });
    expect(object(payloadOf(await phoenix.event("message", room))).message).toEqual({
      text: "over there",
    });
    expect((await rig.ok("POST", "/info", { info: { channels: [room] } })).channels).toEqual({});
    // Without any member it goes nowhere.
    await rig.send({ user: "sys", channel: `${room}-empty`, message: {} });
    await settle();
    expect(ofChannel(heard.all, `${room}-empty`)).toEqual([]);
  });

  test("edits, deletions, presence and changes of state go out as events, without an echo", async () => {
    const room = fresh("room");
    const [ann, bob] = [fresh("ann"), fresh("bob")];
    const config = { notify_presence: true, notify_state: true };
    const ear = await rig.listen(await rig.connect(ann, [room], { channel_configs: { [room]: config } }));
    const id = await rig.connect(bob, [room], { state_public_keys: ["color"] });
    await rig.ok("POST", "/user_state", { user: bob, user_state: { color: "red" } });
    const [sent] = await rig.send({ user: bob, channel: room, message: { text: "1" } });
    const edit = { uuid: sent?.uuid, channel: room };
    await rig.ok("PATCH", "/message", [{ ...edit, message: { text: "2" } }]);
    await rig.ok("PATCH", "/message", [{ ...edit, message: { text: "3" } }]);
    await rig.ok("DELETE", "/message", [edit]);
    await rig.call("GET", `/disconnect?conn_id=${id}`);
    await settle();
    const got = await Promise.all(Array.from({ length: 7 }, () => ear.inbox.next()));
    expect(ofChannel(heard.all, room).slice(1)).toEqual(
      got.map((message) => [String(message.type).replace(":", "-"), message]),
    );
    expect(got.map(({ type }) => type)).toEqual([
      "presence",
      "user_state_change",
      "message",
      "message:edit",
      "message:edit",
      "message:delete",
      "presence",
    ]);
    expect(ear.inbox.take()).toEqual([]);
  });

  test("what only some may see never appears on the bus: messages, edits and deletions", async () => {
    const room = fresh("room");
    const ann = fresh("ann");
    const ear = await rig.listen(
      await rig.connect(ann, [room], { channel_configs: { [room]: { store_history: true } } }),
    );
    const phoenix = await world.connect();
    await phoenix.join(room, { token: world.token(room) });
    const sent = await rig.send(
      { user: "sys", channel: room, pm_users: [ann], message: { secret: 1 } },
      { user: "sys", channel: room, exclude_users: ["eve"], message: { secret: 2 } },
      { user: "sys", pm_users: [ann], message: { secret: 3 } },
    );
    for (const { uuid } of sent) {
      await rig.ok("PATCH", "/message", [{ uuid, channel: room, message: { secret: 4 } }]);
      await rig.ok("DELETE", "/message", [{ uuid, channel: room, pm_users: [ann] }]);
    }
    await rig.ok("PATCH", "/message", [{ uuid: sent[0]?.uuid, pm_users: [ann], message: { secret: 5 } }]);
    await settle();
    // A private message is in no channel: an edit that names a channel refers to no message.
    const leaked = ofChannel(heard.all, room).filter(([, { uuid }]) => uuid !== sent[2]?.uuid);
    expect(leaked).toEqual([]);
    expect(heard.all.some(({ name }) => name.includes(ann))).toBe(false);
    expect(ear.inbox.take().length).toBeGreaterThan(5);
    expect((await phoenix.fence()).filter(({ event }) => event === "message")).toEqual([]);
  });

  test.each([...TRANSPORTS])(
    "what a backend says reaches members over %s, its payload as it was",
    async (transport) => {
      const room = fresh("room");
      const id = await rig.connect(fresh("ann"), [room]);
      const ear = await rig.listen(id, transport);
      await world.backend.publish(`to:${room}:update`, '{"n": 1, "s": "ü"}');
      await world.backend.publish(`to:${room}:other`, '"text"');
      await world.backend.publish(`to:${room}:bytes`, Buffer.from([0xff, 0]));
      await world.backend.publish(`to:${room}:list`, "[1,2]");
      const got = await Promise.all([ear.inbox.next(8000), ear.inbox.next(8000), ear.inbox.next(8000)]);
      expect(got.map(({ message }) => message)).toEqual([
        { event: "update", payload: { n: 1, s: "ü" } },
        { event: "other", payload: "text" },
        { event: "list", payload: [1, 2] },
      ]);
      for (const message of got) {
        expect(message).toMatchObject({ type: "message", channel: room, user: null, edited: null });
        expect(String(message.uuid)).toMatch(/^[0-9a-f-]{36}$/);
        expect(String(message.timestamp)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/);
      }
    },
  );

  test("what a Phoenix client pushes is for backends, not for members here", async () => {
    const room = fresh("room");
    const ear = await rig.listen(await rig.connect(fresh("ann"), [room]));
    const phoenix = await world.connect();
    const { joinRef } = await phoenix.join(room, { token: world.token(room) });
    await phoenix.ask({ joinRef, topic: room, event: "shout", payload: "{}" });
    await settle();
    expect(ear.inbox.take()).toEqual([]);
  });

  test("another server's messages keep their shape, and come once", async () => {
    const room = fresh("room");
    const [ann, bob] = [fresh("ann"), fresh("bob")];
    const a = await rig.listen(await rig.connect(ann, [room]));
    const b = await rig.listen(await rig.connect(bob, [room]));
    const uuid = crypto.randomUUID();
    const message = { uuid, type: "message", channel: room, user: "x", message: { far: true }, extra: [1] };
    const edit = {
      uuid,
      type: "message:edit",
      channel: room,
      message: { far: 2 },
      edited: "2020-01-01T00:00:00",
    };
    const joined = {
      uuid: crypto.randomUUID(),
      type: "presence",
      channel: room,
      user: ann,
      message: { action: "joined" },
    };
    const foreign = { uuid, type: "message", channel: "elsewhere", message: {} };
    for (const each of [message, message, edit, edit, { ...edit, message: { far: 3 } }, joined, foreign]) {
      await world.backend.publish(`to:${room}:${each.type.replace(":", "-")}`, JSON.stringify(each));
    }
    await settle();
    const got = await Promise.all(Array.from({ length: 5 }, () => b.inbox.next()));
    expect(got.slice(0, 4)).toEqual([message, edit, { ...edit, message: { far: 3 } }, joined]);
    expect(got[4]?.message).toEqual({ event: "message", payload: foreign });
    expect(b.inbox.take()).toEqual([]);
    // No user receives their own presence.
    expect(
      (await Promise.all(Array.from({ length: 4 }, () => a.inbox.next()))).map(({ type }) => type),
    ).not.toContain("presence");
  });

  test("messages of the bus missed between connections are caught up with", async () => {
    const room = fresh("room");
    const id = await rig.connect(fresh("ann"), [room]);
    await world.backend.publish(`to:${room}:update`, "[12345678901234567890]");
    await settle();
    const text = await (await fetch(`${rig.url}/listen?conn_id=${id}`)).text();
    expect(text).toContain("[12345678901234567890]");
    expect(list(JSON.parse(text))[0]).toMatchObject({ catchup: true, user: null });
  });

  test("the channels admin and phoenix of this protocol are its own", async () => {
    const ear = await rig.listen(await rig.connect(fresh("ann"), ["admin", "phoenix"]));
    await rig.send({ user: "sys", channel: "admin", message: { text: "mine" } });
    await world.backend.publish("to:admin:news", '"not for them"');
    const phoenix = await world.connect();
    await phoenix.join(fresh("room"), {});
    await settle();
    expect(ear.inbox.take().map(({ message }) => message)).toEqual([{ text: "mine" }]);
    expect(heard.all.some(({ name }) => name === "to:admin:message")).toBe(false);
  });

  test("a channel exists while it has members, and Phoenix' channel list does not contain it", async () => {
    const room = fresh("room");
    const id = await rig.connect(fresh("ann"), [room]);
    const numbers = async (): Promise<string> => (await fetch(`${rig.url}/metrics`)).text();
    expect(await numbers()).toMatch(/protocol="channelstream"[^\n]*\} [1-9]/);
    await rig.call("GET", `/disconnect?conn_id=${id}`);
    await settle();
    const told = heard.all.filter(({ name }) => name === "to:admin:channel.add");
    expect(told.some(({ payload }) => payload.toString().includes(`"${room}"`))).toBe(false);
    expect(list([await rig.info(room)])[0]?.total_connections).toBe(0);
  });
});

test("local members receive a call's message while the bus is away", async () => {
  const rig = await startRig("", "redis");
  try {
    const ear = await rig.listen(await rig.connect("ann", ["room"]));
    await rig.world.redis?.stop();
    await rig.world.channel.log.until(({ message }) => message === "bus down", "the bus to be away");
    await rig.send({ user: "sys", channel: "room", message: { text: "all the same" } });
    expect((await ear.inbox.next()).message).toEqual({ text: "all the same" });
  } finally {
    await rig.stop();
  }
});

test("two servers on one Redis deliver to each other's members, and each to its own once", async () => {
  const one = await startRig("", "redis");
  const two = await startChannel({
    args: ["--bus", "redis", "--redis-url", one.world.redis?.url ?? ""],
    env: { CHANNELSTREAM_SECRET: SECRET },
  });
  try {
    const here = await one.listen(
      await one.connect("ann", ["room"], { channel_configs: { room: { notify_presence: true } } }),
    );
    const answer = await call(two.url, "POST", "/connect", { username: "bob", channels: ["room"] });
    const there = await openSocket(two.url, String(object(answer.body).conn_id));
    const [sent] = await one.send({ user: "sys", channel: "room", message: { text: "to both" } });
    // A message about ann may still have been in transit.
    const got = await there.inbox.until(({ type }) => type === "message", "the message");
    expect(got).toEqual(await here.inbox.next());
    await one.ok("PATCH", "/message", [{ uuid: sent?.uuid, channel: "room", message: { text: "edited" } }]);
    expect(await there.inbox.next()).toEqual(await here.inbox.next());
    await one.ok("POST", "/connect", { username: "eve", channels: ["room"] });
    expect(await there.inbox.next()).toEqual(await here.inbox.next());
    expect([here.inbox.take(), there.inbox.take()]).toEqual([[], []]);
    await there.close();
  } finally {
    await two.stop();
    await one.stop();
  }
});
