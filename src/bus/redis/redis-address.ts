import type { RedisOptions } from "ioredis";
import { BusError } from "../bus-error.ts";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A parsed `redis_url`. */
export interface RedisAddress {
  readonly kind: "single" | "sentinel" | "cluster";
  /** For logs: `127.0.0.1:6379`, `/run/redis.sock`, `mymaster of a:26379,b:26379`. Never a user or password. */
  readonly shown: string;
  /** One Redis, all Sentinels, or some nodes of a cluster. Empty for a Unix socket. */
  readonly hosts: readonly HostPort[];
  readonly password: string | null;
  /** Options of ioredis; for a cluster without host and port, which change with each attempt. */
  readonly options: Omit<RedisOptions, "replyMapping">;
}

/** Credentials for the Sentinels, which do not share users with Redis. */
export interface SentinelCredentials {
  readonly username: string | null;
  readonly password: string | null;
}

const SCHEME = /^(redis|rediss|unix|redis\+sentinel|rediss\+sentinel|redis\+cluster|rediss\+cluster):/i;
const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

/**
 * Parses `redis://[user:password@]host[:port][/db]`, `rediss://` (TLS), `unix:/path`,
 * `redis+sentinel://[user:password@]host[:port],host[:port]/master-name` and `redis+cluster://host[:port],host[:port]`,
 * the last two also as `rediss+...`. A database number has no effect: publish and subscribe are the same in all databases.
 * `?ssl_cert_reqs=none`, as in Python's clients, accepts any certificate.
 * @throws BusError (`bad-address`). The message does not contain the address, which may hold a password.
 */
export function parseRedisAddress(url: string, sentinel?: SentinelCredentials): RedisAddress {
  const scheme = SCHEME.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    throw bad("begins with redis://, rediss://, unix:, redis+sentinel:// or redis+cluster://");
  }
  const [beforeQuery = "", query = ""] = split(url.slice(scheme.length + 1), "?");
  const rest = beforeQuery.startsWith("//") ? beforeQuery.slice(2) : beforeQuery;
  // An @ after a slash or question mark: a password that is not percent-encoded.
  if (
    query.includes("@") ||
    (scheme !== "unix" && rest.lastIndexOf("@") > rest.indexOf("/") && rest.includes("/"))
  ) {
    throw bad(ENCODED);
  }
  const anyCertificate = parseQuery(query);
  if (scheme === "unix") return parseUnix(rest);

  const slash = rest.indexOf("/");
  const authority = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? "" : rest.slice(slash + 1);
  const at = authority.lastIndexOf("@");
  const credentials = at < 0 ? {} : parseCredentials(authority.slice(0, at));
  const kind = scheme.endsWith("+sentinel") ? "sentinel" : scheme.endsWith("+cluster") ? "cluster" : "single";
  const hosts = authority
    .slice(at + 1)
    .split(",")
    .map((text) => parseHost(text, kind === "sentinel" ? SENTINEL_PORT : REDIS_PORT));
  const password = credentials.password ?? null;
  const secure = scheme.startsWith("rediss")
    ? { tls: anyCertificate ? { rejectUnauthorized: false } : {} }
    : {};
  const shown = hosts.map(showHost).join(",");
  const common = { kind, hosts, password } as const;

  if (kind === "sentinel") {
    const name = decode(path.split("/")[0] ?? "");
    if (name === "") throw bad("with redis+sentinel:// ends in /<master name>");
    const sentinels = hosts.map(({ host, port }) => ({ host, port }));
    const overTls =
      scheme === "rediss+sentinel" ? { enableTLSForSentinelMode: true, sentinelTLS: secure.tls } : {};
    return {
      ...common,
      shown: `${name} of ${shown}`,
      options: { ...credentials, ...secure, ...overTls, ...sentinelOptions(sentinel), sentinels, name },
    };
  }
  if (!/^\d{0,5}\/?$/.test(path)) throw bad("ends after host and port, or with the number of a database");
  if (kind === "cluster") return { ...common, shown, options: { ...credentials, ...secure } };
  const [only, ...others] = hosts;
  if (only === undefined || others.length > 0) {
    throw bad("with several hosts begins with redis+sentinel:// or redis+cluster://");
  }
  return { ...common, shown, options: { ...credentials, ...secure, host: only.host, port: only.port } };
}

/** `127.0.0.1:6379`, `[::1]:6379` */
export function showHost({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseUnix(rest: string): RedisAddress {
  const slash = rest.indexOf("/");
  const at = rest.lastIndexOf("@", slash);
  const path = slash < 0 ? "" : decode(rest.slice(slash));
  if (at < 0 && slash > 0 && rest.includes("@/")) throw bad(ENCODED);
  if (path.length < 2 || (at < 0 && slash > 0))
    throw bad("with unix: goes on with the path of a socket: unix:/run/redis.sock");
  const credentials = at < 0 ? {} : parseCredentials(rest.slice(0, at));
  return {
    kind: "single",
    shown: path,
    hosts: [],
    password: credentials.password ?? null,
    options: { ...credentials, path },
  };
}

const ENCODED =
  'has a "/" in a user or password written as %2F, "?" as %3F, "@" as %40, "%" as %25 (a password in a URL is percent-encoded)';

function sentinelOptions({ username, password }: SentinelCredentials = { username: null, password: null }) {
  return {
    ...(username === null ? {} : { sentinelUsername: username }),
    ...(password === null ? {} : { sentinelPassword: password }),
  };
}

/** Like redis-cli and Python: without a colon it is a user, `:secret` is a password alone. */
function parseCredentials(text: string): { username?: string; password?: string } {
  const [user = "", password] = split(text, ":");
  return {
    ...(user === "" ? {} : { username: decode(user) }),
    ...(password === undefined || password === "" ? {} : { password: decode(password) }),
  };
}

function parseHost(text: string, defaultPort: number): HostPort {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]@]+))(?::(\d{1,5}))?$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  const port = parts?.[3] === undefined ? defaultPort : Number(parts[3]);
  if (host === undefined || port < 1 || port > 65535) throw bad("names hosts as <host> or <host>:<port>");
  return { host, port };
}

function parseQuery(query: string): boolean {
  if (query === "" || query === "ssl_cert_reqs=required") return false;
  if (query === "ssl_cert_reqs=none") return true;
  throw bad("may have only ssl_cert_reqs=none or ssl_cert_reqs=required after a question mark");
}

/** Splits at the first separator; without one there is no second part. */
function split(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** A text with a bare percent sign is returned unchanged. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function bad(rule: string): BusError {
  return new BusError("bad-address", `redis_url is invalid: an address ${rule}.`);
}
