import { X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { ConfigError } from "./config-error.ts";
import { fileErrorText } from "./file.ts";
import { isLoopback } from "./loopback.ts";
import { readTls } from "./pem.ts";
import { quoted } from "./quote.ts";
import type { Reader } from "./reader.ts";
import { LIMITS } from "./settings.ts";
import type { Config, JwtSecret } from "./types.ts";

/** The certificate and key for HTTPS; `null` for plain HTTP. Throws a `ConfigError` if only one path is set. */
export function tlsOf(reader: Reader, cert: string | null, key: string | null): Config["tls"] {
  if (cert !== null && key !== null) {
    return readTls(
      { place: reader.place("tls_cert"), path: cert },
      { place: reader.place("tls_key"), path: key },
    );
  }
  if (cert !== null)
    throw new ConfigError(2, `${reader.place("tls_cert")} requires tls_key: set both or neither`);
  if (key !== null)
    throw new ConfigError(2, `${reader.place("tls_key")} requires tls_cert: set both or neither`);
  return null;
}

/** The secrets of `key` or of its plural (`jwt_secrets`), the newest first. Throws a `ConfigError` if both are set. */
export function secretsOf(
  reader: Reader,
  key: string,
  one: string | null,
  list: readonly JwtSecret[] | null,
): readonly JwtSecret[] {
  if (list === null) return one === null ? [] : [{ kid: null, secret: one }];
  // Tangram's default does not count as set.
  if (one !== null && reader.given(key))
    throw new ConfigError(2, `${reader.place(key)} and ${key}s are both set: remove one`);
  return list;
}

/** Throws a `ConfigError` at start if the folder of the pages cannot be read. */
export function checkFolder(reader: Reader, path: string): void {
  let problem = "not a folder";
  try {
    if (statSync(path).isDirectory()) return;
  } catch (error) {
    problem = fileErrorText(error);
  }
  throw new ConfigError(1, `${reader.place("static_path")}: cannot read ${quoted(path)}: ${problem}`);
}

/** A backlog must hold one message while the next one arrives. */
export function checkBuffers(reader: Reader, { limits }: Config): void {
  if (limits.maxBufferedPerClient >= 2 * limits.maxPayload) return;
  const key = reader.given("limits.max_buffered_per_client")
    ? "limits.max_buffered_per_client"
    : "limits.max_payload";
  const rule = `limits.max_buffered_per_client (${LIMITS.maxBufferedPerClient.type.print(limits.maxBufferedPerClient)})`;
  const payload = LIMITS.maxPayload.type.print(limits.maxPayload);
  const least = LIMITS.maxBufferedPerClient.type.print(2 * limits.maxPayload);
  throw new ConfigError(
    2,
    `${reader.place(key)}: ${rule} must be at least twice limits.max_payload (${payload}): at least ${least}`,
  );
}

/** Throws a `ConfigError` if messages are to be kept in a Redis that there is not, or that is a cluster. */
export function checkHistoryStore(reader: Reader, { bus, redisUrl, channels }: Config): void {
  const stored = channels.find(({ historyStore }) => historyStore === "redis");
  if (stored === undefined) return;
  const [place, other] =
    bus === "embedded"
      ? [reader.place("bus"), "the embedded bus"]
      : [reader.place("redis_url"), /^rediss?\+cluster:/i.test(redisUrl) ? "Redis Cluster" : null];
  if (other === null) return;
  const channel = `channels.${JSON.stringify(stored.pattern)}.history_store`;
  throw new ConfigError(2, `${place}: ${other} cannot keep messages, as ${channel} requires: "memory" only`);
}

/** Throws a `ConfigError` if requests to the application could not be signed. */
export function checkHooks(reader: Reader, { hookSecret, webhook, channels }: Config): void {
  if (hookSecret !== null) return;
  if (webhook !== null) throw new ConfigError(2, `${reader.place("webhook")} requires hook_secret`);
  const asking = channels.find(({ authorize }) => authorize !== null);
  if (asking === undefined) return;
  throw new ConfigError(2, `channels.${JSON.stringify(asking.pattern)}.authorize requires hook_secret`);
}

/** Throws a `ConfigError` where an event is a call and a client event, or where calls would not be signed. */
export function checkCalls(reader: Reader, { channels, hookSecret }: Config): void {
  for (const { pattern, calls, callTo, clientEvents } of channels) {
    if (calls.length === 0) continue;
    const key = (name: string): string => `channels.${JSON.stringify(pattern)}.${name}`;
    for (const call of calls) {
      const shared = clientEvents.find((event) => overlap(call, event));
      if (shared === undefined) continue;
      throw new ConfigError(
        2,
        `${reader.place(key("calls"))} has ${quoted(call)} and client_events has ${quoted(shared)}: an event is a call or goes to other members, not both`,
      );
    }
    if (hookSecret === null && /^https?:/.test(callTo)) {
      throw new ConfigError(
        2,
        `${reader.place(key("call_to"))} requires hook_secret, which signs the requests`,
      );
    }
  }
}

/** Whether an event may be covered by both; a star at the end makes a pattern. */
function overlap(one: string, other: string): boolean {
  if (one.endsWith("*") && other.startsWith(one.slice(0, -1))) return true;
  return one === other || (other.endsWith("*") && one.startsWith(other.slice(0, -1)));
}

/** Secrets from examples, ours and others: anyone can sign tokens with them. */
const KNOWN_SECRETS = [
  "secret",
  "secret-key",
  "your-secret",
  "your-secret-key",
  "my-secret",
  "change-me",
  "changeme",
  "password",
  "test",
  // Of our own pages.
  "replace-by-openssl-rand-base64-32",
  "32 random bytes that the application knows too",
  "what signs the requests of these tests",
];

/** Where a secret known from examples was set; `null` if none is. */
function knownSecret(reader: Reader, config: Omit<Config, "host">): string | null {
  const jwt = keyOf(reader, "jwt_secret");
  const admin = keyOf(reader, "admin_secret");
  for (const [key, secret] of [
    [jwt, config.jwtSecret],
    ...config.olderJwtSecrets.map(({ secret }) => [jwt, secret] as const),
    [admin, config.adminSecret],
    ...config.olderAdminSecrets.map((secret) => [admin, secret] as const),
    ["channelstream.secret", config.channelstream.secret ?? ""],
    ["hook_secret", config.hookSecret ?? ""],
  ] as const) {
    if (!KNOWN_SECRETS.includes(secret.toLowerCase())) continue;
    return reader.tangram && !reader.given(key) ? `${key} (Tangram's default)` : reader.place(key);
  }
  return null;
}

export function refuseKnownSecrets(reader: Reader, config: Config): void {
  if (isLoopback(config.host)) return;
  const origin = knownSecret(reader, config);
  if (origin === null) return;
  throw new ConfigError(
    2,
    `${origin} is a secret known from examples: not allowed outside loopback (host ${config.host}); use 32 random bytes`,
  );
}

/** `host = "auto"`, the default of the container image: loopback only while a secret is known from examples. */
export const AUTO_HOST = "auto";

export interface AutoHost {
  readonly host: string;
  readonly warnings: readonly string[];
}

/** Every address; loopback, with a warning, while a secret is known from examples. */
export function resolveAutoHost(reader: Reader, config: Omit<Config, "host">): AutoHost {
  const origin = knownSecret(reader, config);
  if (origin === null) return { host: "0.0.0.0", warnings: [] };
  const warnings: string[] = [];
  warnings.push(
    `${origin} is a secret known from examples: listening on loopback only until it is replaced (host auto)`,
  );
  return { host: "127.0.0.1", warnings };
}

/** The name under which a secret was set: singular or plural. */
function keyOf(reader: Reader, key: string): string {
  return reader.given(`${key}s`) ? `${key}s` : key;
}

/** Settings that work but should be changed. */
export function warningsOf(reader: Reader, config: Config): string[] {
  const warnings: string[] = [];
  if (config.jwtSecretGenerated) {
    warnings.push(
      "jwt_secret is not set: a random one is used, and tokens become invalid when the server restarts",
    );
  } else if (reader.tangram && !reader.given("jwt_secret") && !reader.given("jwt_secrets")) {
    warnings.push('jwt_secret is Tangram\'s default, "secret": anyone can sign tokens');
  } else if (isShort(config.jwtSecret) || config.olderJwtSecrets.some(({ secret }) => isShort(secret))) {
    warnings.push("jwt_secret is shorter than 32 bytes: it can be guessed from a token");
  }
  if (isShort(config.adminSecret) || config.olderAdminSecrets.some(isShort)) {
    warnings.push("admin_secret is shorter than 32 bytes: it can be guessed from a cookie or an admin token");
  }
  if (reader.place("host") === "HOST") {
    warnings.push(
      `listening on ${config.host} because of the variable HOST, which shells and conda also export: use CHANNEL_HOST`,
    );
  }
  if (config.tokenEndpoint === "open" && !isLoopback(config.host)) {
    warnings.push(
      `token_endpoint is "open" on ${config.host}: anyone who can reach this server gets a token for ${config.tokenChannels.join(", ")}`,
    );
  }
  const now = Date.now();
  if (now < EARLIEST) {
    warnings.push(
      `the system clock says ${day(now)}, which is before this program was built: tokens and certificates are checked wrongly until it is set`,
    );
  }
  if (config.tls !== null)
    warnings.push(...certificateWarnings(reader.place("tls_cert"), config.tls.cert, now));
  return warnings;
}

function isShort(secret: string): boolean {
  return Buffer.byteLength(secret) < 32;
}

/** The earliest plausible time of the system clock, Unix ms. */
const EARLIEST = Date.UTC(2026, 10, 1);

/** Remaining validity that raises a warning, ms. Certificates are usually renewed a month before they expire. */
const CERTIFICATE_MARGIN = 14 * 86_400_000;

function certificateWarnings(place: string, pem: string, now: number): string[] {
  const { validFrom, validTo } = new X509Certificate(pem);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  const renew = "renew it and restart the server";
  if (now < from)
    return [`${place}: the certificate is valid from ${day(from)}, but the system clock says ${day(now)}`];
  if (now > to) return [`${place}: the certificate expired on ${day(to)}: ${renew}`];
  return now > to - CERTIFICATE_MARGIN ? [`${place}: the certificate expires on ${day(to)}: ${renew}`] : [];
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
