import type { ApiKey, ChannelSettings, ChannelstreamSettings, Config, JwtSecret, Limits } from "./types.ts";
import {
  address,
  amqpAddress,
  basePath,
  bool,
  boolOr,
  busPrefix,
  callTarget,
  duration,
  eventPattern,
  exchangeName,
  forwardedHeader,
  hookAddress,
  host,
  hostName,
  httpAddress,
  integer,
  integerOr,
  keySetAddress,
  list,
  nodeName,
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
  type ValueType,
} from "./value-types.ts";
import { WEBHOOK_EVENTS } from "./webhook-events.ts";

/**
 * One setting. Its name in the table is its name in `Config`; the TOML key (`max_frame`), the environment variables
 * (`LIMITS_MAX_FRAME`, `CHANNEL_LIMITS_MAX_FRAME`) and the flag, if `flag` is set, are derived from it.
 */
export interface Setting<T> {
  readonly type: ValueType<T>;
  readonly default: T;
  /** Default in a tangram.toml, if it differs. */
  readonly tangram?: T;
  /** The setting also has a flag; this is its value in `--help`. */
  readonly flag?: string;
  /** Masked in all output: the whole value, or the password and query of an address. */
  readonly secret?: "all" | "address";
  /** A path: relative to the configuration file that sets it, else to the working directory. */
  readonly path?: "path" | "path or PEM";
  /** One sentence for the documentation. */
  readonly doc: string;
}

export type Table<T> = { readonly [K in keyof T]: Setting<T[K]> };

/** The top-level keys as written, before `loadConfig` generates secrets and reads key files. */
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
  | "fleetSecrets"
> & {
  readonly jwtSecret: string | null;
  readonly jwtSecrets: readonly JwtSecret[] | null;
  readonly adminSecret: string | null;
  readonly adminSecrets: readonly JwtSecret[] | null;
  readonly fleetSecret: string | null;
  readonly fleetSecrets: readonly JwtSecret[] | null;
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
};

const MS = 1;
const SECOND = 1000 * MS;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** The most processes of one machine. */
export const MAX_WORKERS = 64;

const CENTURY_SECS = 100 * 365 * 24 * 3600;

const anyText = text("text that is not empty");
const secret = optional(text("text that is not empty"));
const adminSecret = secretText(16);
const path = optional(text("the path of a file"));
const names = list(anyText, "a list of names, none of them empty");

export const TOP: Table<Top> = {
  host: {
    type: host,
    default: "127.0.0.1",
    flag: "ADDRESS",
    doc: "Address to listen on; auto: all addresses, or loopback only while a secret is known from examples.",
  },
  port: {
    type: integer(0, 65535),
    default: 2025,
    tangram: 2347,
    flag: "PORT",
    doc: "Port to listen on; 0 picks a free port and logs it.",
  },
  basePath: { type: basePath, default: "", doc: "Path prefix of all routes, for use behind a proxy." },
  publicUrl: {
    type: optional(httpAddress),
    default: null,
    doc: "Address used in pages and printed links; its host becomes the only name accepted in the Host header.",
  },
  redisUrl: {
    type: redisAddress,
    default: "redis://127.0.0.1:6379",
    flag: "URL",
    secret: "address",
    doc: "Redis server that backends publish on: redis, rediss, unix, redis+sentinel or redis+cluster.",
  },
  sentinelUsername: {
    type: optional(anyText),
    default: null,
    doc: "User name for Sentinels; the user and password of redis_url are for Redis itself.",
  },
  sentinelPassword: { type: secret, default: null, secret: "all", doc: "Password for Sentinels." },
  prefix: {
    type: busPrefix,
    default: "",
    flag: "TEXT",
    doc: "Prefix of all names and keys in Redis, so that installations can share one; backends must add it too.",
  },
  nodeName: {
    type: optional(nodeName),
    default: null,
    doc: "Name of this server among those on one Redis, for people. Default: the host name.",
  },
  workers: {
    type: integerOr("auto", 1, MAX_WORKERS),
    default: 1,
    flag: "N|auto",
    doc: "Processes that serve on one port, so that several cores are used; auto: one for each core. More than one needs a Redis.",
  },
  nodeUrl: {
    type: optional(httpAddress),
    default: null,
    doc: "Address at which the other servers on one Redis reach this one; they forward long polls of its clients to it.",
  },
  nodeUrls: {
    type: list(httpAddress, "a list of addresses such as http://10.0.0.5:2025"),
    default: [],
    doc: "The node_url of each server that long polls may be forwarded to; other servers get none.",
  },
  bus: {
    type: oneOf("auto", "redis", "amqp", "embedded"),
    default: "auto",
    flag: "auto|redis|amqp|embedded",
    doc: "Message bus: redis, amqp (RabbitMQ), embedded (in this process), or auto: Redis, or embedded if none is configured and none answers.",
  },
  amqpUrl: {
    type: amqpAddress,
    default: "amqp://127.0.0.1:5672",
    secret: "address",
    doc: "RabbitMQ server, for bus = amqp: amqp or amqps, with user, password and virtual host.",
  },
  amqpExchangeTo: {
    type: exchangeName,
    default: "channel.to",
    doc: "Topic exchange that backends publish to, with the routing key <channel>:<event>.",
  },
  amqpExchangeFrom: {
    type: exchangeName,
    default: "channel.from",
    doc: "Topic exchange that backends receive the messages of clients from.",
  },
  amqpQueueBytes: {
    type: size(64 * KIB, 64 * GIB),
    default: 64 * MIB,
    doc: "Maximum size of the messages that wait for this server in RabbitMQ; above it the oldest are dropped.",
  },
  jwtSecret: {
    type: secret,
    default: null,
    tangram: "secret",
    flag: "SECRET",
    secret: "all",
    doc: "Signs and verifies tokens (HS256). Default: a random secret; tokens become invalid when the server restarts.",
  },
  jwtSecrets: {
    type: optional(secretList(anyText)),
    default: null,
    secret: "all",
    doc: "Instead of jwt_secret, for rotation: a list, the newest first. The first signs, all verify.",
  },
  jwtExpirationSecs: {
    type: seconds(1, CENTURY_SECS),
    default: 259_200,
    tangram: 315_360_000,
    flag: "SECONDS",
    doc: "Lifetime of tokens issued by this server.",
  },
  idLength: {
    type: integer(4, 64),
    default: 8,
    flag: "LENGTH",
    doc: "Length in characters of generated ids: of users without an id, and of connections after the six characters of their server.",
  },
  jwtPublicKey: {
    type: optional(textOrPath("a public key as PEM text, or the path of a PEM file")),
    default: null,
    path: "path or PEM",
    doc: "Verifies tokens of another issuer (RS256, ES256, EdDSA): PEM text or the path of a PEM file.",
  },
  jwksUrl: {
    type: optional(keySetAddress),
    default: null,
    secret: "address",
    doc: "URL of the key set (JWKS) that verifies tokens of another issuer.",
  },
  jwtIssuer: { type: optional(anyText), default: null, doc: "Required value of the iss claim of tokens." },
  jwtAudience: {
    type: optional(anyText),
    default: null,
    doc: "Value that the aud claim of tokens must contain.",
  },
  expiry: {
    type: oneOf("close", "join"),
    default: "close",
    tangram: "join",
    doc: "On token expiry: close ends the membership, join checks only at join.",
  },
  tokenEndpoint: {
    type: oneOf("open", "admin", "off"),
    default: "open",
    doc: "Who can request tokens from POST /token: open: anyone, admin: holders of the admin secret, off: disabled.",
  },
  tokenChannels: {
    type: names,
    default: ["*"],
    doc: "Channels that POST /token issues tokens for; {id} is replaced by the id in the request.",
  },
  tokenIds: {
    type: oneOf("any", "own"),
    default: "any",
    doc: "Ids that POST /token accepts: any, or own: only the id of a valid token sent along, which also limits the new one.",
  },
  adminSecret: {
    type: optional(adminSecret),
    default: null,
    secret: "all",
    doc: "Grants access to the administration, at least 16 characters. Without it, a one-time admin link is printed at start.",
  },
  adminSecrets: {
    type: optional(secretList(adminSecret)),
    default: null,
    secret: "all",
    doc: "Instead of admin_secret, for rotation: a list, the newest first; each grants access.",
  },
  fleetSecret: {
    type: secret,
    default: null,
    secret: "all",
    doc: "Signs what servers on one Redis send each other; the same on all. Default: derived from jwt_secret, if that is set.",
  },
  fleetSecrets: {
    type: optional(secretList(anyText)),
    default: null,
    secret: "all",
    doc: "Instead of fleet_secret, for rotation: a list, the newest first. The first signs, all verify.",
  },
  hookSecret: {
    type: optional(secretText(16)),
    default: null,
    secret: "all",
    doc: "Signs requests to the application (HMAC-SHA256), so that it can tell them from others; at least 16 characters.",
  },
  webhook: {
    type: hookAddress,
    default: null,
    secret: "address",
    doc: "Address that events about channels and their members are sent to by POST; requires hook_secret.",
  },
  webhookEvents: {
    type: list(oneOf(...WEBHOOK_EVENTS), `a list of ${WEBHOOK_EVENTS.join(", ")}`),
    default: WEBHOOK_EVENTS,
    doc: "Events that are sent to webhook.",
  },
  allowedOrigins: {
    type: originRule,
    default: "same-host",
    tangram: "*",
    doc: "Websites that may connect: same-host: pages of the requested host, *: all, or a list of origins.",
  },
  allowedHosts: {
    type: optional(list(hostName, "a list of host names, without ports")),
    default: null,
    doc: "Names accepted in the Host header, besides the host of public_url, IP addresses and loopback names.",
  },
  trustedProxies: {
    type: list(address, "a list of IP addresses"),
    default: [],
    doc: "Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted; without X-Forwarded-For their requests do not count as local.",
  },
  tlsCert: { type: path, default: null, path: "path", doc: "Certificate chain (PEM) for HTTPS." },
  tlsKey: { type: path, default: null, path: "path", doc: "Private key (PEM) of the certificate." },
  staticPath: {
    type: optional(text("the path of a folder")),
    default: null,
    flag: "FOLDER",
    path: "path",
    doc: "Folder to serve instead of the built-in pages.",
  },
  groups: { type: bool, default: true, doc: "Enables event groups (the protocol of AWX)." },
  sse: { type: bool, default: true, doc: "Enables server-sent events at /sse." },
  datetime: { type: bool, default: true, doc: "Sends the time on the channel system." },
  adminEvents: {
    type: bool,
    default: true,
    doc: "Publishes the events of the admin channel to backends: channels opened and closed, joins, leaves.",
  },
  presenceEvents: {
    type: bool,
    default: true,
    doc: "Publishes joins and leaves of each channel to backends as presence_diff.",
  },
  presenceWindow: {
    type: duration(0, 10 * SECOND),
    default: 50 * MS,
    doc: "How long joins and leaves of a channel are collected before they are sent; under load up to a second.",
  },
  shutdownGrace: {
    type: duration(0, 300 * SECOND),
    default: 5 * SECOND,
    doc: "Time over which a stopping server closes its connections.",
  },
  drainDelay: {
    type: duration(0, 600 * SECOND),
    default: 0,
    doc: "How long a stopping server keeps accepting connections while /ready reports 503.",
  },
  logLevel: {
    type: oneOf("debug", "info", "warn", "error"),
    default: "info",
    flag: "debug|info|warn|error",
    doc: "Minimum level of log lines.",
  },
  logFormat: { type: oneOf("text", "json"), default: "text", flag: "text|json", doc: "Format of log lines." },
};

export const CLAIMS: Table<Config["claims"]> = {
  id: {
    type: text("the name of a claim"),
    default: "id",
    doc: "Claim with the user id; fallback: sub.",
  },
  channels: {
    type: text("the name of a claim"),
    default: "channels",
    doc: "Claim with the list of channels, in addition to channel.",
  },
};

export const LIMITS: Table<Limits> = {
  maxFrame: {
    type: size(256, 512 * MIB),
    default: MIB,
    doc: "Maximum size of a frame from a client; a larger frame closes the connection (1009).",
  },
  maxBody: { type: size(256, 512 * MIB), default: MIB, doc: "Maximum size of an HTTP request body." },
  maxPayload: {
    type: size(1, 512 * MIB),
    default: 4 * MIB,
    doc: "Maximum size of a message from a backend.",
  },
  maxBuffered: {
    type: size(1, 1024 * GIB),
    default: 512 * MIB,
    doc: "Maximum backlog of all slow clients together; above it, the client with the largest backlog is disconnected.",
  },
  maxBufferedPerClient: {
    type: size(2, 2 * GIB),
    default: 64 * MIB,
    doc: "Maximum backlog of one slow client; at least twice max_payload.",
  },
  maxChannels: {
    type: integer(1, 1_000_000),
    default: 100,
    doc: "Maximum number of channels joined on one socket.",
  },
  maxSubscriptions: {
    type: integer(1, 1_000_000),
    default: 1000,
    doc: "Maximum number of event groups subscribed on one socket.",
  },
  maxConnections: {
    type: integer(1, 10_000_000),
    default: 100_000,
    doc: "Maximum number of connections, at most the open file limit minus 64; more are rejected (503).",
  },
  maxConnectionsPerIp: {
    type: integer(1, 10_000_000),
    default: 5000,
    doc: "Maximum number of connections per address, idle keep-alive connections included; loopback is exempt.",
  },
  connectsPerSecondPerIp: {
    type: integer(1, 1_000_000),
    default: 100,
    doc: "New connections and requests per second and address, with bursts of ten times that; loopback is exempt.",
  },
  framesPerSecond: {
    type: integer(1, 1_000_000),
    default: 200,
    doc: "Frames per second from one socket, with bursts of ten times that. After max_channels joins each further one counts as ten.",
  },
  callsInFlight: {
    type: integer(1, 1_000_000),
    default: 10_000,
    doc: "Maximum number of calls that wait for their answers; further ones are refused.",
  },
  clientEventsPerSecond: {
    type: integer(1, 1_000_000),
    default: 10,
    doc: "Pushes per second of one client that other members get (client_events), with bursts of ten times that; each 4 KiB of a larger one count as one.",
  },
  bytesPerSecond: {
    type: size(1, 64 * GIB),
    default: MIB,
    doc: "Bytes per second from one client, with bursts of ten times that; above it, the connection is closed.",
  },
  bytesPerSecondPerIp: {
    type: size(1, 1024 * GIB),
    default: 4 * MIB,
    doc: "Bytes per second from all clients of one address, with bursts of ten times that; loopback is exempt.",
  },
  historyBytes: {
    type: size(64 * KIB, 1024 * GIB),
    default: 64 * MIB,
    doc: "Maximum size of the kept messages of all channels; above it, the channel not used for longest is forgotten.",
  },
  maxInbound: {
    type: size(1, 1024 * GIB),
    default: 32 * MIB,
    doc: "Bytes of incomplete or queued input of all clients; above it, the largest request is rejected (503).",
  },
  frameTimeout: {
    type: duration(SECOND, 255 * SECOND),
    default: 10 * SECOND,
    doc: "Time within which a request body must be complete (else 408).",
  },
  idleTimeout: {
    type: duration(SECOND, 960 * SECOND),
    default: 60 * SECOND,
    doc: "A socket that sends nothing for this time is closed.",
  },
};

export const CHANNELSTREAM: Table<ChannelstreamSettings> = {
  secret: {
    type: secret,
    default: null,
    secret: "all",
    doc: "Signs requests of web applications; without it, the Channelstream protocol is disabled.",
  },
  allowPostingFrom: {
    type: list(address, "a list of IP addresses"),
    default: ["127.0.0.1"],
    doc: "Addresses that may send signed requests; 0.0.0.0 means any.",
  },
  validateRequests: {
    type: bool,
    default: true,
    doc: "Rejects signatures older than 60 seconds.",
  },
  allowCors: {
    type: list(anyText, "a list of host names"),
    default: [],
    doc: "Hosts whose pages may connect; if empty, allowed_origins applies.",
  },
  enforceHttps: {
    type: bool,
    default: false,
    doc: "Rejects requests of the Channelstream protocol over plain HTTP.",
  },
  wakeConnectionsAfter: {
    type: duration(100 * MS, 240 * SECOND),
    default: 5 * SECOND,
    doc: "How long a long poll waits for its first message.",
  },
  gcConnsAfter: {
    type: duration(SECOND, 3600 * SECOND),
    default: 15 * SECOND,
    doc: "How long a connection without a long poll or socket is kept.",
  },
  gcUsersAfter: {
    type: duration(SECOND, 365 * 86_400 * SECOND),
    default: 86_400 * SECOND,
    doc: "How long a user without a connection is kept.",
  },
  legacyDate: { type: bool, default: false, doc: "Adds date to messages, in addition to timestamp." },
  maxUsers: {
    type: integer(1, 10_000_000),
    default: 100_000,
    doc: "Maximum number of users kept; above it, the longest inactive is removed.",
  },
  maxChannels: {
    type: integer(1, 10_000_000),
    default: 100_000,
    doc: "Maximum number of channels kept with settings and history; above it, the longest empty is removed.",
  },
  maxHistory: {
    type: integer(0, 1_000_000),
    default: 1000,
    doc: "Maximum number of messages in the history of one channel.",
  },
  maxUserState: {
    type: size(0, 512 * MIB),
    default: 16 * KIB,
    doc: "Maximum size of the state of one user.",
  },
  maxStored: {
    type: size(1, 64 * GIB),
    default: 256 * MIB,
    doc: "Maximum size of all messages kept for history and catching up; above it, the oldest are removed.",
  },
};

/** Keys of `[channels."<pattern>"]`. */
export const CHANNEL: Table<Omit<ChannelSettings, "pattern">> = {
  presence: {
    type: boolOr("count"),
    default: true,
    doc: "Sends presence (who has joined) to members; count: only the number of members, at most once a second.",
  },
  presenceMeta: {
    type: bool,
    default: false,
    doc: "Whether a push of the event presence replaces the metadata that presence shows of the member.",
  },
  sender: {
    type: bool,
    default: false,
    doc: "Publishes each push also on push:<channel>:<event>, with the user and the connection that sent it.",
  },
  history: {
    type: integer(0, 1_000_000),
    default: 0,
    doc: "Messages of a channel that are kept, so that clients that reconnect get what they missed; 0: none.",
  },
  historyBytes: {
    type: size(1, 64 * GIB),
    default: MIB,
    doc: "Maximum size of the kept messages of one channel; each counts 256 bytes more than its payload.",
  },
  historyTtl: {
    type: duration(SECOND, 365 * 86_400 * SECOND),
    default: 300 * SECOND,
    doc: "How long a message is kept.",
  },
  lastValue: {
    type: bool,
    default: false,
    doc: "Sends the newest message of each event to new members; works without history.",
  },
  slow: {
    type: oneOf("disconnect", "latest"),
    default: "disconnect",
    doc: "A client that does not keep up: disconnect: is disconnected at its limit, latest: gets only the newest message of each event.",
  },
  trustedJson: {
    type: bool,
    default: false,
    doc: "Sends payloads of backends in {} or [] without checking that they are JSON; clients get an invalid one as a frame that they cannot parse.",
  },
  historyStore: {
    type: oneOf("memory", "redis"),
    default: "memory",
    doc: "Where messages are kept: memory, or redis: in memory and in Redis, for servers that start later.",
  },
  clientEvents: {
    type: list(eventPattern, "a list of events, without colons; a star at the end makes a pattern"),
    default: [],
    doc: "Events of pushes that the other members also get, on all servers; a star at the end makes a pattern, * are all.",
  },
  clientEventsSender: {
    type: bool,
    default: false,
    doc: 'Whether they get {"user", "payload"}, with the user of the sender, instead of the payload.',
  },
  authorize: {
    type: hookAddress,
    default: null,
    secret: "address",
    doc: "URL of the application that decides on joins without a token for the channel; requires hook_secret.",
  },
  authorizeTimeout: {
    type: duration(100 * MS, 6 * SECOND),
    default: 2 * SECOND,
    doc: "How long the application may take to answer; a join waits at most 8 s in all.",
  },
  authorizeHeaders: {
    type: list(
      forwardedHeader,
      "a list of names of request headers, none of which belongs to the connection or the body",
    ),
    default: ["cookie", "authorization"],
    doc: "Headers of the client's request that authorize gets, except from pages of origins that allowed_origins does not name.",
  },
  calls: {
    type: list(eventPattern, "a list of events, without colons; a star at the end makes a pattern"),
    default: [],
    doc: "Events of pushes that a backend answers; a star at the end makes a pattern, * are all.",
  },
  callTo: {
    type: callTarget,
    default: "redis",
    secret: "address",
    doc: "Where they go: redis: published on call:<channel>:<event>, queue:<name>: a list that backends take them from, or an address that gets a POST.",
  },
  callTimeout: {
    type: duration(100 * MS, 300 * SECOND),
    default: 8 * SECOND,
    doc: "Time for the answer; phoenix.js waits for 10 s.",
  },
};

/** An entry of `[[api_keys]]` as written. */
export type WrittenApiKey = Omit<ApiKey, "keys"> & {
  readonly key: string;
  readonly keys: readonly JwtSecret[] | null;
};

/** Keys of `[[api_keys]]`. */
export const API_KEY: Table<WrittenApiKey> = {
  name: {
    type: text("text"),
    default: "",
    doc: "Name in the audit log.",
  },
  key: {
    type: secretText(16),
    default: "",
    secret: "all",
    doc: "Bearer token of a backend, or what a colleague signs in with on the administration page.",
  },
  keys: {
    type: optional(secretList(secretText(16))),
    default: null,
    secret: "all",
    doc: "Instead of key, for rotation: a list, the newest first; each is accepted.",
  },
  can: {
    type: list(oneOf("publish", "read", "moderate"), 'a list of "publish", "read" and "moderate"'),
    default: [],
    doc: "Permissions: publish; read the API, /metrics and (with all channels) the administration page; moderate: kick, disconnect, ban, revoke.",
  },
  channels: {
    type: names,
    default: ["*"],
    doc: "Channels that the permissions apply to; a star at the end makes a pattern.",
  },
};

/** The tables by section of the file; `""` is the top level. */
export const SECTIONS = { "": TOP, claims: CLAIMS, limits: LIMITS, channelstream: CHANNELSTREAM } as const;

/** The key in a file: `maxFrame` is `max_frame`. */
export function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A key with its section, as in messages and `channel config`: `limits.max_frame`. */
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
