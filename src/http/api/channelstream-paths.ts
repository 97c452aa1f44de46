import { tooManyAttempts } from "../../auth/admin.ts";
import { Rejection } from "../../auth/rejection.ts";
import { VERSION } from "../../version.ts";
import { errorResponses } from "./error-responses.ts";
import { BODY_ERRORS, CREDENTIAL_ERRORS } from "./general-errors.ts";

/** OpenAPI descriptions of Channelstream's REST calls. Their own handlers validate the input. */

interface Call {
  readonly summary: string;
  readonly example?: unknown;
  /** What the call is answered with. */
  readonly answer: unknown;
  /** Calls from browsers need a conn_id and no signature. */
  readonly open?: true;
  readonly query?: Readonly<Record<string, string>>;
  /** Rejections that Channelstream itself does not have, besides those of any call. */
  readonly errors?: readonly Rejection[];
}

const CONN = "b5f5cf4e-2ddb-4f5e-9c1c-3a1d0b9e7b10";
const UUID = "0f8fad5b-d9cb-469f-a165-70867728950e";
const TIME = "2029-12-31T23:00:00.000000";

const SETTINGS = {
  notify_presence: true,
  store_history: true,
  history_size: 20,
  broadcast_presence_with_user_lists: false,
  notify_state: false,
  store_frames: true,
};

const PUBLISHED = {
  uuid: UUID,
  type: "message",
  channel: "pub_chan",
  user: "alice",
  message: { text: "hello" },
  timestamp: TIME,
  edited: null,
};

const KEPT = { pm_users: [], exclude_users: [], no_history: false, ...PUBLISHED, catchup: false };

function channel(name: string, history: readonly object[], users: readonly string[]): object {
  return {
    uuid: "839e3851-5ca8-47c7-b69d-1772e5d85645",
    name,
    long_name: null,
    settings: SETTINGS,
    history,
    last_active: TIME,
    total_connections: 1,
    total_users: users.length,
    users,
  };
}

const USERS = [{ user: "alice", state: { mood: "good" } }];
const NEW = channel("pub_chan", [], ["alice"]);
const PUB_CHAN = channel("pub_chan", [KEPT], ["alice"]);
const NEWS = channel("news", [], ["alice"]);

/** Of a message that was accepted. */
const ADDRESS = { pm_users: [], exclude_users: [], channel: "pub_chan", no_history: false, uuid: UUID };

const TOO_MANY_CHANNELS = new Rejection(
  503,
  "too_many_channels",
  "Channel limit of the server reached (channelstream.max_channels).",
);

const CONNECT_ERRORS: readonly Rejection[] = [
  new Rejection(403, "user_banned", "This user is banned."),
  new Rejection(
    503,
    "too_many_connections",
    "Connection limit of the server reached (limits.max_connections).",
  ),
  new Rejection(503, "too_many_users", "User limit of the server reached (channelstream.max_users)."),
  TOO_MANY_CHANNELS,
];

const CALLS: Readonly<Record<string, Readonly<Record<string, Call>>>> = {
  "/connect": {
    post: {
      summary: "Open a connection for a user",
      example: { username: "alice", conn_id: CONN, channels: ["pub_chan"], user_state: { mood: "good" } },
      answer: {
        conn_id: CONN,
        state: { mood: "good" },
        username: "alice",
        public_state: {},
        channels: ["pub_chan"],
        channels_info: { channels: { pub_chan: NEW }, users: USERS },
      },
      errors: CONNECT_ERRORS,
    },
  },
  "/subscribe": {
    post: {
      summary: "Subscribe a connection to channels",
      example: { conn_id: CONN, channels: ["news"] },
      answer: {
        channels: ["news", "pub_chan"],
        channels_info: { channels: { news: NEWS, pub_chan: NEW }, users: USERS },
        subscribed_to: ["news"],
      },
      errors: [TOO_MANY_CHANNELS],
    },
  },
  "/unsubscribe": {
    post: {
      summary: "Unsubscribe a connection from channels",
      example: { conn_id: CONN, channels: ["news"] },
      answer: {
        channels: ["pub_chan"],
        channels_info: { channels: { pub_chan: PUB_CHAN }, users: USERS },
        unsubscribed_from: ["news"],
      },
    },
  },
  "/user_state": {
    post: {
      summary: "Change the state of a user",
      example: { user: "alice", user_state: { mood: "better" } },
      answer: {
        user_state: { mood: "better" },
        changed_state: [{ key: "mood", value: "better" }],
        public_keys: [],
      },
    },
  },
  "/message": {
    post: {
      summary: "Send messages",
      example: [{ user: "alice", channel: "pub_chan", message: { text: "hello" } }],
      answer: [{ ...ADDRESS, timestamp: TIME, user: "alice", message: { text: "hello" }, edited: null }],
    },
    patch: {
      summary: "Edit messages",
      example: [{ uuid: UUID, channel: "pub_chan", message: { text: "hello again" } }],
      answer: [{ ...ADDRESS, message: { text: "hello again" }, edited: TIME }],
    },
    delete: {
      summary: "Delete messages",
      example: [{ uuid: UUID, channel: "pub_chan" }],
      answer: [ADDRESS],
    },
  },
  "/channel_config": {
    post: {
      summary: "Configure channels",
      example: { pub_chan: { notify_presence: true, store_history: true, history_size: 20 } },
      answer: { channels: { pub_chan: channel("pub_chan", [], []) }, users: [] },
      errors: [TOO_MANY_CHANNELS],
    },
  },
  "/info": {
    post: {
      summary: "Show channels and users",
      example: { info: { channels: ["pub_chan"] } },
      answer: { channels: { pub_chan: PUB_CHAN }, users: USERS },
    },
  },
  "/admin/admin.json": {
    get: {
      summary: "Counters, channels and users",
      answer: {
        remembered_user_count: 1,
        unique_user_count: 1,
        total_connections: 1,
        total_channels: 2,
        total_messages: 1,
        total_unique_messages: 1,
        channels: { pub_chan: PUB_CHAN, news: NEWS },
        users: [
          { user: "alice", uuid: "06eb1a40-89b7-4372-bdee-4c217864d6b5", state: {}, connections: [CONN] },
        ],
        uptime: "1 day, 2:03:04",
        version: VERSION,
      },
      errors: CREDENTIAL_ERRORS,
    },
  },
  "/listen": {
    get: {
      summary: "Wait for messages",
      open: true,
      query: { conn_id: CONN, callback: "" },
      answer: [{ ...PUBLISHED, catchup: true }],
    },
  },
  "/disconnect": { get: { summary: "End a connection", open: true, query: { conn_id: CONN }, answer: true } },
};

/** Errors in Channelstream's own forms, by status, without codes. */
const OWN_ERRORS = {
  signed: {
    401: { request: "Bad Signature" },
    422: { username: ["Missing data for required field."] },
  },
  open: { 422: ["Wrong UUID format"] },
} as const;

function describe(path: string, method: string, call: Call): object {
  const { summary, example, answer, open, query = {}, errors = [] } = call;
  const own = open ? OWN_ERRORS.open : OWN_ERRORS.signed;
  const codes = errorResponses([
    ...(errors === CREDENTIAL_ERRORS ? [] : [tooManyAttempts(2)]),
    ...(example === undefined ? [] : BODY_ERRORS),
    ...errors,
  ]);
  return {
    operationId: `channelstream${method}${path.replace(/\W+/g, "_")}`,
    tags: ["Channelstream"],
    summary,
    description: "Errors that Channelstream has keep its own forms, without a code.",
    security: open ? [] : [{ signature: [] }],
    parameters: Object.entries(query).map(([name, value]) => ({
      name,
      in: "query",
      required: name === "conn_id",
      schema: { type: "string" },
      ...(value === "" ? {} : { example: value }),
    })),
    ...(example === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: {}, example } } } }),
    responses: {
      200: { description: "Done", content: { "application/json": { schema: {}, example: answer } } },
      ...Object.fromEntries(
        Object.entries(own).map(([status, example]) => [
          status,
          { description: "As Channelstream", content: { "application/json": { schema: {}, example } } },
        ]),
      ),
      ...codes,
    },
  };
}

export const CHANNELSTREAM_PATHS: Readonly<Record<string, object>> = Object.fromEntries(
  Object.entries(CALLS).map(([path, calls]) => [
    path,
    Object.fromEntries(Object.entries(calls).map(([method, call]) => [method, describe(path, method, call)])),
  ]),
);
