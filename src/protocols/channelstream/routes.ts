import { Rejection } from "../../auth/rejection.ts";
import type { Engine, Failure } from "./engine.ts";
import { invalid, ok, type Reply, rejected } from "./responses.ts";
import {
  createReadSubscribe,
  createReadUserState,
  DEFAULT_INFO,
  type Delivery,
  type MessageBody,
  readChannelConfigs,
  readConnect,
  readDeletes,
  readDisconnect,
  readEdits,
  readInfo,
  readMessages,
} from "./schemas.ts";
import { adminInfo, channelsInfo } from "./views.ts";

/** One call: its body as parsed JSON (`undefined`: none), and the query. */
export interface Asked {
  readonly body: unknown;
  readonly query: URLSearchParams;
}

export type Call = (asked: Asked) => Reply;

/** Who may call a route: a server (by signature), a client (by conn_id), the administrator (or a server). */
export type Access = "server" | "client" | "administrator";

export interface Route {
  readonly access: Access;
  readonly methods: Readonly<Record<string, Call>>;
  /** Whether the body may be missing. */
  readonly bodyOptional?: true;
}

/** The calls that answer at once: all but `/ws` and `/listen`. */
export function createCalls(engine: Engine, version: string): ReadonlyMap<string, Route> {
  const startedAt = performance.now();
  const readSubscribe = createReadSubscribe((id) => engine.listeners.has(id));
  const readUserState = createReadUserState((name) => engine.users.has(name));

  const connect: Call = ({ body }) => {
    const read = readConnect(body);
    if (!read.ok) return invalid(read.problems);
    const channels = [...read.value.channels].sort();
    const done = engine.connect({ ...read.value, channels });
    if (isFailure(done)) return failed(done);
    const { listener, user } = done;
    return ok({
      conn_id: listener.id,
      state: user.state,
      username: user.name,
      public_state: user.publicState,
      channels,
      channels_info: channelsInfo(engine, channels, read.value.info),
    });
  };

  const subscribe: Call = ({ body, query }) => {
    const read = readSubscribe(body, query.get("conn_id"));
    if (!read.ok) return invalid(read.problems);
    const listener = engine.listeners.get(read.value.conn_id);
    if (listener === undefined) return invalid({ conn_id: ["Unknown connection"] });
    const done = engine.subscribe(listener, read.value.channels, read.value.channel_configs);
    if (isFailure(done)) return failed(done);
    const channels = [...listener.channels].map(({ name }) => name).sort();
    const info = channelsInfo(engine, channels, read.value.info);
    return ok({ channels, channels_info: info, subscribed_to: [...done].sort() });
  };

  const unsubscribe: Call = ({ body, query }) => {
    const read = readSubscribe(body, query.get("conn_id"));
    if (!read.ok) return invalid(read.problems);
    const listener = engine.listeners.get(read.value.conn_id);
    if (listener === undefined) return invalid({ conn_id: ["Unknown connection"] });
    const done = engine.unsubscribe(listener, read.value.channels);
    const channels = [...listener.channels].map(({ name }) => name).sort();
    const info = channelsInfo(engine, channels, read.value.info);
    return ok({ channels, channels_info: info, unsubscribed_from: [...done].sort() });
  };

  const userState: Call = ({ body }) => {
    const read = readUserState(body);
    if (!read.ok) return invalid(read.problems);
    const user = engine.users.get(read.value.user);
    if (user === undefined) return invalid({ user: ["Unknown user"] });
    const changed = engine.changeState(user, read.value);
    if (isFailure(changed)) return failed(changed);
    return ok({ user_state: user.state, changed_state: changed, public_keys: user.publicKeys });
  };

  const send: Call = ({ body }) => {
    const read = readMessages(body);
    if (!read.ok) return invalid(read.problems);
    const accepted: unknown[] = [];
    for (const message of read.value) {
      if (message.channel === null && message.pm_users.length === 0) continue;
      const uuid = message.uuid ?? crypto.randomUUID();
      const timestamp = message.timestamp ?? engine.dispatch.timestamp();
      engine.dispatch.send(message, uuid, timestamp);
      accepted.push({ ...understood(message), uuid, timestamp, ...said(message), edited: null });
    }
    return ok(accepted);
  };

  const edit: Call = ({ body }) => {
    const read = readEdits(body);
    if (!read.ok) return invalid(read.problems);
    return ok(
      read.value.map((message) => {
        const edited = message.edited ?? engine.dispatch.timestamp();
        engine.dispatch.edit(message, edited);
        const { uuid, timestamp } = message;
        return {
          ...understood(message),
          uuid,
          ...(timestamp === null ? {} : { timestamp }),
          ...said(message),
          edited,
        };
      }),
    );
  };

  const remove: Call = ({ body }) => {
    const read = readDeletes(body);
    if (!read.ok) return invalid(read.problems);
    return ok(
      read.value.map((message) => {
        engine.dispatch.delete(message);
        return { ...understood(message), uuid: message.uuid };
      }),
    );
  };

  const configure: Call = ({ body }) => {
    const read = readChannelConfigs(body);
    if (!read.ok) return invalid(read.problems);
    const full = engine.configure(read.value);
    if (full !== null) return failed(full);
    const config = { ...DEFAULT_INFO, include_history: false, include_users: false };
    return ok(channelsInfo(engine, [...read.value.keys()], config));
  };

  const info: Call = ({ body }) => {
    if (body === undefined) return ok(channelsInfo(engine, null, DEFAULT_INFO));
    const read = readInfo(body);
    if (!read.ok) return invalid(read.problems);
    return ok(channelsInfo(engine, read.value.info.channels, read.value.info));
  };

  const disconnect = (body: unknown): Reply => {
    const read = readDisconnect(body);
    return read.ok ? ok(engine.disconnect(read.value.conn_id)) : invalid(read.problems);
  };

  const admin: Call = () => ok(adminInfo(engine, DEFAULT_INFO, startedAt, version));

  return new Map<string, Route>([
    ["/connect", { access: "server", methods: { POST: connect } }],
    ["/subscribe", { access: "server", methods: { POST: subscribe } }],
    ["/unsubscribe", { access: "server", methods: { POST: unsubscribe } }],
    ["/user_state", { access: "server", methods: { POST: userState } }],
    ["/message", { access: "server", methods: { POST: send, PATCH: edit, DELETE: remove } }],
    ["/channel_config", { access: "server", methods: { POST: configure } }],
    ["/info", { access: "server", methods: { POST: info, GET: info }, bodyOptional: true }],
    [
      "/disconnect",
      {
        access: "client",
        methods: {
          GET: ({ query }) => disconnect({ conn_id: query.get("conn_id") }),
          POST: ({ body }) => disconnect(body),
        },
      },
    ],
    [
      "/admin/admin.json",
      {
        access: "administrator",
        // A body is ignored.
        methods: { GET: admin, POST: admin },
        bodyOptional: true,
      },
    ],
  ]);
}

/** The delivery of a message, for the answer. */
function understood({ pm_users, exclude_users, channel, no_history }: Delivery) {
  return { pm_users, exclude_users, channel, no_history };
}

function said({ user, message }: Pick<MessageBody, "message"> & { readonly user: string | null }) {
  return { ...(user === null ? {} : { user }), ...(message === null ? {} : { message }) };
}

function isFailure(done: object): done is Failure {
  return "problems" in done || done instanceof Rejection;
}

function failed(why: Failure): Reply {
  return "problems" in why ? invalid(why.problems) : rejected(why);
}
