/** OpenAPI descriptions of Channelstream's REST calls. Their own handlers validate the input. */

interface Call {
  readonly summary: string;
  readonly example?: unknown;
  /** Calls from browsers need a conn_id and no signature. */
  readonly open?: true;
  readonly query?: readonly string[];
}

const CONN = "b5f5cf4e-2ddb-4f5e-9c1c-3a1d0b9e7b10";
const UUID = "0f8fad5b-d9cb-469f-a165-70867728950e";

const CALLS: Readonly<Record<string, Readonly<Record<string, Call>>>> = {
  "/connect": {
    post: {
      summary: "Open a connection for a user",
      example: { username: "alice", conn_id: CONN, channels: ["pub_chan"], user_state: { mood: "good" } },
    },
  },
  "/subscribe": {
    post: { summary: "Subscribe a connection to channels", example: { conn_id: CONN, channels: ["news"] } },
  },
  "/unsubscribe": {
    post: {
      summary: "Unsubscribe a connection from channels",
      example: { conn_id: CONN, channels: ["news"] },
    },
  },
  "/user_state": {
    post: {
      summary: "Change the state of a user",
      example: { user: "alice", user_state: { mood: "better" } },
    },
  },
  "/message": {
    post: {
      summary: "Send messages",
      example: [{ user: "alice", channel: "pub_chan", message: { text: "hello" } }],
    },
    patch: {
      summary: "Edit messages",
      example: [{ uuid: UUID, channel: "pub_chan", message: { text: "hello again" } }],
    },
    delete: { summary: "Delete messages", example: [{ uuid: UUID, channel: "pub_chan" }] },
  },
  "/channel_config": {
    post: {
      summary: "Configure channels",
      example: { pub_chan: { notify_presence: true, store_history: true, history_size: 20 } },
    },
  },
  "/info": { post: { summary: "Show channels and users", example: { info: { channels: ["pub_chan"] } } } },
  "/admin/admin.json": { get: { summary: "Counters, channels and users" } },
  "/listen": { get: { summary: "Wait for messages", open: true, query: ["conn_id", "callback"] } },
  "/disconnect": { get: { summary: "End a connection", open: true, query: ["conn_id"] } },
};

function describe(path: string, method: string, { summary, example, open, query = [] }: Call): object {
  return {
    operationId: `channelstream${method}${path.replace(/\W+/g, "_")}`,
    tags: ["Channelstream"],
    summary,
    security: open ? [] : [{ signature: [] }],
    parameters: query.map((name) => ({
      name,
      in: "query",
      required: name === "conn_id",
      schema: { type: "string" },
    })),
    ...(example === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: {}, example } } } }),
    responses: { 200: { description: "Done", content: { "application/json": { schema: {} } } } },
  };
}

export const CHANNELSTREAM_PATHS: Readonly<Record<string, object>> = Object.fromEntries(
  Object.entries(CALLS).map(([path, calls]) => [
    path,
    Object.fromEntries(Object.entries(calls).map(([method, call]) => [method, describe(path, method, call)])),
  ]),
);
