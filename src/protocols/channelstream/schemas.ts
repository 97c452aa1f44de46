import type { JsonObject } from "../../auth/json-object.ts";
import {
  bad,
  bodyList,
  checked,
  count,
  type Field,
  flag,
  good,
  type Key,
  listOf,
  mapOf,
  mapping,
  nested,
  nullable,
  objectOf,
  optional,
  type Problems,
  type Read,
  required,
  text,
  timestamp,
  uuid,
} from "./fields.ts";
import { isNumber, isRecord, type NumberLike } from "./parse-json.ts";

/** The longest names of channels and users, in characters. */
const MAX_CHANNEL = 256;
const MAX_USER = 512;

const channelName = text(1, MAX_CHANNEL);
const userName = text(1, MAX_USER);

/** One value of a user's state. */
export type StateValue = string | NumberLike | boolean | null;
export type State = ReadonlyMap<string, StateValue>;

/** The settings of a channel; the names are the protocol's own. */
export interface ChannelConfig {
  readonly notify_presence: boolean;
  readonly store_history: boolean;
  readonly history_size: number;
  readonly broadcast_presence_with_user_lists: boolean;
  readonly notify_state: boolean;
  readonly store_frames: boolean;
}

export const DEFAULT_CHANNEL_CONFIG: ChannelConfig = {
  notify_presence: false,
  store_history: false,
  history_size: 10,
  broadcast_presence_with_user_lists: false,
  notify_state: false,
  store_frames: true,
};

/** What an answer contains about channels and users. */
export interface InfoConfig {
  readonly include_history: boolean;
  readonly include_users: boolean;
  /** Only these; `null`: all. Used by `/info` alone. */
  readonly channels: readonly string[] | null;
  readonly exclude_channels: readonly string[];
  /** Checked as Channelstream does; without effect, as there. */
  readonly include_connections: boolean;
  readonly return_public_state: boolean;
}

export const DEFAULT_INFO: InfoConfig = {
  include_history: true,
  include_users: true,
  channels: null,
  exclude_channels: [],
  include_connections: false,
  return_public_state: false,
};

export interface Connect {
  readonly username: string;
  /** `null`: a new one. */
  readonly conn_id: string | null;
  readonly channels: readonly string[];
  readonly state_public_keys: readonly string[];
  readonly fresh_user_state: State;
  readonly user_state: State;
  readonly channel_configs: ReadonlyMap<string, ChannelConfig>;
  readonly info: InfoConfig;
}

export interface Subscribe {
  readonly conn_id: string;
  readonly channels: readonly string[];
  readonly info: InfoConfig;
  readonly channel_configs: ReadonlyMap<string, ChannelConfig>;
}

export interface UserState {
  readonly user: string;
  readonly user_state: State;
  /** `null`: unchanged. */
  readonly state_public_keys: readonly string[] | null;
}

/** The recipients of a message. */
export interface Delivery {
  readonly pm_users: readonly string[];
  readonly exclude_users: readonly string[];
  readonly channel: string | null;
  readonly no_history: boolean;
}

export interface MessageBody extends Delivery {
  /** `null`: a new one; the same for `timestamp`. */
  readonly uuid: string | null;
  readonly timestamp: string | null;
  readonly user: string;
  readonly message: JsonObject | null;
}

export interface EditBody extends Delivery {
  readonly uuid: string;
  readonly timestamp: string | null;
  readonly user: string | null;
  readonly message: JsonObject | null;
  readonly edited: string | null;
}

export interface DeleteBody extends Delivery {
  readonly uuid: string;
}

function defaulted<T>(field: Field<T>, value: T): Key<T> {
  return optional(field, () => value);
}

/** A key that may be left out, but must not be `null`. */
function leftOut<T>(field: Field<T>): Key<T | null> {
  return optional<T | null>(field, () => null);
}

const channelConfig: Field<ChannelConfig> = objectOf({
  notify_presence: defaulted(flag, DEFAULT_CHANNEL_CONFIG.notify_presence),
  store_history: defaulted(flag, DEFAULT_CHANNEL_CONFIG.store_history),
  history_size: defaulted(count(0), DEFAULT_CHANNEL_CONFIG.history_size),
  broadcast_presence_with_user_lists: defaulted(
    flag,
    DEFAULT_CHANNEL_CONFIG.broadcast_presence_with_user_lists,
  ),
  notify_state: defaulted(flag, DEFAULT_CHANNEL_CONFIG.notify_state),
  store_frames: defaulted(flag, DEFAULT_CHANNEL_CONFIG.store_frames),
});

const info: Field<InfoConfig> = objectOf<InfoConfig>({
  include_history: defaulted(flag, true),
  include_users: defaulted(flag, true),
  channels: leftOut(listOf(channelName)),
  exclude_channels: defaulted(listOf(channelName), []),
  include_connections: defaulted(flag, false),
  return_public_state: defaulted(flag, false),
});

const stateValue: Field<StateValue> = (value) =>
  value === null || typeof value === "string" || typeof value === "boolean" || isNumber(value)
    ? good(value)
    : bad("Value is not type of string, integer, boolean or float.");

const publicKeys = listOf(text(1, 256));
const NO_STATE: State = new Map();
const NO_CONFIGS: ReadonlyMap<string, ChannelConfig> = new Map();

export const readConnect: Field<Connect> = objectOf<Connect>({
  username: required(userName),
  conn_id: leftOut(uuid),
  channels: defaulted(listOf(channelName), []),
  state_public_keys: defaulted(publicKeys, []),
  fresh_user_state: defaulted(mapOf(stateValue), NO_STATE),
  user_state: defaulted(mapOf(stateValue), NO_STATE),
  channel_configs: defaulted(mapOf(nested(channelConfig)), NO_CONFIGS),
  info: defaulted(nested(info), DEFAULT_INFO),
});

/** `/subscribe` and `/unsubscribe`: the conn_id may be in the query instead. */
export function createReadSubscribe(isConnection: (id: string) => boolean) {
  const read = objectOf<Subscribe>({
    conn_id: required(checked(uuid, (id) => (isConnection(id) ? null : "Unknown connection"))),
    channels: required(
      checked(listOf(channelName), ({ length }) => (length > 0 ? null : "Shorter than minimum length 1.")),
    ),
    info: defaulted(nested(info), DEFAULT_INFO),
    channel_configs: defaulted(mapOf(nested(channelConfig)), NO_CONFIGS),
  });
  return (body: unknown, idInQuery: string | null): Read<Subscribe> =>
    read(isRecord(body) && !Object.hasOwn(body, "conn_id") ? { ...body, conn_id: idInQuery } : body);
}

export function createReadUserState(isUser: (name: string) => boolean): Field<UserState> {
  const unknown = "Unknown user";
  const known: Field<string> = (value) => {
    const name = userName(value);
    if (typeof value !== "string" || isUser(value)) return name;
    // Channelstream checks both rules, and reports both problems.
    return name.ok || !Array.isArray(name.problems) ? bad(unknown) : bad(...name.problems, unknown);
  };
  return objectOf<UserState>({
    user: required(known),
    user_state: defaulted(mapOf(stateValue), NO_STATE),
    state_public_keys: defaulted(nullable(publicKeys), null),
  });
}

const delivery = {
  pm_users: defaulted(listOf(userName), []),
  exclude_users: defaulted(listOf(userName), []),
  channel: defaulted(nullable(channelName), null),
  no_history: defaulted(flag, false),
};

export const readMessages: Field<readonly MessageBody[]> = bodyList(
  objectOf<MessageBody>({
    ...delivery,
    uuid: leftOut(uuid),
    timestamp: leftOut(timestamp),
    user: required(userName),
    message: leftOut(mapping),
  }),
);

export const readEdits: Field<readonly EditBody[]> = bodyList(
  objectOf<EditBody>({
    ...delivery,
    uuid: required(uuid),
    timestamp: leftOut(timestamp),
    user: leftOut(userName),
    message: leftOut(mapping),
    edited: leftOut(timestamp),
  }),
);

export const readDeletes: Field<readonly DeleteBody[]> = bodyList(
  objectOf<DeleteBody>({ ...delivery, uuid: required(uuid) }),
);

/** `/disconnect`. A missing conn_id is the same as `null`. */
export const readDisconnect: Field<{ readonly conn_id: string }> = (body) =>
  objectOf({ conn_id: required(uuid) })(
    isRecord(body) && !Object.hasOwn(body, "conn_id") ? { conn_id: null } : body,
  );

/** `/channel_config`. Reports the problems of the first invalid config, without its channel's name, as Channelstream does. */
export const readChannelConfigs: Field<ReadonlyMap<string, ChannelConfig>> = (body) => {
  if (!isRecord(body)) return { ok: false, problems: { _schema: ["Invalid input type."] } };
  const configs = new Map<string, ChannelConfig>();
  for (const [name, given] of Object.entries(body)) {
    const named = channelName(name);
    if (!named.ok) return { ok: false, problems: Object.fromEntries([[name, named.problems]]) };
    const config = channelConfig(given ?? {});
    if (!config.ok) return config;
    configs.set(name, config.value);
  }
  return good(configs);
};

/** `/info` with a body. */
export const readInfo: Field<{ readonly info: InfoConfig }> = (body) => {
  const problems: Problems = { _schema: ["Invalid type."] };
  return isRecord(body) ? objectOf({ info: required(nested(info)) })(body) : { ok: false, problems };
};
