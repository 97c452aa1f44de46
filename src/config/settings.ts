import type { ApiKey, ChannelSettings, ChannelstreamSettings, Config, JwtSecret, Limits } from "./types.ts";
import {
  address,
  basePath,
  busPrefix,
  duration,
  host,
  hostName,
  httpAddress,
  type Kind,
  keySetAddress,
  list,
  oneOf,
  optional,
  originRule,
  redisAddress,
  seconds,
  secretList,
  secretText,
  size,
  text,
  textOrPath,
  toggle,
  whole,
} from "./value-types.ts";

/**
 * One thing that can be set. Its name in the table is the one in `Config`; from it come the TOML key (`max_frame`), the
 * environment variables (`LIMITS_MAX_FRAME`, `CHANNEL_LIMITS_MAX_FRAME`) and, where `flag` says so, the flag.
 */
export interface Setting<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  /** The default when the file is a tangram.toml. */
  readonly tangram?: T;
  /** Set by a flag too; the text stands for the value in `--help`. */
  readonly flag?: string;
  /** Never printed nor put in a message: all of it, or the password and query of an address. */
  readonly secret?: "all" | "address";
  /** The path of a file or folder: relative to the folder of the file that names it, else to the working directory. */
  readonly path?: "path" | "path or PEM";
  /** One sentence for the documentation. */
  readonly doc: string;
}

export type Table<T> = { readonly [K in keyof T]: Setting<T[K]> };

/** The keys at the top level as they are written, before `loadConfig` has made secrets and read keys. */
export type Top = Omit<
  Config,
  | "redisUrlGiven"
  | "jwtSecret"
  | "jwtSecretGenerated"
  | "jwtKid"
  | "olderJwtSecrets"
  | "adminSecret"
  | "adminSecretGenerated"
  | "olderAdminSecrets"
  | "tls"
  | "claims"
  | "limits"
  | "channels"
  | "channelstream"
  | "apiKeys"
> & {
  readonly jwtSecret: string | null;
  readonly jwtSecrets: readonly JwtSecret[] | null;
  readonly adminSecret: string | null;
  readonly adminSecrets: readonly JwtSecret[] | null;
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
};

const MS = 1;
const SECOND = 1000 * MS;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const CENTURY_SECS = 100 * 365 * 24 * 3600;

const anyText = text("text that is not empty");
const secret = optional(text("text that is not empty"));
const adminSecret = secretText(16);
const path = optional(text("the path of a file"));
const names = list(anyText, "a list of names, none of them empty");

export const TOP: Table<Top> = {
  host: {
    kind: host,
    default: "127.0.0.1",
    flag: "ADDRESS",
    doc: "The address to listen on; auto: all of them, or loopback alone while a secret is one known from examples.",
  },
  port: {
    kind: whole(0, 65535),
    default: 2025,
    tangram: 2347,
    flag: "PORT",
    doc: "The port to listen on; 0 picks a free one and prints it.",
  },
  basePath: { kind: basePath, default: "", doc: "A prefix of every route, for a place behind a proxy." },
  publicUrl: {
    kind: optional(httpAddress),
    default: null,
    doc: "The address that pages and printed links use; its host is the only name good in the Host header.",
  },
  redisUrl: {
    kind: redisAddress,
    default: "redis://127.0.0.1:6379",
    flag: "URL",
    secret: "address",
    doc: "The Redis server that backends publish on: redis, rediss, unix, redis+sentinel or redis+cluster.",
  },
  sentinelUsername: {
    kind: optional(anyText),
    default: null,
    doc: "How to sign in at Sentinels that want it; the user and password of redis_url are for Redis itself.",
  },
  sentinelPassword: { kind: secret, default: null, secret: "all", doc: "The password of the Sentinels." },
  prefix: {
    kind: busPrefix,
    default: "",
    flag: "TEXT",
    doc: "Added before each name and key in Redis, so that installations can share one: backends add it too.",
  },
  bus: {
    kind: oneOf("auto", "redis", "embedded"),
    default: "auto",
    flag: "auto|redis|embedded",
    doc: "Redis, the bus inside this process, or auto: that bus where no Redis is named and none answers.",
  },
  jwtSecret: {
    kind: secret,
    default: null,
    tangram: "secret",
    flag: "SECRET",
    secret: "all",
    doc: "Signs and checks tokens (HS256); without one, a random secret that lasts until the server stops.",
  },
  jwtSecrets: {
    kind: optional(secretList(anyText)),
    default: null,
    secret: "all",
    doc: "In place of jwt_secret, for replacing it: a list, the newest first, which signs; a token is good by any of them.",
  },
  jwtExpirationSecs: {
    kind: seconds(1, CENTURY_SECS),
    default: 259_200,
    tangram: 315_360_000,
    flag: "SECONDS",
    doc: "How long tokens made here are good.",
  },
  idLength: {
    kind: whole(4, 64),
    default: 8,
    flag: "LENGTH",
    doc: "Characters of the ids made here, of connections and of users without one.",
  },
  jwtPublicKey: {
    kind: optional(textOrPath("a public key as PEM text, or the path of a file that holds one")),
    default: null,
    path: "path or PEM",
    doc: "Checks tokens made elsewhere (RS256, ES256, EdDSA): PEM text, or the path of a file that holds it.",
  },
  jwksUrl: {
    kind: optional(keySetAddress),
    default: null,
    secret: "address",
    doc: "Where the set of keys lies that checks tokens made elsewhere.",
  },
  jwtIssuer: { kind: optional(anyText), default: null, doc: "What the claim iss of a token has to be." },
  jwtAudience: { kind: optional(anyText), default: null, doc: "What the claim aud of a token has to hold." },
  expiry: {
    kind: oneOf("close", "join"),
    default: "close",
    tangram: "join",
    doc: "Whether a token that runs out ends its memberships (close), or is looked at on joining only (join).",
  },
  tokenEndpoint: {
    kind: oneOf("open", "admin", "off"),
    default: "open",
    doc: "Who may have a token from POST /token: anyone, holders of the admin secret, nobody.",
  },
  tokenChannels: {
    kind: names,
    default: ["*"],
    doc: "The channels that POST /token gives tokens for; {id} stands for the id of the one who asks.",
  },
  tokenIds: {
    kind: oneOf("any", "own"),
    default: "any",
    doc: "Whether POST /token takes any id, or only one that an earlier token proves; that one limits the new token.",
  },
  adminSecret: {
    kind: optional(adminSecret),
    default: null,
    secret: "all",
    doc: "Opens the administration, 16 characters or more; without one, a sign-in link good once is printed at start.",
  },
  adminSecrets: {
    kind: optional(secretList(adminSecret)),
    default: null,
    secret: "all",
    doc: "In place of admin_secret, for replacing it: a list, the newest first; any of them opens the administration.",
  },
  allowedOrigins: {
    kind: originRule,
    default: "same-host",
    tangram: "*",
    doc: "The websites that may connect: those of the host asked for, all, or the origins listed.",
  },
  allowedHosts: {
    kind: optional(list(hostName, "a list of host names, without ports")),
    default: null,
    doc: "Names good in the Host header, beside that of public_url, IP addresses and loopback names.",
  },
  trustedProxies: {
    kind: list(address, "a list of IP addresses"),
    default: [],
    doc: "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; what they send without the former is not from this machine.",
  },
  tlsCert: { kind: path, default: null, path: "path", doc: "A certificate chain (PEM) to serve HTTPS with." },
  tlsKey: { kind: path, default: null, path: "path", doc: "The private key (PEM) of that certificate." },
  staticPath: {
    kind: optional(text("the path of a folder")),
    default: null,
    flag: "FOLDER",
    path: "path",
    doc: "A folder that is served instead of the pages inside the executable.",
  },
  groups: { kind: toggle, default: true, doc: "Whether event groups are served (AWX' protocol)." },
  datetime: { kind: toggle, default: true, doc: "Whether the channel system has its clock." },
  adminEvents: {
    kind: toggle,
    default: true,
    doc: "Whether backends are sent the events of the admin channel: channels that open and close, joins, leaves.",
  },
  presenceEvents: {
    kind: toggle,
    default: true,
    doc: "Whether backends are sent joins and leaves of each channel as presence_diff.",
  },
  presenceWindow: {
    kind: duration(0, 10 * SECOND),
    default: 50 * MS,
    doc: "How long joins and leaves of a channel are collected before they are told; in a storm up to a second.",
  },
  shutdownGrace: {
    kind: duration(0, 300 * SECOND),
    default: 5 * SECOND,
    doc: "The time over which a stopping server closes its connections.",
  },
  drainDelay: {
    kind: duration(0, 600 * SECOND),
    default: 0,
    doc: "How long a stopping server still listens while /ready says no.",
  },
  logLevel: {
    kind: oneOf("debug", "info", "warn", "error"),
    default: "info",
    flag: "debug|info|warn|error",
    doc: "The least that is logged.",
  },
  logFormat: { kind: oneOf("text", "json"), default: "text", flag: "text|json", doc: "How log lines look." },
};

export const CLAIMS: Table<Config["claims"]> = {
  id: {
    kind: text("the name of a claim"),
    default: "id",
    doc: "The claim that names the user; where a token lacks it, sub does.",
  },
  channels: {
    kind: text("the name of a claim"),
    default: "channels",
    doc: "The claim that lists channels, beside channel.",
  },
};

export const LIMITS: Table<Limits> = {
  maxFrame: {
    kind: size(256, 512 * MIB),
    default: MIB,
    doc: "A client's frame; a larger one closes with 1009.",
  },
  maxBody: { kind: size(256, 512 * MIB), default: MIB, doc: "The body of an HTTP request." },
  maxPayload: { kind: size(1, 512 * MIB), default: 4 * MIB, doc: "A message from a backend." },
  maxBuffered: {
    kind: size(1, 1024 * GIB),
    default: 512 * MIB,
    doc: "What may wait for all slow clients together; over it, the largest backlog goes first.",
  },
  maxBufferedPerClient: {
    kind: size(2, 2 * GIB),
    default: 64 * MIB,
    doc: "What may wait for one slow client; at least twice max_payload.",
  },
  maxChannels: { kind: whole(1, 1_000_000), default: 100, doc: "Channels that one socket may join." },
  maxSubscriptions: {
    kind: whole(1, 1_000_000),
    default: 1000,
    doc: "Event groups that one socket may follow.",
  },
  maxConnections: {
    kind: whole(1, 10_000_000),
    default: 100_000,
    doc: "Connections, at most 64 fewer than files may be open; one more is refused: 503.",
  },
  maxConnectionsPerIp: {
    kind: whole(1, 10_000_000),
    default: 5000,
    doc: "Connections of one address, those kept alive between requests too; loopback has no limit of its own.",
  },
  connectsPerSecondPerIp: {
    kind: whole(1, 1_000_000),
    default: 100,
    doc: "New connections and requests a second of one address, ten times that in a burst; loopback is exempt.",
  },
  framesPerSecond: {
    kind: whole(1, 1_000_000),
    default: 200,
    doc: "Frames a second that one socket may send, ten times that in a burst.",
  },
  bytesPerSecond: {
    kind: size(1, 64 * GIB),
    default: MIB,
    doc: "Bytes a second that one client may send, ten times that in a burst; over it, the connection ends.",
  },
  bytesPerSecondPerIp: {
    kind: size(1, 1024 * GIB),
    default: 4 * MIB,
    doc: "Bytes a second that all clients of one address may send, ten times that in a burst; loopback is exempt.",
  },
  maxInbound: {
    kind: size(1, 1024 * GIB),
    default: 32 * MIB,
    doc: "Bytes from all clients that are unfinished or wait; over it, the largest request is refused: 503.",
  },
  frameTimeout: {
    kind: duration(SECOND, 255 * SECOND),
    default: 10 * SECOND,
    doc: "The time within which the body of a request must be complete: 408.",
  },
  idleTimeout: {
    kind: duration(SECOND, 960 * SECOND),
    default: 60 * SECOND,
    doc: "A socket without a sign of life for so long is closed.",
  },
};

export const CHANNELSTREAM: Table<ChannelstreamSettings> = {
  secret: {
    kind: secret,
    default: null,
    secret: "all",
    doc: "Signs the calls of web applications; without one, Channelstream's protocol is off.",
  },
  allowPostingFrom: {
    kind: list(address, "a list of IP addresses"),
    default: ["127.0.0.1"],
    doc: "Addresses that signed calls may come from; 0.0.0.0 is any.",
  },
  validateRequests: {
    kind: toggle,
    default: true,
    doc: "Whether a signature is good for 60 seconds only.",
  },
  allowCors: {
    kind: list(anyText, "a list of host names"),
    default: [],
    doc: "Hosts whose pages may connect; where none is listed, allowed_origins says.",
  },
  enforceHttps: { kind: toggle, default: false, doc: "Whether calls over plain HTTP are refused." },
  wakeConnectionsAfter: {
    kind: duration(100 * MS, 240 * SECOND),
    default: 5 * SECOND,
    doc: "How long a long poll waits for its first message.",
  },
  gcConnsAfter: {
    kind: duration(SECOND, 3600 * SECOND),
    default: 15 * SECOND,
    doc: "How long a connection that nobody listens on is remembered.",
  },
  gcUsersAfter: {
    kind: duration(SECOND, 365 * 86_400 * SECOND),
    default: 86_400 * SECOND,
    doc: "How long a user without a connection is remembered.",
  },
  legacyDate: { kind: toggle, default: false, doc: "Whether messages have date beside timestamp." },
  maxUsers: {
    kind: whole(1, 10_000_000),
    default: 100_000,
    doc: "Users remembered; one more takes the place of the one longest inactive.",
  },
  maxChannels: {
    kind: whole(1, 10_000_000),
    default: 100_000,
    doc: "Channels kept with their settings and history; one more takes the place of one longest empty.",
  },
  maxHistory: { kind: whole(0, 1_000_000), default: 1000, doc: "Messages in the history of one channel." },
  maxUserState: { kind: size(0, 512 * MIB), default: 16 * KIB, doc: "The state of one user." },
  maxStored: {
    kind: size(1, 64 * GIB),
    default: 256 * MIB,
    doc: "All messages kept for history and catching up; over it, the oldest go first.",
  },
};

/** What stands under `[channels."<pattern>"]`. */
export const CHANNEL: Table<Omit<ChannelSettings, "pattern">> = {
  presence: { kind: toggle, default: true, doc: "Whether members are told who else is there." },
};

/** An entry of `[[api_keys]]` as it is written. */
export type WrittenApiKey = Omit<ApiKey, "keys"> & {
  readonly key: string;
  readonly keys: readonly JwtSecret[] | null;
};

/** What stands under each `[[api_keys]]`. */
export const API_KEY: Table<WrittenApiKey> = {
  name: {
    kind: text("a text"),
    default: "",
    doc: "What the audit log calls it.",
  },
  key: {
    kind: secretText(16),
    default: "",
    secret: "all",
    doc: "What the backend sends as Bearer.",
  },
  keys: {
    kind: optional(secretList(secretText(16))),
    default: null,
    secret: "all",
    doc: "In place of key, for replacing it: a list, the newest first; each is good.",
  },
  can: {
    kind: list(oneOf("publish", "read", "moderate"), 'a list of "publish", "read" and "moderate"'),
    default: [],
    doc: "Whether it may publish, read what the API and /metrics tell, and moderate: kick, disconnect, ban, revoke.",
  },
  channels: {
    kind: names,
    default: ["*"],
    doc: "The channels that it may do this with; a star at the end is a pattern.",
  },
};

/** The tables inside the file, by the name of their section; the top level has none. */
export const SECTIONS = { "": TOP, claims: CLAIMS, limits: LIMITS, channelstream: CHANNELSTREAM } as const;

/** `maxFrame` as it is written in a file: `max_frame`. */
export function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A key with its section, as messages and `channel config` name it: `limits.max_frame`. */
export function fullKey(section: string, name: string): string {
  return section === "" ? snake(name) : `${section}.${snake(name)}`;
}

/** The environment variable of a key, without the prefix `CHANNEL_`: `LIMITS_MAX_FRAME`. */
export function variable(key: string): string {
  return key.toUpperCase().replaceAll(".", "_");
}

/** The flag of a top-level key, without its dashes: `redis-url`. */
export function flagName(key: string): string {
  return key.replaceAll("_", "-");
}
