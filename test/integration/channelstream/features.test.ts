import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually } from "../phoenix-client.ts";
import { type Ear, type Json, list, object, openSocket, type Rig, startRig, TRANSPORTS } from "./rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await startRig("wake_connections_after = 1");
});
afterAll(() => rig.stop());

let count = 0;
/** A name that no other test has. */
function fresh(word: string): string {
  count++;
  return `${word}-${count}`;
}

const PRESENCE = { notify_presence: true, broadcast_presence_with_user_lists: true };

/** Messages up to one that says `end`, which is sent by this. */
async function until(ear: Ear, channel: string, { send } = rig): Promise<Json[]> {
  const end = crypto.randomUUID();
  await send({ user: "test", channel, message: { end } });
  const got: Json[] = [];
  for (;;) {
    const message = await ear.inbox.next(8000);
    const content = message.message;
    const last = typeof content === "object" && content !== null && "end" in content ? content.end : null;
    if (last === end) return got;
    // Those of earlier calls were for other ears.
    if (last === null) got.push(message);
  }
}

function texts(messages: readonly Json[]): unknown[] {
  return messages.map(({ message }) => object(message).text);
}

describe.each([...TRANSPORTS])("over %s", (transport) => {
  test("a message reaches the members of its channel, without its delivery options", async () => {
    const [room, other] = [fresh("room"), fresh("other")];
    const [ann, bob] = [fresh("ann"), fresh("bob")];
    const a = await rig.listen(await rig.connect(ann, [room]), transport);
    const b = await rig.listen(await rig.connect(bob, [other]), transport);
    const [sent] = await rig.send({
      user: "sys",
      channel: room,
      message: { text: "hello", n: [1, { x: null }] },
    });
    const got = await a.inbox.next(8000);
    expect(Object.keys(got).sort()).toEqual(
      ["catchup", "channel", "edited", "message", "timestamp", "type", "user", "uuid"].sort(),
    );
    expect(got).toMatchObject({
      type: "message",
      channel: room,
      user: "sys",
      uuid: sent?.uuid,
      timestamp: sent?.timestamp,
      edited: null,
      message: { text: "hello", n: [1, { x: null }] },
    });
    expect(String(got.timestamp)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/);
    expect(await until(b, other)).toEqual([]);
  });

  test("numbers that no double holds arrive as they were sent", async () => {
    const room = fresh("room");
    const id = await rig.connect(fresh("ann"), [room]);
    const body = `[{"user":"sys","channel":"${room}","message":{"id":12345678901234567890,"e":1e400}}]`;
    const { status } = await rig.call("POST", "/message", undefined, { raw: body });
    expect(status).toBe(200);
    if (transport === "poll") {
      const text = await (await fetch(`${rig.url}/listen?conn_id=${id}`)).text();
      expect(text).toContain('"message":{"id":12345678901234567890,"e":1e400}');
      return;
    }
    const socket = new WebSocket(`${rig.url.replace("http", "ws")}/ws?conn_id=${id}`);
    const text = await new Promise((resolve) => {
      socket.onmessage = ({ data }) => resolve(data);
    });
    expect(text).toContain('"message":{"id":12345678901234567890,"e":1e400}');
    socket.close();
  });

  test("messages for some reach them alone, wherever they are", async () => {
    const room = fresh("room");
    const [ann, bob, eve] = [fresh("ann"), fresh("bob"), fresh("eve")];
    const a = await rig.listen(await rig.connect(ann, [room]), transport);
    const a2 = await rig.listen(await rig.connect(ann, [room]), transport);
    const b = await rig.listen(await rig.connect(bob, [room]), transport);
    const e = await rig.listen(await rig.connect(eve, [room]), transport);
    await rig.send(
      { user: "sys", channel: room, pm_users: [ann], message: { text: "for ann" } },
      { user: "sys", channel: room, exclude_users: [ann], message: { text: "not for ann" } },
      { user: "sys", channel: room, pm_users: [ann, bob], exclude_users: [ann], message: { text: "bob's" } },
      { user: "sys", pm_users: [ann, ann, "nobody"], message: { text: "private" } },
    );
    // A user named twice receives it twice, as with Channelstream.
    expect(texts(await until(a, room))).toEqual(["for ann", "private", "private"]);
    expect(texts(await until(a2, room))).toContain("private");
    expect(texts(await until(b, room))).toEqual(["not for ann", "bob's"]);
    expect(texts(await until(e, room))).toEqual(["not for ann"]);
  });

  test("the first connection of a user joins, the last one parts, and no user receives their own presence", async () => {
    const room = fresh("room");
    const [ann, bob] = [fresh("ann"), fresh("bob")];
    const config = { channel_configs: { [room]: PRESENCE } };
    const watcher = await rig.listen(await rig.connect(ann, [room], config), transport);
    const state = { user_state: { color: "red", secret: 1 }, state_public_keys: ["color"] };
    const first = await rig.connect(bob, [room], state);
    const joined = await watcher.inbox.next(8000);
    expect(joined).toMatchObject({
      type: "presence",
      channel: room,
      user: bob,
      message: { action: "joined" },
      state: { color: "red" },
      users: [
        { user: ann, state: {} },
        { user: bob, state: { color: "red" } },
      ],
    });
    const second = await rig.connect(bob, [room], state);
    const own = await rig.listen(second, transport);
    await rig.call("GET", `/disconnect?conn_id=${first}`, undefined, { signature: null });
    expect(await until(watcher, room)).toEqual([]);
    expect(await until(own, room)).toEqual([]);
    await rig.call("GET", `/disconnect?conn_id=${second}`, undefined, { signature: null });
    const parted = await watcher.inbox.until(({ type }) => type === "presence", "presence");
    expect(parted).toMatchObject({
      user: bob,
      message: { action: "parted" },
      users: [{ user: ann, state: {} }],
    });
    expect(parted.state).toBeNull();
  });

  test("who leaves a channel that they are not in parts from nothing", async () => {
    const room = fresh("room");
    const config = { channel_configs: { [room]: PRESENCE } };
    const watcher = await rig.listen(await rig.connect(fresh("ann"), [room], config), transport);
    const id = await rig.connect(fresh("bob"), []);
    const { unsubscribed_from } = await rig.ok("POST", "/unsubscribe", { conn_id: id, channels: [room] });
    expect(unsubscribed_from).toEqual([]);
    expect(await until(watcher, room)).toEqual([]);
  });

  test("channels are joined and left while a client listens", async () => {
    const [one, two] = [fresh("one"), fresh("two")];
    const id = await rig.connect(fresh("ann"), [one]);
    const ear = await rig.listen(id, transport);
    await rig.ok("POST", "/subscribe", { conn_id: id, channels: [two, one] });
    await rig.send({ user: "sys", channel: two, message: { text: "in two" } });
    expect(texts(await until(ear, one))).toEqual(["in two"]);
    await rig.ok("POST", "/unsubscribe", { conn_id: id, channels: [two] });
    await rig.send({ user: "sys", channel: two, message: { text: "gone" } });
    expect(await until(ear, one)).toEqual([]);
  });

  test("public state changes are sent in channels with notify_state", async () => {
    const [told, silent] = [fresh("told"), fresh("silent")];
    const ann = fresh("ann");
    const config = { channel_configs: { [told]: { notify_state: true } } };
    await rig.connect(ann, [told, silent], { ...config, state_public_keys: ["color"] });
    const ear = await rig.listen(await rig.connect(fresh("bob"), [told, silent]), transport);
    const change = { user: ann, user_state: { color: "blue", secret: "s" } };
    expect(await rig.ok("POST", "/user_state", change)).toMatchObject({
      changed_state: [
        { key: "color", value: "blue" },
        { key: "secret", value: "s" },
      ],
    });
    await rig.ok("POST", "/user_state", change);
    const got = await until(ear, told);
    expect(got).toHaveLength(1);
    expect(got[0]).toMatchObject({
      type: "user_state_change",
      channel: told,
      user: ann,
      message: { state: { color: "blue" }, changed: [{ key: "color", value: "blue" }] },
    });
  });

  test("edits and deletions are sent, and change history and catch-up", async () => {
    const room = fresh("room");
    const ann = fresh("ann");
    const config = { channel_configs: { [room]: { store_history: true, history_size: 5 } } };
    const ear = await rig.listen(await rig.connect(fresh("bob"), [room], config), transport);
    const late = await rig.connect(ann, [room]);
    const [one, two] = await rig.send(
      { user: "sys", channel: room, message: { text: "one" } },
      { user: "sys", channel: room, message: { text: "two" } },
    );
    const edit = { uuid: one?.uuid, channel: room, message: { text: "changed" }, user: "editor" };
    await rig.ok("PATCH", "/message", [edit]);
    await rig.ok("DELETE", "/message", [{ uuid: two?.uuid, channel: room }]);
    const got = await until(ear, room);
    expect(got.map(({ type, uuid }) => [type, uuid])).toEqual([
      ["message", one?.uuid],
      ["message", two?.uuid],
      ["message:edit", one?.uuid],
      ["message:delete", two?.uuid],
    ]);
    expect(got[2]).toMatchObject({ channel: room, user: "editor", message: { text: "changed" } });
    expect(String(got[2]?.edited)).toMatch(/^\d{4}-/);
    const { history } = await rig.info(room);
    expect(list(history).map(({ uuid, message }) => [uuid, object(message).text])[0]).toEqual([
      one?.uuid,
      "changed",
    ]);
    expect(list(history).some(({ uuid }) => uuid === two?.uuid)).toBe(false);
    const missed = await until(await rig.listen(late, transport), room);
    expect(missed.slice(0, 3).map(({ type, message, catchup }) => [type, message, catchup])).toEqual([
      ["message", { text: "changed" }, true],
      ["message:edit", { text: "changed" }, true],
      ["message:delete", undefined, true],
    ]);
  });

  test("private messages are edited and deleted too, where they wait", async () => {
    const ann = fresh("ann");
    const room = fresh("room");
    const id = await rig.connect(ann, [room]);
    const [one, two] = await rig.send(
      { user: "sys", pm_users: [ann], message: { text: "one" } },
      { user: "sys", pm_users: [ann], message: { text: "two" } },
    );
    await rig.ok("PATCH", "/message", [{ uuid: one?.uuid, pm_users: [ann], message: { text: "changed" } }]);
    await rig.ok("DELETE", "/message", [{ uuid: two?.uuid, pm_users: [ann] }]);
    const got = await until(await rig.listen(id, transport), room);
    expect(got.map(({ type, channel, message }) => [type, channel, message])).toEqual([
      ["message", null, { text: "changed" }],
      ["message:edit", null, { text: "changed" }],
      ["message:delete", null, undefined],
    ]);
  });

  test("a private message to two is edited and deleted for those who are named, and stays with the other", async () => {
    const [ann, bob, room] = [fresh("ann"), fresh("bob"), fresh("room")];
    const [a, b] = [await rig.connect(ann, [room]), await rig.connect(bob, [room])];
    const both = { user: "sys", pm_users: [ann, bob] };
    const [one, two] = await rig.send(
      { ...both, message: { text: "1" } },
      { ...both, message: { text: "2" } },
    );
    await rig.ok("PATCH", "/message", [{ uuid: one?.uuid, pm_users: [ann], message: { text: "changed" } }]);
    await rig.ok("DELETE", "/message", [{ uuid: two?.uuid, pm_users: [ann] }]);
    const of = async (id: string) =>
      (await until(await rig.listen(id, transport), room)).map(({ type, message }) => [type, message]);
    expect(await of(a)).toEqual([
      ["message", { text: "changed" }],
      ["message:edit", { text: "changed" }],
      ["message:delete", undefined],
    ]);
    expect(await of(b)).toEqual([
      ["message", { text: "1" }],
      ["message", { text: "2" }],
    ]);
  });

  test("an edit of a restricted message is sent to its recipients only", async () => {
    const room = fresh("room");
    const [ann, eve] = [fresh("ann"), fresh("eve")];
    const a = await rig.listen(await rig.connect(ann, [room]), transport);
    const e = await rig.listen(await rig.connect(eve, [room]), transport);
    const [sent] = await rig.send({ user: "sys", channel: room, pm_users: [ann], message: { text: "s" } });
    await rig.ok("PATCH", "/message", [{ uuid: sent?.uuid, channel: room, message: { text: "t" } }]);
    await rig.ok("DELETE", "/message", [{ uuid: sent?.uuid, channel: room }]);
    expect((await until(a, room)).map(({ type }) => type)).toEqual([
      "message",
      "message:edit",
      "message:delete",
    ]);
    expect(await until(e, room)).toEqual([]);
  });

  test("an edit of an unknown message is sent nevertheless", async () => {
    const room = fresh("room");
    const ear = await rig.listen(await rig.connect(fresh("ann"), [room]), transport);
    const uuid = crypto.randomUUID();
    await rig.ok("PATCH", "/message", [{ uuid, channel: room, message: { text: "?" } }]);
    expect((await until(ear, room)).map((each) => [each.type, each.uuid])).toEqual([["message:edit", uuid]]);
  });

  test("messages missed between connections are caught up with once, channel by channel", async () => {
    const [one, two] = [fresh("one"), fresh("two")];
    const ann = fresh("ann");
    await rig.send({ user: "sys", channel: one, message: { text: "before" } });
    const id = await rig.connect(ann, [one, two]);
    await rig.send(
      { user: "sys", channel: two, message: { text: "1" } },
      { user: "sys", pm_users: [ann], message: { text: "2" } },
      { user: "sys", channel: one, message: { text: "3" } },
      { user: "sys", channel: one, exclude_users: [ann], message: { text: "not hers" } },
      { user: "sys", channel: one, pm_users: ["bob"], message: { text: "not hers" } },
    );
    const ear = await rig.listen(id, transport);
    const got = await until(ear, one);
    expect(texts(got)).toEqual(["3", "1", "2"]);
    expect(got.every(({ catchup }) => catchup === true)).toBe(true);
    // Not as a client that leaves, which is removed a second later.
    await ear.close(4000);
    await rig.send({ user: "sys", channel: two, message: { text: "4" } });
    const again = await until(await rig.listen(id, transport), one);
    expect(texts(again)).toEqual(["4"]);
  });

  test("at most the last hundred of a channel and fifty private ones are kept to catch up with", async () => {
    const [room, off] = [fresh("room"), fresh("off")];
    const ann = fresh("ann");
    const id = await rig.connect(ann, [room, off], { channel_configs: { [off]: { store_frames: false } } });
    const many = (channel: Json) =>
      Array.from({ length: 120 }, (_, n) => ({ user: "sys", ...channel, message: { text: String(n) } }));
    await rig.send(...many({ channel: room }), ...many({ pm_users: [ann] }), ...many({ channel: off }));
    const got = await until(await rig.listen(id, transport), off);
    const of = (channel: string | null) => texts(got.filter((each) => each.channel === channel));
    // The last of the room, and the last of what is private.
    expect(of(room)).toEqual(Array.from({ length: 100 }, (_, n) => String(n + 20)));
    expect(of(null)).toEqual(Array.from({ length: 50 }, (_, n) => String(n + 70)));
    expect(of(off)).toEqual([]);
  });

  test("a connection that is disconnected is gone at once, and its client with it", async () => {
    const room = fresh("room");
    const id = await rig.connect(fresh("ann"), [room]);
    const ear = await rig.listen(id, transport);
    await until(ear, room);
    const gone = await rig.call("POST", "/disconnect", { conn_id: id }, { signature: null });
    expect(gone.body).toBe(true);
    await ear.closed;
    const again = await rig.call("GET", `/disconnect?conn_id=${id}`, undefined, { signature: null });
    expect(again.body).toBe(false);
    expect(await rig.info(room)).toMatchObject({ total_connections: 0, users: [] });
    expect((await rig.call("GET", `/listen?conn_id=${id}`, undefined, { signature: null })).status).toBe(401);
  });

  test("a connection without a client is removed after gc_conns_after", async () => {
    // Of its own: connections of the other tests stay, however long a test takes.
    const brief = await startRig("wake_connections_after = 1\ngc_conns_after = 2");
    try {
      const config = { channel_configs: { room: PRESENCE } };
      const watcher = await brief.listen(await brief.connect("ann", ["room"], config), transport);
      const started = performance.now();
      await brief.connect("bob", ["room"]);
      const isParted = ({ message }: Json) => object(message).action === "parted";
      expect((await watcher.inbox.until(isParted, "parted")).user).toBe("bob");
      expect(performance.now() - started).toBeGreaterThan(1900);
      // Whoever listens is not forgotten.
      expect(await until(watcher, "room", brief)).toEqual([]);
    } finally {
      await brief.stop();
    }
  }, 20_000);
});

test("a newer client takes the place of an older one", async () => {
  const room = fresh("room");
  const id = await rig.connect(fresh("ann"), [room]);
  const first = await rig.listen(id);
  const second = await rig.listen(id);
  expect(await first.closed).toBe(1000);
  const polled = fetch(`${rig.url}/listen?conn_id=${id}`);
  expect(await second.closed).toBe(1000);
  await rig.send({ user: "sys", channel: room, message: { text: "to the poll" } });
  expect(texts(list(await (await polled).json()))).toEqual(["to the poll"]);
  const third = await rig.listen(id);
  await rig.send({ user: "sys", channel: room, message: { text: "to the socket" } });
  expect(texts(await until(third, room))).toEqual(["to the socket"]);
});

test("a socket with an unknown conn_id, or none, is closed at once", async () => {
  for (const id of [crypto.randomUUID(), "nonsense", ""]) {
    const ear = await openSocket(rig.url, id);
    expect(await ear.closed).toBe(1008);
  }
});

test("a socket that closes normally is removed a second later", async () => {
  const room = fresh("room");
  const config = { channel_configs: { [room]: PRESENCE } };
  const watcher = await rig.listen(await rig.connect(fresh("ann"), [room], config));
  const bob = await rig.listen(await rig.connect(fresh("bob"), [room]));
  expect(object((await watcher.inbox.next()).message).action).toBe("joined");
  await bob.close();
  expect(object((await watcher.inbox.next()).message).action).toBe("parted");
});

test("a poll ends with an empty list after wake_connections_after, and a quarter of a second", async () => {
  const id = await rig.connect(fresh("ann"), []);
  const at = performance.now();
  const response = await fetch(`${rig.url}/listen?conn_id=${id}`);
  expect(await response.json()).toEqual([]);
  expect(response.headers.get("content-type")).toContain("application/json");
  expect(performance.now() - at).toBeGreaterThan(1200);
});

test("a poll waits a quarter of a second for what comes behind its first message", async () => {
  const room = fresh("room");
  const id = await rig.connect(fresh("ann"), [room]);
  // On a busy machine the second one may be later than that: then it is in the next answer.
  await eventually(async () => {
    const polled = fetch(`${rig.url}/listen?conn_id=${id}`);
    await rig.send({ user: "sys", channel: room, message: { text: "1" } });
    await rig.send({ user: "sys", channel: room, message: { text: "2" } });
    const got = texts(list(await (await polled).json()));
    const isTogether = got.length > 1;
    if (!isTogether) got.push(...texts(list(await (await fetch(`${rig.url}/listen?conn_id=${id}`)).json())));
    expect(got).toEqual(["1", "2"]);
    return isTogether;
  }, "an answer with both");
});

test("what a client hung up on is there for its next poll", async () => {
  const room = fresh("room");
  const id = await rig.connect(fresh("ann"), [room]);
  // A client that hangs up later than a quarter of a second after the message has its answer on the way.
  await eventually(async () => {
    const at = performance.now();
    const stop = new AbortController();
    const polled = fetch(`${rig.url}/listen?conn_id=${id}`, { signal: stop.signal });
    await rig.send({ user: "sys", channel: room, message: { text: "lost?" } });
    stop.abort();
    await polled.catch(() => null);
    const isInTime = performance.now() - at < 200;
    const next = texts(list(await (await fetch(`${rig.url}/listen?conn_id=${id}`)).json()));
    if (isInTime) expect(next).toEqual(["lost?"]);
    return isInTime;
  }, "a client that hangs up in time");
});

test("a list comes as a script where a callback is named, and only where that is a name", async () => {
  const room = fresh("room");
  const id = await rig.connect(fresh("ann"), [room]);
  await rig.send({ user: "sys", channel: room, message: { text: "a\u2028b" } });
  const response = await fetch(`${rig.url}/listen?conn_id=${id}&callback=app.on$_1`);
  const script = await response.text();
  expect(response.headers.get("content-type")).toContain("application/javascript");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(script).toMatch(/^app\.on\$_1\(\[\{.*\}\]\)$/);
  expect(script).toContain("a\\u2028b");
  for (const name of ["alert(1)//", "a b", "1a", "a;b", "<script>", "a[0]"]) {
    const refused = await fetch(`${rig.url}/listen?conn_id=${id}&callback=${encodeURIComponent(name)}`);
    expect(refused.status).toBe(422);
  }
});

test("the state of a new user is its fresh state; a known one's is merged", async () => {
  const ann = fresh("ann");
  const more = { fresh_user_state: { a: 1, b: 1 }, user_state: { b: 2 }, state_public_keys: ["b"] };
  expect(await rig.ok("POST", "/connect", { username: ann, ...more })).toMatchObject({
    state: { a: 1, b: 2 },
    public_state: { b: 2 },
  });
  const again = { username: ann, fresh_user_state: { a: 9 }, user_state: { c: "__proto__", __proto__x: 1 } };
  const answer = await rig.ok("POST", "/connect", again);
  expect(answer.state).toEqual({ a: 1, b: 2, c: "__proto__", __proto__x: 1 });
  expect(answer.public_state).toEqual({});
});

test("names like those of every object are names like any other", async () => {
  const body = `{"username":"__proto__","channels":["__proto__","constructor"],"user_state":{"__proto__":1}}`;
  const { status, body: answer } = await rig.call("POST", "/connect", undefined, { raw: body });
  expect(status).toBe(200);
  expect(JSON.stringify(object(answer).state)).toBe('{"__proto__":1}');
  expect(Object.keys(object(object(object(answer).channels_info).channels)).sort()).toEqual([
    "__proto__",
    "constructor",
  ]);
});

test("a history keeps its size, and leaves out what is not for it", async () => {
  const room = fresh("room");
  await rig.ok("POST", "/channel_config", { [room]: { store_history: true, history_size: 2 } });
  const say = (text: string, more: Json = {}) => ({ user: "sys", channel: room, message: { text }, ...more });
  await rig.send(say("1"), say("2"), say("3"), say("4", { no_history: true }));
  expect(texts(list((await rig.info(room)).history))).toEqual(["2", "3"]);
  await rig.ok("POST", "/channel_config", { [room]: { store_history: true, history_size: 0 } });
  await rig.send(say("5"));
  expect((await rig.info(room)).history).toEqual([]);
});

test("a message to a channel that is not open goes nowhere and opens nothing", async () => {
  const room = fresh("room");
  expect(await rig.send({ user: "sys", channel: room, message: {} })).toHaveLength(1);
  const { channels } = await rig.ok("POST", "/info", { info: { channels: [room] } });
  expect(channels).toEqual({});
});

test("a conn_id belongs to the user who had it first", async () => {
  const id = crypto.randomUUID();
  const [ann, room] = [fresh("ann"), fresh("room")];
  await rig.connect(ann, [], { conn_id: id });
  const other = await rig.call("POST", "/connect", { username: fresh("eve"), conn_id: id });
  expect(other.status).toBe(422);
  expect(Object.keys(object(other.body))).toEqual(["conn_id"]);
  expect(await rig.connect(ann, [room], { conn_id: id.toUpperCase() })).toBe(id);
  expect(await rig.info(room)).toMatchObject({ total_connections: 1, users: [ann] });
});

test("a thousand messages travel in one call", async () => {
  const room = fresh("room");
  const ear = await rig.listen(await rig.connect(fresh("ann"), [room]));
  const many = Array.from({ length: 1000 }, (_, n) => ({ user: "s", channel: room, message: { text: n } }));
  expect(await rig.send(...many)).toHaveLength(1000);
  expect(texts(await until(ear, room))).toEqual(many.map((_, n) => n));
});

test("names may hold anything that is text; those that no bus can carry stay with this protocol", async () => {
  for (const name of [
    "line\nbreak",
    "nul\u0000",
    "bell\u0007",
    "日本語 🎏",
    "a:b:c",
    "*",
    "x".repeat(256),
    "é".repeat(200),
  ]) {
    const ear = await rig.listen(await rig.connect(name, [name]));
    await rig.send({ user: name, channel: name, message: { text: name } });
    const got = await ear.inbox.next();
    expect([got.channel, got.user, object(got.message).text]).toEqual([name, name, name]);
  }
});

test("a heartbeat is an empty list within five seconds", async () => {
  const id = await rig.connect(fresh("ann"), []);
  const socket = new WebSocket(`${rig.url.replace("http", "ws")}/ws?conn_id=${id}`);
  const first = await new Promise((resolve) => {
    socket.onmessage = ({ data }) => resolve(data);
  });
  expect(first).toBe("[]");
  const at = performance.now();
  await new Promise((resolve) => {
    socket.onmessage = resolve;
  });
  const pause = performance.now() - at;
  // They come every five seconds, of which a busy machine may see less between two.
  expect(pause).toBeGreaterThan(2000);
  socket.close();
}, 20_000);

test("only the administrator and signed calls read the server's figures", async () => {
  const { url, world } = rig;
  const ann = fresh("ann");
  const id = await rig.connect(ann, []);
  const told = await rig.ok("POST", "/admin/admin.json", {});
  expect(Number(told.total_connections)).toBeGreaterThan(0);
  const [user] = list(told.users).filter((each) => each.user === ann);
  expect(user?.connections).toEqual([id]);
  const unsigned = await fetch(`${url}/admin/admin.json`);
  expect(unsigned.status).toBe(401);
  const { status } = await fetch(`${url}/admin/admin.json`, {
    headers: { authorization: "Bearer the-administrator-of-these-tests-and-nobody-else" },
  });
  expect(status).toBe(200);
  for (const path of ["/admin", "/admin/sign_in", "/admin/sign_out"]) {
    const page = await fetch(`${url}${path}`, { redirect: "manual" });
    expect([page.status, page.headers.get("location")]).toEqual([303, "/admin.html"]);
  }
  expect(world.channel.lines.some(({ level }) => level === "error")).toBe(false);
});
