/** Where a value of the configuration came from, for `channel config`. */
export type Source = "default" | "flag" | "environment" | "file";

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
  readonly maxConnections: number;
  readonly maxConnectionsPerIp: number;
  readonly connectsPerSecondPerIp: number;
  readonly framesPerSecond: number;
  readonly idleTimeout: number;
}

/** `[channels."<pattern>"]`, the longest pattern first. */
export interface ChannelSettings {
  readonly pattern: string;
  readonly presence: boolean;
}

/** Everything that can be set, checked and frozen. Sizes in bytes, durations in milliseconds unless the name says `Secs`. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly basePath: string;
  readonly publicUrl: string | null;
  readonly redisUrl: string;
  /** Whether an operator named `redisUrl`; else it is the default, and `auto` may take the embedded bus. */
  readonly redisUrlGiven: boolean;
  readonly bus: BusChoice;
  readonly jwtSecret: string;
  /** Made for this run, since none was configured. */
  readonly jwtSecretGenerated: boolean;
  readonly jwtExpirationSecs: number;
  readonly idLength: number;
  /** PEM text. */
  readonly jwtPublicKey: string | null;
  readonly jwksUrl: string | null;
  readonly jwtIssuer: string | null;
  readonly jwtAudience: string | null;
  /** `id: null` stands for "id, else sub". */
  readonly claims: { readonly id: string; readonly channels: string };
  readonly expiry: ExpiryMode;
  readonly tokenEndpoint: TokenEndpoint;
  readonly tokenChannels: readonly string[];
  readonly tokenIds: "any" | "own";
  readonly adminSecret: string;
  readonly adminSecretGenerated: boolean;
  readonly allowedOrigins: "same-host" | "*" | readonly string[];
  /** `null`: by itself (http.md). */
  readonly allowedHosts: readonly string[] | null;
  readonly trustedProxies: readonly string[];
  /** PEM text of both, or `null`. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly staticPath: string | null;
  readonly datetime: boolean;
  readonly presenceWindow: number;
  readonly shutdownGrace: number;
  readonly drainDelay: number;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly logFormat: "text" | "json";
  readonly limits: Limits;
  readonly channels: readonly ChannelSettings[];
}
