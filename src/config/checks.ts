import { X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { Refusal } from "./config-error.ts";
import { why } from "./file.ts";
import { isLoopback } from "./loopback.ts";
import { readTls } from "./pem.ts";
import { quoted } from "./quote.ts";
import type { Reader } from "./reader.ts";
import { LIMITS } from "./settings.ts";
import type { Config, JwtSecret } from "./types.ts";

/** What serves HTTPS, of two paths. */
export function bothOrNeither(reader: Reader, cert: string | null, key: string | null): Config["tls"] {
  if (cert !== null && key !== null) {
    return readTls(
      { place: reader.place("tls_cert"), path: cert },
      { place: reader.place("tls_key"), path: key },
    );
  }
  if (cert !== null)
    throw new Refusal(2, `${reader.place("tls_cert")} needs tls_key beside it: both or neither`);
  if (key !== null)
    throw new Refusal(2, `${reader.place("tls_key")} needs tls_cert beside it: both or neither`);
  return null;
}

/** The secrets of a key that may be a list, the newest first: `jwt_secret` or `jwt_secrets`, and not both. */
export function oneOrList(
  reader: Reader,
  key: string,
  one: string | null,
  list: readonly JwtSecret[] | null,
): readonly JwtSecret[] {
  if (list === null) return one === null ? [] : [{ kid: null, secret: one }];
  // Tangram's default is nothing that an operator said.
  if (one !== null && reader.given(key))
    throw new Refusal(2, `${reader.place(key)} and ${key}s are both set: take one away`);
  return list;
}

/** Pages that are not there should be missed at start, not by the first visitor. */
export function checkFolder(reader: Reader, path: string): void {
  let problem = "it is no folder";
  try {
    if (statSync(path).isDirectory()) return;
  } catch (error) {
    problem = why(error);
  }
  throw new Refusal(1, `${reader.place("static_path")}: cannot read ${quoted(path)}: ${problem}`);
}

/** A client must be able to hold one message while the next one comes. */
export function checkBuffers(reader: Reader, { limits }: Config): void {
  if (limits.maxBufferedPerClient >= 2 * limits.maxPayload) return;
  const key = reader.given("limits.max_buffered_per_client")
    ? "limits.max_buffered_per_client"
    : "limits.max_payload";
  const rule = `limits.max_buffered_per_client (${LIMITS.maxBufferedPerClient.kind.print(limits.maxBufferedPerClient)})`;
  const payload = LIMITS.maxPayload.kind.print(limits.maxPayload);
  const least = LIMITS.maxBufferedPerClient.kind.print(2 * limits.maxPayload);
  throw new Refusal(
    2,
    `${reader.place(key)}: ${rule} must be at least twice limits.max_payload (${payload}), so at least ${least}`,
  );
}

/** Secrets that stand in examples, ours and others': whoever reads those can sign tokens. */
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
];

/** Where a secret was set that everybody knows; `null` where there is none. */
function knownSecret(reader: Reader, config: Omit<Config, "host">): string | null {
  const jwt = keyOf(reader, "jwt_secret");
  const admin = keyOf(reader, "admin_secret");
  for (const [key, secret] of [
    [jwt, config.jwtSecret],
    ...config.olderJwtSecrets.map(({ secret }) => [jwt, secret] as const),
    [admin, config.adminSecret],
    ...config.olderAdminSecrets.map((secret) => [admin, secret] as const),
    ["channelstream.secret", config.channelstream.secret ?? ""],
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
  throw new Refusal(
    2,
    `${origin} is a secret known from examples, which is too weak beyond loopback (host ${config.host}); choose one of 32 random bytes`,
  );
}

/** `host = "auto"`, as the image has it: a command copied from documentation must serve, but nobody beyond this machine. */
export const AUTO_HOST = "auto";

export interface AutoHost {
  readonly host: string;
  readonly warnings: readonly string[];
}

/** Every address; loopback alone, with a warning, where a secret is one known from examples. */
export function resolveAutoHost(reader: Reader, config: Omit<Config, "host">): AutoHost {
  const origin = knownSecret(reader, config);
  if (origin === null) return { host: "0.0.0.0", warnings: [] };
  const warnings: string[] = [];
  warnings.push(
    `${origin} is a secret known from examples: only this machine, or container, is served until another is set (host auto)`,
  );
  return { host: "127.0.0.1", warnings };
}

/** Under which of its two names a secret was set. */
function keyOf(reader: Reader, key: string): string {
  return reader.given(`${key}s`) ? `${key}s` : key;
}

/** What works, but should not stay so. */
export function warningsOf(reader: Reader, config: Config): string[] {
  const warnings: string[] = [];
  if (config.jwtSecretGenerated) {
    warnings.push("no jwt_secret is set: a random one is used, and tokens made with it end with this run");
  } else if (reader.tangram && !reader.given("jwt_secret") && !reader.given("jwt_secrets")) {
    warnings.push('jwt_secret is Tangram\'s default, "secret": anyone can sign tokens');
  } else if (isShort(config.jwtSecret) || config.olderJwtSecrets.some(({ secret }) => isShort(secret))) {
    warnings.push("jwt_secret is shorter than 32 bytes: it can be guessed from a token");
  }
  if (isShort(config.adminSecret) || config.olderAdminSecrets.some(isShort)) {
    warnings.push(
      "admin_secret is shorter than 32 bytes: it can be guessed from a cookie or a token for admin",
    );
  }
  if (reader.place("host") === "HOST") {
    warnings.push(
      `the variable HOST says where to listen (${config.host}): shells and conda export one for themselves, so use CHANNEL_HOST`,
    );
  }
  if (config.tokenEndpoint === "open" && !isLoopback(config.host)) {
    warnings.push(
      `token_endpoint is "open" on ${config.host}: anyone who reaches this server gets a token for ${config.tokenChannels.join(", ")}`,
    );
  }
  const now = Date.now();
  if (now < EARLIEST) {
    warnings.push(
      `the clock of this machine says ${day(now)}, which is before this program was made: tokens and certificates are judged wrongly until it is set`,
    );
  }
  if (config.tls !== null)
    warnings.push(...certificateWarnings(reader.place("tls_cert"), config.tls.cert, now));
  return warnings;
}

function isShort(secret: string): boolean {
  return Buffer.byteLength(secret) < 32;
}

/** No clock that goes right says less. */
const EARLIEST = Date.UTC(2026, 10, 1);

/** Certificates are renewed about a month before their end: two weeks before it that has failed. */
const CERTIFICATE_MARGIN = 14 * 86_400_000;

function certificateWarnings(place: string, pem: string, now: number): string[] {
  const { validFrom, validTo } = new X509Certificate(pem);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  const renew = "renew it and restart the server, which reads it once";
  if (now < from)
    return [
      `${place}: the certificate is good from ${day(from)} only, and the clock here says ${day(now)}: one of them is wrong`,
    ];
  if (now > to) return [`${place}: the certificate ended on ${day(to)}, and browsers refuse it: ${renew}`];
  return now > to - CERTIFICATE_MARGIN ? [`${place}: the certificate ends on ${day(to)}: ${renew}`] : [];
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
