import { isObject, type JsonObject, ownValue } from "../../auth/json-object.ts";
import { createMint } from "../../auth/mint.ts";
import { plainAddress } from "../../auth/peer.ts";
import { createVerifier } from "../../auth/verifier.ts";
import { type Config, isLoopback } from "../../config/config.ts";
import { randomId } from "../../hub/random-id.ts";
import { type OwnServer, ownAddress, ownServer } from "../own-server.ts";
import { type Check, failed, ok, skipped, warning } from "./check.ts";
import { type JoinOptions, joinOnce } from "./test-client.ts";

/** Lifetime of the token of a check, in seconds. */
const TOKEN_SECS = 60;

const TIMEOUT_MS = 10_000;

/** An address that no client has (RFC 5737), as a client would forge it. */
const FORGED = "203.0.113.99";

/** The running server, a token from its signature to a join, and the way by `public_url`. */
export async function checkServer(config: Config, { check: server, runs }: FoundServer): Promise<Check[]> {
  const channel = `doctor-${randomId(12)}`;
  const { check, token } = await checkToken(config, channel);
  const joined = token === null ? null : runs ? await checkJoin(config, channel, token) : NOT_JOINED;
  const proxy = await checkProxy(config, channel, token, runs);
  return [check, server, ...(joined === null ? [] : [joined]), ...proxy];
}

const NOT_JOINED = skipped("join", "no server was asked", "start the server, then run this command again");

/** Signs a token and verifies it by the same configuration. */
async function checkToken(
  config: Config,
  channel: string,
): Promise<{ readonly check: Check; readonly token: string | null }> {
  const name = "token";
  if (config.jwtSecretGenerated) {
    const found = "jwt_secret is not set: each start of the server makes another one";
    return { check: warning(name, found, '"channel init" writes one'), token: null };
  }
  const token = await createMint(config)({
    id: "doctor",
    channels: { channel },
    expiresInSecs: TOKEN_SECS,
  });
  const verdict = await createVerifier(config)(token, { address: "doctor", foreign: false });
  const check = verdict.ok
    ? ok(name, "a token of jwt_secret is verified by this configuration")
    : failed(name, `a token of jwt_secret is refused: ${verdict.code}`, "check jwt_secrets and [claims]");
  return { check, token };
}

/** The server of the configuration on this machine. */
export interface FoundServer {
  readonly check: Check;
  /** Whether one answers. */
  readonly runs: boolean;
  /** `redis` or `embedded`; `null` if unknown. */
  readonly bus: string | null;
}

export async function findServer(config: Config): Promise<FoundServer> {
  // The token and the session of these checks are for this server only.
  process.env.NO_PROXY = "*";
  const name = "server";
  const url = ownAddress(config);
  const absent = (check: Check) => ({ check, runs: false, bus: null });
  if (config.port === 0) return absent(skipped(name, "the system chooses its port", "set port"));
  const answer = await ask(`${url}/ready`, true);
  if (answer === null) {
    const remedy = "start it, then run this command again";
    return absent(skipped(name, `no server answers at ${url}`, remedy));
  }
  const { status, body } = answer;
  if (status === 200 && ownValue(body, "status") === "ready")
    return { check: ok(name, `ready at ${url}`), runs: true, bus: String(ownValue(body, "bus")) };
  const reason = ownValue(body, "error");
  if (typeof reason !== "string")
    return absent(failed(name, `another program answers at ${url}`, "stop it, or set another port"));
  const remedy = "docs/errors.md has the remedy of each reason";
  return { check: failed(name, `not ready: ${reason}`, remedy), runs: true, bus: null };
}

async function checkJoin(config: Config, channel: string, token: string): Promise<Check> {
  const name = "join";
  const result = await joinOnce(ownAddress(config), { channel, token, ownServer: true });
  if (result.kind === "joined") {
    result.close();
    return ok(name, "the server accepts a token of this configuration");
  }
  return result.kind === "refused"
    ? failed(
        name,
        `the server refuses a token of this configuration: ${result.reason}`,
        "reload the server, or run this command with its configuration and secrets",
      )
    : failed(name, "the server accepts no socket at /websocket", "its log names the reason");
}

/** The way by `public_url`: name and host, upgrade, and the addresses of clients. */
async function checkProxy(
  config: Config,
  channel: string,
  token: string | null,
  runs: boolean,
): Promise<Check[]> {
  const { publicUrl } = config;
  if (publicUrl === null) return [skipped("public address", "public_url is not set")];
  const answer = await ask(`${publicUrl}/phoenix.js`, false);
  if (answer === null) {
    const found = `${publicUrl} does not answer`;
    if (!runs) return [skipped("public address", found, "start the server, then run this command again")];
    return [failed("public address", found, "check the name, the proxy, its certificate and the firewall")];
  }
  if (answer.status !== 200) {
    const reason = ownValue(answer.body, "error");
    const found = `${publicUrl} answers ${answer.status}${typeof reason === "string" ? `: ${reason}` : ""}`;
    const remedy =
      answer.status === 403
        ? "the proxy has to pass on Host unchanged: proxy_set_header Host $http_host"
        : "the proxy has to lead to this server, at base_path";
    return [failed("public address", found, remedy)];
  }
  const reached = ok("public address", `${publicUrl} leads to a server`);
  if (token === null) return [reached, skipped("proxy headers", "no token to join with")];
  return [reached, ...(await checkHeaders(config, publicUrl, channel, token))];
}

async function checkHeaders(
  config: Config,
  publicUrl: string,
  channel: string,
  token: string,
): Promise<Check[]> {
  const upgrade = "proxy upgrade";
  const name = "proxy headers";
  const options = { channel, token, ownServer: false };
  const plain = await joinOnce(publicUrl, options);
  if (plain.kind === "unconnected") {
    const remedy = "the proxy has to pass on Upgrade and Connection, by HTTP/1.1 (deploy/nginx.conf)";
    return [failed(upgrade, "no socket opens by public_url", remedy)];
  }
  if (plain.kind === "refused") {
    const found = `the server behind public_url refuses a token of this configuration: ${plain.reason}`;
    return [failed(upgrade, found, "public_url has to lead to a server of this configuration")];
  }
  const checks = [ok(upgrade, "a socket opens by public_url")];
  const api = ownServer(config);
  const seen = await addressOf(api, plain.connection);
  plain.close();
  if (seen === null) {
    return [
      ...checks,
      skipped(name, "the API did not name the connection", "set admin_secret, and start the server here"),
    ];
  }
  const forged = config.trustedProxies.length === 0 ? null : await forgedAddress(api, publicUrl, options);
  checks.push(judgeAddress(config, publicUrl, seen, forged));
  return checks;
}

/** The address of a client that sends a false one, as the server sees it. */
async function forgedAddress(
  api: OwnServer | null,
  publicUrl: string,
  options: Omit<JoinOptions, "headers">,
): Promise<string | null> {
  const forging = await joinOnce(publicUrl, { ...options, headers: { "x-forwarded-for": FORGED } });
  if (forging.kind !== "joined") return null;
  const address = await addressOf(api, forging.connection);
  forging.close();
  return address;
}

/** @param seen the address of a client, as the server sees it @param forged the same, of one that sent an address itself */
function judgeAddress(config: Config, publicUrl: string, seen: string, forged: string | null): Check {
  const name = "proxy headers";
  const trusted = config.trustedProxies.map((address) => plainAddress(address) ?? address);
  if (forged === FORGED) {
    const remedy =
      "the proxy has to add the address: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for";
    return failed(
      name,
      "clients can forge their address: X-Forwarded-For is passed on as they send it",
      remedy,
    );
  }
  // TLS that this server does not end is ended by a proxy.
  const behind = publicUrl.startsWith("https:") && config.tls === null;
  const isUnnamed = seen === "unknown" || (behind && trusted.length === 0);
  if (isUnnamed) {
    const found =
      "the server does not trust the proxy: it does not know addresses of clients, nor that they use HTTPS";
    return failed(name, found, 'trusted_proxies = ["127.0.0.1", "::1"], or the address of the proxy');
  }
  const isLocal = isLoopback(new URL(publicUrl).hostname.replace(/^\[|\]$/g, ""));
  if (trusted.includes(seen) && !isLocal && trusted.length > 0) {
    return warning(
      name,
      `the server sees this client as ${seen}, an address of trusted_proxies`,
      "fine if this machine is the proxy; otherwise the proxy has to send X-Forwarded-For",
    );
  }
  return ok(name, `the server sees this client as ${seen}`);
}

/** The address of a connection, as the server sees it. */
async function addressOf(api: OwnServer | null, connection: string): Promise<string | null> {
  const answer = await api?.read(`/api/connections?limit=10&search=${encodeURIComponent(connection)}`);
  const rows = answer?.status === 200 ? ownValue(answer.body, "connections") : null;
  for (const row of Array.isArray(rows) ? rows : []) {
    if (!isObject(row) || ownValue(row, "id") !== connection) continue;
    const address = ownValue(row, "address");
    return typeof address === "string" ? address : null;
  }
  return null;
}

/** @param ownServer whether the certificate may have another name */
async function ask(
  url: string,
  ownServer: boolean,
): Promise<{ readonly status: number; readonly body: JsonObject } | null> {
  try {
    const response = await fetch(url, {
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(ownServer ? { tls: { rejectUnauthorized: false } } : {}),
    });
    const isJson = response.headers.get("content-type")?.startsWith("application/json") ?? false;
    const body: unknown = isJson ? await response.json() : await response.body?.cancel();
    return { status: response.status, body: isObject(body) ? body : {} };
  } catch {
    return null;
  }
}
