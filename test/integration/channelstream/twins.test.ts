/**
 * Twins over the wire of the tests of Channelstream 0.7.1 that look into its engine (tests_basic.py), and of the one of
 * tests_views.py that cannot be turned into HTTP. Each is named as its twin is.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually } from "../phoenix-client.ts";
import { type Json, list, object, type Rig, startRig } from "./rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await startRig("wake_connections_after = 1");
});
afterAll(() => rig.stop());

const PRESENCE = { notify_presence: true, broadcast_presence_with_user_lists: true };
const DEFAULTS = {
  notify_presence: false,
  store_history: false,
  history_size: 10,
  broadcast_presence_with_user_lists: false,
  notify_state: false,
  store_frames: true,
};

let count = 0;
function fresh(word: string): string {
  count++;
  return `${word}-${count}`;
}

async function configured(config: Json): Promise<Json> {
  const room = fresh("room");
  const { channels } = await rig.ok("POST", "/channel_config", { [room]: config });
  return object(object(channels)[room]);
}

describe("TestChannel", () => {
  test("test_create_defaults, test_repr", async () => {
    const made = await configured({});
    expect(made).toMatchObject({
      long_name: null,
      settings: DEFAULTS,
      history: [],
      users: [],
      total_connections: 0,
    });
    expect(String(made.uuid)).toMatch(/^[0-9a-f-]{36}$/);
  });

  test.each([
    ["notify_presence", true],
    ["store_history", true],
    ["history_size", 42],
    ["broadcast_presence_with_user_lists", true],
  ])("test_create_set_config %s", async (key, value) => {
    expect((await configured({ [key]: value })).settings).toEqual({ ...DEFAULTS, [key]: value });
  });

  test("test_add_connection", async () => {
    const [room, user] = [fresh("room"), fresh("user")];
    await rig.connect(user, [room]);
    expect(await rig.info(room)).toMatchObject({ users: [user], total_connections: 1, total_users: 1 });
  });

  test("test_remove_connection", async () => {
    const [room, one, two] = [fresh("room"), fresh("user"), fresh("user")];
    const first = await rig.connect(one, [room]);
    await rig.connect(two, [room]);
    await rig.ok("POST", "/unsubscribe", { conn_id: first, channels: [room] });
    expect(await rig.info(room)).toMatchObject({ users: [two], total_connections: 1 });
    await rig.ok("POST", "/subscribe", { conn_id: first, channels: [room] });
    await rig.connect(one, [room]);
    await rig.ok("POST", "/unsubscribe", { conn_id: first, channels: [room] });
    expect(await rig.info(room)).toMatchObject({ users: [one, two].sort(), total_connections: 2 });
  });

  test("test_remove_non_existant_connection", async () => {
    const [room, user] = [fresh("room"), fresh("user")];
    await rig.ok("POST", "/channel_config", { [room]: PRESENCE });
    const id = await rig.connect(user, []);
    expect(await rig.ok("POST", "/unsubscribe", { conn_id: id, channels: [room] })).toMatchObject({
      channels: [],
      unsubscribed_from: [],
    });
    expect(await rig.info(room)).toMatchObject({ users: [] });
  });

  test("test_add_connection_w_presence, test_remove_connection_w_presence", async () => {
    const [room, user] = [fresh("room"), fresh("user")];
    await rig.ok("POST", "/channel_config", { [room]: PRESENCE });
    const id = await rig.connect(user, [room]);
    expect(await rig.info(room)).toMatchObject({ users: [user], total_connections: 1 });
    await rig.ok("POST", "/unsubscribe", { conn_id: id, channels: [room] });
    expect(await rig.info(room)).toMatchObject({ users: [], total_connections: 0 });
  });

  test("test_presence_message", async () => {
    const [room, user] = [fresh("room"), fresh("user")];
    await rig.ok("POST", "/channel_config", { [room]: { notify_presence: true } });
    const ear = await rig.listen(await rig.connect(fresh("watcher"), [room]));
    await rig.connect(user, [room]);
    expect(await ear.inbox.next()).toMatchObject({
      user,
      message: { action: "joined" },
      type: "presence",
      channel: room,
      users: [],
    });
  });

  test("test_presence_message_w_users", async () => {
    const [room, watcher, user] = [fresh("room"), fresh("watcher"), fresh("user")];
    await rig.ok("POST", "/channel_config", { [room]: PRESENCE });
    const ear = await rig.listen(await rig.connect(watcher, [room], { user_state: { key: "1", key2: "2" } }));
    const state = { user_state: { key: "1", key2: "2" }, state_public_keys: ["key2"] };
    await rig.connect(user, [room], state);
    const { users } = await ear.inbox.next();
    expect(users).toEqual([
      { user: watcher, state: {} },
      { user, state: { key2: "2" } },
    ]);
  });

  test("test_history", async () => {
    const room = fresh("room");
    await rig.ok("POST", "/channel_config", { [room]: { store_history: true, history_size: 3 } });
    const say = (n: number, no_history = false) => ({
      user: "sys",
      channel: room,
      message: { n },
      no_history,
    });
    await rig.send(say(1), say(2), say(3), say(4, true), say(5));
    const history = list((await rig.info(room)).history);
    expect(history.map(({ message }) => object(message).n)).toEqual([2, 3, 5]);
    expect(history[0]).toMatchObject({ channel: room, type: "message", no_history: false, pm_users: [] });
  });

  test("test_user_state", async () => {
    const [room, user] = [fresh("room"), fresh("user")];
    const config = { channel_configs: { [room]: { notify_state: true } } };
    const ear = await rig.listen(await rig.connect(user, [room], { ...config, state_public_keys: ["key2"] }));
    await rig.ok("POST", "/user_state", { user, user_state: { key: "1", key2: "2" } });
    expect(await ear.inbox.next()).toMatchObject({
      user,
      type: "user_state_change",
      channel: room,
      message: { state: { key2: "2" }, changed: [{ key: "key2", value: "2" }] },
    });
  });

  test("test_user_single_assignment, test_user_multi_assignment", async () => {
    const [one, two, user] = [fresh("one"), fresh("two"), fresh("user")];
    await rig.connect(user, [one]);
    await rig.connect(user, [one]);
    await rig.connect(user, [two]);
    const { channels } = await rig.ok("POST", "/info", { info: { channels: [one, two] } });
    const told = Object.values(object(channels)).map(object);
    expect(told.map(({ name, users, total_connections }) => [name, users, total_connections])).toEqual([
      [one, [user], 2],
      [two, [user], 1],
    ]);
  });
});

describe("TestConnection", () => {
  test("test_create_defaults, test_mark_for_gc", async () => {
    const id = crypto.randomUUID();
    expect(await rig.connect(fresh("user"), [], { conn_id: id })).toBe(id);
    expect((await rig.call("GET", `/disconnect?conn_id=${id}`)).body).toBe(true);
    expect((await rig.call("GET", `/disconnect?conn_id=${id}`)).body).toBe(false);
  });

  test("test_message", async () => {
    const user = fresh("user");
    const id = await rig.connect(user, []);
    const polled = fetch(`${rig.url}/listen?conn_id=${id}`);
    await rig.send({ user: "sys", pm_users: [user], message: { n: 1 } });
    expect(list(await (await polled).json()).map(({ message }) => message)).toEqual([{ n: 1 }]);
  });

  test("test_heartbeat", async () => {
    const id = await rig.connect(fresh("user"), []);
    expect(await (await fetch(`${rig.url}/listen?conn_id=${id}`)).json()).toEqual([]);
  });
});

describe("TestUser", () => {
  test("test_create_defaults", async () => {
    const state = { user_state: { key: "1", key2: "2" }, state_public_keys: ["key2"] };
    expect(await rig.ok("POST", "/connect", { username: fresh("user"), ...state })).toMatchObject({
      state: { key: "1", key2: "2" },
      public_state: { key2: "2" },
    });
  });

  test("test_messages", async () => {
    const user = fresh("user");
    const ears = [
      await rig.listen(await rig.connect(user, [])),
      await rig.listen(await rig.connect(user, [])),
    ];
    await rig.send({ user: "sys", pm_users: [user], message: { n: 1 } });
    for (const { inbox } of ears) expect((await inbox.next()).message).toEqual({ n: 1 });
  });
});

describe("TestGC", () => {
  // Of its own: connections of the other tests stay, however long a test takes.
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig("gc_conns_after = 4\ngc_users_after = 1");
  });
  afterAll(() => rig.stop());

  /** Connections that stay: each is listened on. */
  async function stay(user: string, ...channels: string[]): Promise<string> {
    const id = await rig.connect(user, channels);
    await rig.listen(id);
    return id;
  }

  async function known(user: string): Promise<boolean> {
    return (await rig.call("POST", "/user_state", { user })).status === 200;
  }

  test("test_gc_connections_active, test_gc_connections_collecting", async () => {
    const [one, two, user, user2] = [fresh("one"), fresh("two"), fresh("user"), fresh("user")];
    await stay(user, one);
    await rig.connect(user, [one]);
    await rig.connect(user2, [two]);
    const last = await stay(user2, two);
    expect([(await rig.info(one)).total_connections, (await rig.info(two)).total_connections]).toEqual([
      2, 2,
    ]);
    await eventually(
      async () =>
        (await rig.info(one)).total_connections === 1 && (await rig.info(two)).total_connections === 1,
      "the end of those without a client",
    );
    expect(await rig.info(one)).toMatchObject({ total_connections: 1, users: [user] });
    expect(await rig.info(two)).toMatchObject({ total_connections: 1, users: [user2] });
    await rig.call("GET", `/disconnect?conn_id=${last}`);
    expect(await rig.info(two)).toMatchObject({ total_connections: 0, users: [] });
  });

  test("test_users_active", async () => {
    const [here, gone] = [fresh("user"), fresh("user")];
    await stay(here);
    await rig.connect(gone, []);
    expect([await known(here), await known(gone)]).toEqual([true, true]);
    // To ask for a user is a sign of life, and to ask for the figures is none.
    await eventually(async () => {
      const { users, remembered_user_count } = await rig.ok("POST", "/admin/admin.json", {});
      const active = list(users).map(({ user }) => user);
      return !active.includes(gone) && remembered_user_count === active.length;
    }, "the end of users without a connection");
    expect([await known(here), await known(gone)]).toEqual([true, false]);
  });
});

test("TestMessageEditViews.test_good_json_no_channel: an edit changes the history and what is caught up with", async () => {
  const room = fresh("room");
  await rig.ok("POST", "/channel_config", { [room]: { store_history: true } });
  const id = await rig.connect(fresh("user"), [room]);
  const [sent] = await rig.send({ user: "system", channel: room, message: { text: "test" } });
  const edit = {
    uuid: sent?.uuid,
    user: "edited_system",
    channel: room,
    timestamp: "2010-01-01T01:01",
    edited: "2010-01-01T01:02",
    message: { text: "edited_message" },
  };
  const { list: answered } = await rig.ok("PATCH", "/message", [edit]);
  const [response] = list(answered);
  const same = {
    user: "edited_system",
    message: { text: "edited_message" },
    edited: response?.edited,
    timestamp: response?.timestamp,
  };
  expect(response).toMatchObject({ edited: "2010-01-01T01:02:00", timestamp: "2010-01-01T01:01:00" });
  expect(list((await rig.info(room)).history)[0]).toMatchObject(same);
  const [frame] = list(await (await fetch(`${rig.url}/listen?conn_id=${id}`)).json());
  expect(frame).toMatchObject({ ...same, type: "message", catchup: true });
});
