import type { PrintedValue } from "./value-types.ts";
import type { WebhookEventName } from "./webhook-events.ts";

/** Origin of a value, for `channel config`. */
export type Source = "default" | "flag" | "environment" | "file";

/** Origin of one value. */
export interface Origin {
  readonly source: Source;
  /** The flag (`--port`), variable (`CHANNEL_PORT`) or file; of a default `Tangram` or empty. */
  readonly detail: string;
  /** For messages: `--port`, `CHANNEL_PORT`, `channel.toml: port`. */
  readonly place: string;
  /** The value as it can be set again; secrets are masked. */
  readonly printed: PrintedValue;
}

/** Inputs of `loadConfig`, besides files. */
export interface LoadInput {
  /** Values of flags by name, without dashes (`redis-url`); `config` names the file. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Base of relative paths in flags and variables; configuration files are searched here. */
  readonly cwd: string;
  /** The last file searched; `/etc/channel/channel.toml` except in tests. */
  readonly systemFile?: string;
}

/** `warnings` and `message` are single lines for the operator and contain no secrets. */
export type Loaded =
  | {
      readonly ok: true;
      readonly config: Config;
      /** By key as written in the file: `port`, `limits.max_frame`, `channels."room:*".presence`. */
      readonly sources: ReadonlyMap<string, Origin>;
      /** The file that was read, as in `ConfigFile.name`. */
      readonly file: string | null;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly message: string; readonly exitCode: 1 | 2 };

/** Which bus to use. `auto`: Redis, or the embedded bus if no Redis is configured and none answers. */
export type BusChoice = "auto" | "redis" | "amqp" | "embedded";

/** On token expiry: `close` ends the membership, `join` checks only at join. */
export type ExpiryMode = "close" | "join";

/** What happens to a client that does not keep up: it is disconnected, or gets only the newest message of each event. */
export type SlowClients = "disconnect" | "latest";

/** Who may request tokens from `POST /token`. */
export type TokenEndpoint = "open" | "admin" | "off";

/** `[limits]`. Sizes in bytes, durations in milliseconds. */
export interface Limits {
  readonly maxFrame: number;
  readonly maxBody: number;
  readonly maxPayload: number;
  readonly maxBuffered: number;
  readonly maxBufferedPerClient: number;
  readonly maxChannels: number;
  readonly maxSubscriptions: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerIp: number;
  readonly connectsPerSecondPerIp: number;
  readonly framesPerSecond: number;
  readonly callsInFlight: number;
  readonly clientEventsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly bytesPerSecondPerIp: number;
  readonly historyBytes: number;
  readonly maxInbound: number;
  readonly frameTimeout: number;
  readonly idleTimeout: number;
}

/** `[channelstream]`. Sizes in bytes, durations in milliseconds. */
export interface ChannelstreamSettings {
  /** Signs requests of web applications; the protocol is disabled without it. */
  readonly secret: string | null;
  /** IP addresses in their shortest form; `0.0.0.0`: any. */
  readonly allowPostingFrom: readonly string[];
  readonly validateRequests: boolean;
  /** Host names; empty: `allowedOrigins` applies. */
  readonly allowCors: readonly string[];
  readonly enforceHttps: boolean;
  readonly wakeConnectionsAfter: number;
  readonly gcConnsAfter: number;
  readonly gcUsersAfter: number;
  readonly legacyDate: boolean;
  readonly maxUsers: number;
  readonly maxChannels: number;
  readonly maxHistory: number;
  readonly maxUserState: number;
  readonly maxStored: number;
}

/**
 * `[channels."<pattern>"]`, the most specific first. The first match applies: its missing values are already inherited from
 * the next longest pattern that covers it.
 */
export interface ChannelSettings {
  readonly pattern: string;
  readonly presence: boolean | "count";
  readonly presenceMeta: boolean;
  readonly sender: boolean;
  /** Messages; 0: none. */
  readonly history: number;
  readonly historyBytes: number;
  readonly historyTtl: number;
  readonly lastValue: boolean;
  readonly slow: SlowClients;
  readonly trustedJson: boolean;
  readonly historyStore: "memory" | "redis";
  /** Events and patterns. */
  readonly clientEvents: readonly string[];
  readonly clientEventsSender: boolean;
  /** The URL that decides on joins without a token for the channel. */
  readonly authorize: string | null;
  /** ms for one request. */
  readonly authorizeTimeout: number;
  /** Names in lower case. */
  readonly authorizeHeaders: readonly string[];
  /** Events and patterns. */
  readonly calls: readonly string[];
  /** `redis`, `queue:<name>`, or an `http:` or `https:` address. */
  readonly callTo: string;
  readonly callTimeout: number;
}

/** Permission of an API key. */
export type ApiAbility = "publish" | "read" | "moderate";

/** `[[api_keys]]`: a key with limited permissions for a backend. */
export interface ApiKey {
  /** Name in the audit log. */
  readonly name: string;
  /** Accepted keys, the newest first. */
  readonly keys: readonly string[];
  readonly can: readonly ApiAbility[];
  /** Names and patterns (`room:*`). */
  readonly channels: readonly string[];
}

/** A secret that signs tokens, and the `kid` in their header. */
export interface JwtSecret {
  readonly kid: string | null;
  readonly secret: string;
}

/** The configuration, checked and frozen. Sizes in bytes; durations in milliseconds, in seconds if the name ends with `Secs`. */
export interface Config {
  /** A host name in lower case or an IP address in its shortest form, without brackets. */
  readonly host: string;
  readonly port: number;
  /** Empty, or a path without a trailing slash: `/channel`. */
  readonly basePath: string;
  /** `http:` or `https:`, without a trailing slash. */
  readonly publicUrl: string | null;
  readonly redisUrl: string;
  /** Whether `redisUrl` was configured; if not, `auto` may use the embedded bus. */
  readonly redisUrlGiven: boolean;
  /** Credentials for Sentinels; those in `redisUrl` are for Redis itself. */
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: string | null;
  /** Added before each name and key in Redis. */
  readonly prefix: string;
  readonly bus: BusChoice;
  readonly amqpUrl: string;
  /** What backends publish to, and what they receive from. */
  readonly amqpExchangeTo: string;
  readonly amqpExchangeFrom: string;
  /** Bytes that wait for this server in its queue, at most. */
  readonly amqpQueueBytes: number;
  /** The newest secret, which signs. */
  readonly jwtSecret: string;
  /** `kid` in the header of tokens signed with `jwtSecret`. */
  readonly jwtKid: string | null;
  /** Accepted for verification only, the newest first. */
  readonly olderJwtSecrets: readonly JwtSecret[];
  /** Whether `jwtSecret` was generated at start because none is configured. */
  readonly jwtSecretGenerated: boolean;
  readonly jwtExpirationSecs: number;
  readonly idLength: number;
  /** PEM text (SPKI): RSA of at least 2048 bits, EC P-256, or Ed25519. */
  readonly jwtPublicKey: string | null;
  readonly jwksUrl: string | null;
  readonly jwtIssuer: string | null;
  readonly jwtAudience: string | null;
  /** Names of the claims with the user id (fallback: `sub`) and the list of channels. */
  readonly claims: { readonly id: string; readonly channels: string };
  readonly expiry: ExpiryMode;
  readonly tokenEndpoint: TokenEndpoint;
  readonly tokenChannels: readonly string[];
  readonly tokenIds: "any" | "own";
  /** The newest secret. */
  readonly adminSecret: string;
  /** Still accepted, the newest first. */
  readonly olderAdminSecrets: readonly string[];
  readonly adminSecretGenerated: boolean;
  /** `null`: the host name. */
  readonly nodeName: string | null;
  /** Processes that serve on the port; `auto`: see `workerCount`. */
  readonly workers: number | "auto";
  /** Where other servers reach this one, as `publicUrl`. */
  readonly nodeUrl: string | null;
  /** The servers that long polls are forwarded to. */
  readonly nodeUrls: readonly string[];
  /** Secrets of servers that share a Redis, the newest first; empty: a server is alone. */
  readonly fleetSecrets: readonly string[];
  /** Signs requests to the application. */
  readonly hookSecret: string | null;
  /** Where events are sent; `null`: nowhere. */
  readonly webhook: string | null;
  readonly webhookEvents: readonly WebhookEventName[];
  /** Origins as browsers send them: lower case, no default port, no trailing slash. */
  readonly allowedOrigins: "same-host" | "*" | readonly string[];
  /** `null`: derived from `publicUrl` and `host`. */
  readonly allowedHosts: readonly string[] | null;
  /** IP addresses in their shortest form. */
  readonly trustedProxies: readonly string[];
  /** PEM text of both, or `null`. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** An absolute path. */
  readonly staticPath: string | null;
  readonly groups: boolean;
  readonly sse: boolean;
  readonly datetime: boolean;
  readonly adminEvents: boolean;
  readonly presenceEvents: boolean;
  readonly presenceWindow: number;
  readonly shutdownGrace: number;
  readonly drainDelay: number;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly logFormat: "text" | "json";
  readonly limits: Limits;
  readonly channels: readonly ChannelSettings[];
  readonly channelstream: ChannelstreamSettings;
  readonly apiKeys: readonly ApiKey[];
}
