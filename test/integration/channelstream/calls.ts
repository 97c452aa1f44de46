/** One call to both servers. The calls follow each other: each finds what the ones before it left. */
export interface Comparison {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  /** The body as it is. */
  readonly raw?: string;
  /** `null`: unsigned; a text: in place of a good signature. */
  readonly signature?: string | null;
  /** Where we answer otherwise on purpose: how, and why. */
  readonly ours?: { readonly status: number; readonly body?: unknown; readonly why: string };
}

const A = "00000000-0000-4000-8000-00000000000a";
const B = "00000000-0000-4000-8000-00000000000b";
const C = "00000000-0000-4000-8000-00000000000c";
const NOBODY = "00000000-0000-4000-8000-0000000000ff";
const M1 = "10000000-0000-4000-8000-000000000001";
const M2 = "10000000-0000-4000-8000-000000000002";
const M3 = "10000000-0000-4000-8000-000000000003";

const NO_INPUT = { _schema: ["Invalid input type."] };

const CONFIG = {
  notify_presence: true,
  store_history: true,
  history_size: 3,
  broadcast_presence_with_user_lists: true,
  notify_state: true,
};

function post(path: string, ...bodies: readonly unknown[]): Comparison[] {
  return bodies.map((body) => ({ method: "POST", path, body }));
}

function messages(method: string, ...bodies: readonly unknown[]): Comparison[] {
  return bodies.map((body) => ({ method, path: "/message", body }));
}

/** A call that Channelstream answers with a 500. */
function crash(method: string, path: string, body: unknown, status: number, answer?: unknown): Comparison {
  return {
    method,
    path,
    body,
    ours: { status, ...(answer === undefined ? {} : { body: answer }), why: "a 500 there" },
  };
}

function info(config: unknown): Comparison {
  return { method: "POST", path: "/info", body: { info: config } };
}

const connecting: Comparison[] = [
  ...post(
    "/connect",
    { username: "ann", conn_id: A, channels: ["b", "a", "a"] },
    {
      username: "bob",
      conn_id: B,
      channels: ["a", "room"],
      fresh_user_state: { status: "active", private: "p", bar: 1, flag: true, ratio: 1.5, none: null },
      user_state: { bar: 2 },
      state_public_keys: ["status", "bar", "color"],
      channel_configs: { a: CONFIG, room: CONFIG },
      info: { return_public_state: true },
    },
    // Known by now: the fresh state is not looked at, left out public keys are none.
    { username: "bob", conn_id: C, channels: ["room"], fresh_user_state: { status: "new" } },
    {},
    [],
    5,
    "text",
    { username: null },
    { username: "" },
    { username: 5 },
    { username: ["ann"] },
    { username: "x".repeat(513) },
    { username: "x", conn_id: "no uuid" },
    { username: "x", conn_id: 5 },
    { username: "x", conn_id: null },
    { username: "x", conn_id: [] },
    { username: "x", conn_id: "" },
    { username: "x", channels: null },
    { username: "x", channels: "abc" },
    { username: "x", channels: { a: 1 } },
    { username: "x", channels: 7 },
    { username: "x", channels: ["", 5, null, "y".repeat(257)] },
    { username: "x", channel_configs: null },
    { username: "x", channel_configs: [] },
    {
      username: "x",
      channel_configs: {
        x: 5,
        y: null,
        z: { history_size: -1, notify_presence: "maybe" },
        w: { history_size: "7", store_history: "yes" },
        v: { history_size: null, notify_state: 1 },
      },
    },
    { username: "x", state_public_keys: null },
    { username: "x", state_public_keys: "x" },
    { username: "x", state_public_keys: ["", 5] },
    { username: "x", user_state: 5 },
    { username: "x", user_state: null },
    { username: "x", user_state: { k: [1], j: { a: 1 }, n: null } },
    { username: "x", fresh_user_state: { k: [1] } },
    { username: "x", info: 5 },
    { username: "x", info: null },
    { username: "x", info: [] },
    {
      username: "x",
      info: {
        include_history: "x",
        include_users: null,
        channels: 5,
        exclude_channels: ["", 5],
        include_connections: "y",
        return_public_state: [],
      },
    },
    { username: 5, conn_id: "zz", channels: 3 },
  ),
  { method: "POST", path: "/connect", raw: "{no", ours: { status: 400, why: "a 500 there" } },
  { method: "POST", path: "/connect", raw: "", ours: { status: 400, why: "a 500 there" } },
  {
    method: "POST",
    path: "/connect",
    raw: "null",
    ours: { status: 422, body: NO_INPUT, why: "a 500 there" },
  },
  { method: "GET", path: "/connect", ours: { status: 405, why: "a wrong method is a 404 there" } },
  { method: "POST", path: "/connect", body: { username: "x" }, signature: null },
  { method: "POST", path: "/connect", body: { username: "x" }, signature: "" },
  { method: "POST", path: "/connect", body: { username: "x" }, signature: "bad" },
  { method: "POST", path: "/connect?secret=bad", body: { username: "x" }, signature: null },
];

const subscribing: Comparison[] = ["/subscribe", "/unsubscribe"].flatMap((path) => [
  ...post(
    path,
    { conn_id: A, channels: ["new", "a"], channel_configs: { new: CONFIG, a: {} } },
    { conn_id: A, channels: ["nowhere"], info: { include_history: false, include_users: false } },
    {},
    { conn_id: NOBODY, channels: ["x"] },
    { conn_id: A, channels: [] },
    { conn_id: A, channels: null },
    { conn_id: "z", channels: [""] },
    { conn_id: null, channels: ["x"] },
    { conn_id: 5, channels: 5 },
    { conn_id: A, channels: ["q"], info: 3, channel_configs: 4 },
  ),
  crash("POST", path, [], 422, NO_INPUT),
  { method: "POST", path: `${path}?conn_id=${A}`, body: { channels: ["by-query"] } },
  { method: "POST", path: `${path}?conn_id=${NOBODY}`, body: { conn_id: A, channels: ["by-body"] } },
]);

const states = post(
  "/user_state",
  { user: "bob", user_state: { bar: 3, color: "red", private: null } },
  { user: "bob", user_state: { bar: 3 }, state_public_keys: ["color"] },
  { user: "bob", user_state: {}, state_public_keys: [] },
  { user: "bob", state_public_keys: null, user_state: { k: 1.5 } },
  { user: "bob", user_state: { "": 1 } },
  {},
  [],
  { user: "nobody" },
  { user: "" },
  { user: 5 },
  { user: null },
  { user: "bob", user_state: 5 },
  { user: "bob", user_state: { k: [], z: 1 } },
  { user: "bob", state_public_keys: 5 },
);

const sending: Comparison[] = [
  ...messages(
    "POST",
    [],
    [{ user: "ann", channel: "room", uuid: M1, message: { text: "one" } }],
    [{ user: "ann", channel: "room", uuid: M2, message: { text: "two" }, pm_users: ["bob"], no_history: 1 }],
    [{ user: "ann", channel: "room", uuid: M3, exclude_users: ["bob"] }],
    [
      { user: "ann", pm_users: ["bob", "nobody"], message: {} },
      { user: "ann" },
      { user: "ann", channel: "unopened" },
    ],
    [
      {
        user: "ann",
        channel: "room",
        foo: "bar",
        type: "other",
        edited: "x",
        catchup: 5,
        message: { deep: [{ a: 1 }] },
      },
    ],
    [{ user: "ann", channel: "room", timestamp: "2010-01-01T01:01" }],
    [{ user: "ann", channel: "room", timestamp: "2010-01-01 01:01:02.123456789" }],
    [{ user: "ann", channel: "room", uuid: "{10000000-0000-4000-8000-0000000000AB}" }],
    {},
    5,
    [5],
    [[1]],
    [{}],
    [{ user: null }],
    [{ user: 5 }],
    [{ user: "", channel: 5 }],
    [{ user: "u", channel: null }],
    [{ user: "u", channel: "" }],
    [{ user: "u", channel: "x".repeat(257) }],
    [{ user: "u", channel: "room", message: null }],
    [{ user: "u", channel: "room", message: "text" }],
    [{ user: "u", channel: "room", message: [] }],
    [{ user: "u", channel: "room", pm_users: null }],
    [{ user: "u", channel: "room", pm_users: "a" }],
    [{ user: "u", channel: "room", pm_users: ["", 5, null] }],
    [{ user: "u", channel: "room", exclude_users: [5] }],
    [{ user: "u", channel: "room", no_history: "x" }],
    [{ user: "u", channel: "room", no_history: null }],
    [{ user: "u", channel: "room", uuid: "z" }],
    [{ user: "u", channel: "room", uuid: null }],
    [{ user: "u", channel: "room", timestamp: "z" }],
    [{ user: "u", channel: "room", timestamp: null }],
    [{ user: "u", channel: "room", timestamp: 5 }],
    [{ user: "u", channel: "room", timestamp: "2010-13-01T01:01" }],
    [{ user: "u", channel: "room" }, { user: 5 }],
  ),
  crash("POST", "/message", [null], 422),
  info({ channels: ["room"] }),
  ...messages(
    "PATCH",
    [],
    {},
    [5],
    [{}],
    [{ uuid: M1, channel: "room", message: { text: "changed" }, user: "editor" }],
    [{ uuid: M1, channel: "room", timestamp: "2010-01-01T01:01", edited: "2010-01-01T01:02:03" }],
    [{ uuid: NOBODY, channel: "room" }],
    [{ uuid: M1 }],
    [{ uuid: null }],
    [{ uuid: "z", channel: "room" }],
    [{ uuid: M1, channel: "room", message: 5 }],
    [{ uuid: M1, channel: "room", user: null, timestamp: "z", edited: "z" }],
    [{ uuid: M1, channel: "room", edited: null, pm_users: 5, exclude_users: [5], no_history: "x" }],
  ),
  info({ channels: ["room"] }),
  ...messages(
    "DELETE",
    [],
    {},
    [5],
    [{}],
    [{ uuid: M1, channel: "room", user: 5 }],
    [{ uuid: NOBODY, channel: "room" }],
  ),
  ...messages("DELETE", [{ uuid: M3 }], [{ uuid: "z" }], [{ uuid: null, pm_users: ["", 5] }]),
  info({ channels: ["room"] }),
];

const configuring: Comparison[] = [
  ...post(
    "/channel_config",
    {},
    { made: CONFIG, room: { history_size: 1, store_history: true } },
    { made: {} },
    { made: null },
    { made: { history_size: 5.7 } },
    { made: { history_size: true } },
    { made: { history_size: 5, store_history: 1, notify_state: "True", notify_presence: "t" } },
    { made: 5 },
    { made: {}, other: 5 },
    { made: { history_size: "5.5" } },
    {
      made: {
        notify_presence: "x",
        store_history: null,
        history_size: "x",
        broadcast_presence_with_user_lists: 5,
        notify_state: [],
        store_frames: {},
      },
    },
  ),
  crash("POST", "/channel_config", [], 422, NO_INPUT),
  crash("POST", "/channel_config", 5, 422, NO_INPUT),
];

const looking: Comparison[] = [
  { method: "GET", path: "/info" },
  { method: "POST", path: "/info" },
  ...post("/info", {}, [], 5, { info: null }, { info: 5 }),
  info({}),
  info({ channels: [] }),
  info({ channels: ["room", "nowhere"], include_history: false }),
  info({ channels: ["room", "a"], exclude_channels: ["a"], return_public_state: true }),
  info({ channels: ["room"], include_users: false }),
  info({ channels: [5], exclude_channels: "x", include_history: 5 }),
  { method: "GET", path: "/admin/admin.json" },
  { method: "POST", path: "/admin/admin.json" },
];

const leaving: Comparison[] = [
  { method: "GET", path: "/disconnect", signature: null },
  { method: "GET", path: "/disconnect?conn_id=", signature: null },
  { method: "GET", path: "/disconnect?conn_id=zz", signature: null },
  { method: "GET", path: `/disconnect?conn_id=${NOBODY}`, signature: null },
  { method: "POST", path: "/disconnect", body: {}, signature: null },
  { method: "POST", path: "/disconnect", body: { conn_id: null }, signature: null },
  { method: "POST", path: "/disconnect", body: { conn_id: 5 }, signature: null },
  { method: "POST", path: "/disconnect", body: { conn_id: NOBODY }, signature: null },
  { method: "GET", path: `/disconnect?secret=bad&conn_id=${A}`, signature: null },
  { method: "GET", path: "/listen?conn_id=", signature: null },
  { method: "GET", path: "/listen?conn_id=zz", signature: null },
  { method: "GET", path: `/listen?conn_id=${NOBODY}`, signature: null },
  { method: "GET", path: `/listen?secret=bad&conn_id=${A}`, signature: null },
  {
    method: "GET",
    path: "/listen",
    signature: null,
    ours: { status: 422, body: ["Wrong UUID format"], why: "a 500 there" },
  },
  crash("POST", "/disconnect", [], 422, NO_INPUT),
  { method: "GET", path: `/disconnect?conn_id=${A}`, signature: null },
  { method: "POST", path: "/disconnect", body: { conn_id: B }, signature: null },
];

export const CALLS: readonly Comparison[] = [
  ...connecting,
  ...subscribing,
  ...states,
  ...sending,
  ...configuring,
  ...looking,
  ...leaving,
];
