import type { Printed } from "./value-types.ts";

/** Where a value of the configuration came from, for `channel config`. */
export type Source = "default" | "flag" | "environment" | "file";

/** Where one value came from. */
export interface Origin {
  readonly source: Source;
  /** The flag (`--port`), the variable (`CHANNEL_PORT`) or the file; of a default what there is to say, or nothing. */
  readonly detail: string;
  /** As messages name it: `--port`, `CHANNEL_PORT`, `channel.toml: port`. */
  readonly place: string;
  /** The value in the form in which it can be set again; of a secret, stars. */
  readonly printed: Printed;
}

/** Everything that `loadConfig` looks at, files apart. */
export interface LoadInput {
  /** Values of flags by name, without dashes (`redis-url`); `config` names the file. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where files are looked for, and where relative paths of flags and variables start. */
  readonly cwd: string;
  /** The last file looked for; `/etc/channel/channel.toml` unless a test says otherwise. */
  readonly systemFile?: string;
}

/** `warnings` and `message` are sentences for an operator, of one line each, without a secret. */
export type Loaded =
  | {
      readonly ok: true;
      readonly config: Config;
      /** By key as it is written in the file: `port`, `limits.max_frame`, `channels."room:*".presence`. */
      readonly sources: ReadonlyMap<string, Origin>;
      /** The file that was read, as the operator knows it. */
      readonly file: string | null;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly message: string; readonly exitCode: 1 | 2 };

/** How a bus is chosen: `auto` takes Redis, or the embedded bus when none was named and none answers. */
export type BusChoice = "auto" | "redis" | "embedded";

/** Whether an expired token ends its memberships (`close`) or is looked at only when joining (`join`). */
export type ExpiryMode = "close" | "join";

/** Who may have a token from `POST /token`. */
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
  readonly bytesPerSecond: number;
  readonly bytesPerSecondPerIp: number;
  readonly maxInbound: number;
  readonly frameTimeout: number;
  readonly idleTimeout: number;
}

/** `[channelstream]`. Sizes in bytes, durations in milliseconds. */
export interface ChannelstreamSettings {
  /** Signs the calls of servers; the protocol is off without one. */
  readonly secret: string | null;
  /** IP addresses in their shortest form; `0.0.0.0`: any. */
  readonly allowPostingFrom: readonly string[];
  readonly validateRequests: boolean;
  /** Names of hosts; none: `allowedOrigins` holds. */
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
 * `[channels."<pattern>"]`, the longest pattern first, a plain name before a pattern of the same stem: the first that
 * matches a channel says it all, since what it left open was taken from the next that covers it.
 */
export interface ChannelSettings {
  readonly pattern: string;
  readonly presence: boolean;
}

/** What a backend may do with a key. */
export type ApiAbility = "publish" | "read" | "moderate";

/** `[[api_keys]]`: less than the admin secret, for backends that need less. */
export interface ApiKey {
  /** As the audit log calls it. */
  readonly name: string;
  /** The newest first; each is good. */
  readonly keys: readonly string[];
  readonly can: readonly ApiAbility[];
  /** Names and patterns (`room:*`). */
  readonly channels: readonly string[];
}

/** A secret that signs tokens, and how their header names it. */
export interface JwtSecret {
  readonly kid: string | null;
  readonly secret: string;
}

/** Everything that can be set, checked and frozen. Sizes in bytes, durations in milliseconds unless the name says `Secs`. */
export interface Config {
  /** A host name in lower case or an IP address in its shortest form, without brackets. */
  readonly host: string;
  readonly port: number;
  /** Empty, or with a slash before and none behind: `/channel`. */
  readonly basePath: string;
  /** `http:` or `https:`, without a slash at the end. */
  readonly publicUrl: string | null;
  readonly redisUrl: string;
  /** Whether an operator named `redisUrl`; else it is the default, and `auto` may take the embedded bus. */
  readonly redisUrlGiven: boolean;
  /** What Sentinels want; the user and password of `redisUrl` are for Redis itself. */
  readonly sentinelUsername: string | null;
  readonly sentinelPassword: string | null;
  /** Added before each name and key in Redis. */
  readonly prefix: string;
  readonly bus: BusChoice;
  /** The newest: it signs. */
  readonly jwtSecret: string;
  /** What tokens signed with it say in their header. */
  readonly jwtKid: string | null;
  /** Good for checking still, the newest first. */
  readonly olderJwtSecrets: readonly JwtSecret[];
  /** Made for this run, since none was configured. */
  readonly jwtSecretGenerated: boolean;
  readonly jwtExpirationSecs: number;
  readonly idLength: number;
  /** PEM text (SPKI): RSA of at least 2048 bits, EC P-256, or Ed25519. */
  readonly jwtPublicKey: string | null;
  readonly jwksUrl: string | null;
  readonly jwtIssuer: string | null;
  readonly jwtAudience: string | null;
  /** Names of the claims that hold the user and the list of channels; where a token lacks the first, `sub` is the user. */
  readonly claims: { readonly id: string; readonly channels: string };
  readonly expiry: ExpiryMode;
  readonly tokenEndpoint: TokenEndpoint;
  readonly tokenChannels: readonly string[];
  readonly tokenIds: "any" | "own";
  /** The newest. */
  readonly adminSecret: string;
  /** Good still, the newest first. */
  readonly olderAdminSecrets: readonly string[];
  readonly adminSecretGenerated: boolean;
  /** Origins as browsers send them: lower case, no default port, no slash at the end. */
  readonly allowedOrigins: "same-host" | "*" | readonly string[];
  /** `null`: by itself (http.md). */
  readonly allowedHosts: readonly string[] | null;
  /** IP addresses in their shortest form. */
  readonly trustedProxies: readonly string[];
  /** PEM text of both, or `null`. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** An absolute path. */
  readonly staticPath: string | null;
  readonly groups: boolean;
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
