import type { Server } from "bun";
import { type Admin, bearerOf } from "../auth/admin.ts";
import type { Peer } from "../auth/peer.ts";
import { Rejection } from "../auth/rejection.ts";
import type { Config } from "../config/config.ts";
import type { Siblings } from "../fleet/siblings.ts";
import type { RefusalLog } from "../hub/refusal-log.ts";
import { count, type Stats } from "../hub/stats.ts";
import type { Protocol, ProtocolRoute } from "../protocols/protocol.ts";
import type { SocketHandler } from "../transports/websocket.ts";
import { checkHost } from "./admission.ts";
import type { ConnectLimiter } from "./connect-limiter.ts";
import { acceptsPage, asPage } from "./error-page.ts";
import type { FirstWorker } from "./first-worker.ts";
import type { Http } from "./http-routes.ts";
import { json } from "./json-response.ts";
import { NO_PATTERN, pathFault } from "./raw-path.ts";
import { isLast, type PathRequest, type Upgrade } from "./upgrade.ts";

const WEBSOCKET_ONLY = new Rejection(426, "websocket_only", "This path accepts WebSocket upgrades only.");
const NOT_FOUND = new Rejection(404, "not_found", "No resource at this path.");
const BAD_HOST = new Rejection(400, "bad_host", "The Host header contains no valid host name.");
const BAD_PATH = new Rejection(400, "bad_path", NO_PATTERN);
const INTERNAL_ERROR = new Rejection(500, "internal_error", "Internal error: see the server's log.");

/** Paths exempt from per-address limits: monitors call them often, and a response costs no more than a rejection. */
const EXEMPT: ReadonlySet<string> = new Set(["/health", "/ready"]);

/** Paths that health checks may request over HTTP/1.0, without a `Host` header. */
const WITHOUT_HOST: ReadonlySet<string> = new Set(["/health", "/ready", "/metrics"]);

/** Paths whose answer may take longer than the idle timeout of the runtime, in seconds. */
const SLOW_PATHS: ReadonlyMap<string, number> = new Map([["/api/reload", 60]]);

/** Closes the connection of a client that has too many, or that is to reach the successor with its next request. */
const CLOSE = { connection: "close" };

/** Codes of rejections that close the connection, which would otherwise occupy a slot. */
const CLOSING_CODES: ReadonlySet<string> = new Set([
  "too_many_connects",
  "too_many_connections",
  "too_many_connections_of_address",
]);

export interface EntryDeps {
  readonly config: Config;
  readonly protocols: readonly Protocol[];
  readonly upgrade: Upgrade;
  /** Handles requests that no protocol handles. */
  readonly http: Http;
  readonly admin: Admin;
  readonly limiter: ConnectLimiter;
  readonly refusals: RefusalLog;
  readonly stats: Stats;
  /** Whether another process has replaced this server. */
  readonly isReplaced: () => boolean;
  readonly peerOf: (headers: Headers, address: string | null) => Peer;
  /** The other workers of this machine; `null` if there are none. */
  readonly siblings: Siblings | null;
  /** Gets what this worker does not handle itself; `null` if it handles all. */
  readonly firstWorker: FirstWorker | null;
}

type Bun = Server<SocketHandler>;
type Answer = Response | Promise<Response | undefined> | undefined;

/** Handles every request: checks host, limits and path, then calls a protocol or `http`. */
export class Entry {
  readonly #deps: EntryDeps;
  readonly #baseParts: number;

  constructor(deps: EntryDeps) {
    this.#deps = deps;
    this.#baseParts = deps.config.basePath.split("/").length - 1;
  }

  /** Handles a request that matches a pattern of `pathPatterns`; `undefined` if it was upgraded. */
  handle(request: Request & { readonly params: Readonly<Record<string, string>> }, bun: Bun): Answer {
    const answer = this.#paged(request, this.#answer(request, bun));
    return this.#deps.isReplaced() ? lastAnswer(answer) : answer;
  }

  #answer(request: Request & { readonly params: Readonly<Record<string, string>> }, bun: Bun): Answer {
    const fault = pathFault(request.url, request.params, this.#baseParts);
    if (fault !== null) return this.#reject(new Rejection(400, "bad_path", fault));
    const { config, peerOf, siblings, firstWorker } = this.#deps;
    const socket = bun.requestIP(request);
    const client = siblings === null ? null : siblings.clientOf(request.headers);
    const peer = client?.peer ?? peerOf(request.headers, socket?.address ?? null);
    const full = URL.parse(request.url);
    const url = full ?? withoutHost(request, config.basePath);
    if (url === null) return this.#reject(BAD_HOST);
    const path = below(config.basePath, url.pathname);
    if (path === null) return this.#reject(NOT_FOUND);
    const asked = { request, path, query: url.searchParams, peer, remote: socket };
    const slow = SLOW_PATHS.get(path);
    if (slow !== undefined) bun.timeout(request, slow);
    const passed = client === null ? (firstWorker?.pass(asked, isUpgrade(request), bun) ?? null) : null;
    if (passed === null) {
      const port = client === null ? (isLast(request) ? null : (socket?.port ?? null)) : client.port;
      return this.#dispatch(asked, bun, full !== null, port);
    }
    return passed.then((result) => (result instanceof Rejection ? this.#reject(result) : result));
  }

  /** Responds to a request whose path matches no pattern. */
  rejectPath(request: Request): Answer {
    return this.#paged(request, this.#reject(BAD_PATH));
  }

  /** Responds to a request whose handler threw. */
  rejectFailure(): Response {
    return this.#reject(INTERNAL_ERROR);
  }

  /** An error as a page where the request is for one. */
  #paged(request: Request, answer: Answer): Answer {
    if (answer === undefined || !acceptsPage(request)) return answer;
    const { basePath } = this.#deps.config;
    if (answer instanceof Promise)
      return answer.then((response) => (response === undefined ? undefined : asPage(response, basePath)));
    return answer.status < 400 ? answer : asPage(answer, basePath);
  }

  /** @param port of the client's connection; `null` if that closes after this request */
  #dispatch(asked: PathRequest, bun: Bun, hasHost: boolean, port: number | null): Answer {
    const { config, protocols, upgrade, http, limiter, refusals } = this.#deps;
    const { request, path, peer } = asked;
    const route = this.#routeOf(path, request.method);
    const answer = (found: ProtocolRoute) =>
      found.handle({ ...asked, extend: (secs) => bun.timeout(request, secs) });
    if (route?.checksItself) return answer(route);
    const foreign = hasHost ? checkHost(request.headers, config) : null;
    if (foreign !== null) {
      refusals[foreign.what](foreign.value, foreign.logReason, peer.address);
      return this.#reject(foreign);
    }
    const isSocketPath = protocols.some((protocol) => protocol.opensAt(path));
    if (isSocketPath && isUpgrade(request)) {
      const rejection = upgrade(asked, bun);
      return rejection === null ? undefined : this.#reject(rejection);
    }
    const tooMany = limiter.request(peer, port);
    if (tooMany !== null && !this.#isExempt(asked, route)) return this.#reject(tooMany);
    if (isSocketPath) return this.#reject(WEBSOCKET_ONLY, { upgrade: "websocket" });
    return route === null ? http(request, path, peer) : answer(route);
  }

  #routeOf(path: string, method: string): ProtocolRoute | null {
    for (const protocol of this.#deps.protocols) {
      const route = protocol.routes?.(path, method) ?? null;
      if (route !== null) return route;
    }
    return null;
  }

  /** Whether a request over the limits of its address is served anyway. Checked only then: the check is expensive. */
  #isExempt(asked: PathRequest, route: ProtocolRoute | null): boolean {
    const { request, path, peer } = asked;
    if (EXEMPT.has(path)) return true;
    if (route?.isExempt?.({ ...asked, extend() {} })) return true;
    const bearer = bearerOf(request.headers);
    // A user's token does not count as an attempt at the secret.
    if (bearer === null ? !request.headers.has("cookie") : bearer.startsWith("eyJ")) return false;
    return this.#deps.admin.authenticate(request, peer).ok;
  }

  #reject({ status, code, reason }: Rejection, headers = {}): Response {
    count(this.#deps.stats.refused, `http_${status}`);
    const closing = CLOSING_CODES.has(code) ? CLOSE : {};
    return json({ error: reason, code }, status, { ...closing, ...headers });
  }
}

/** Closes the connection after an answer. */
function lastAnswer(answer: Answer): Answer {
  if (answer instanceof Promise)
    return answer.then((response) => (response === undefined ? undefined : closing(response)));
  return answer === undefined ? undefined : closing(answer);
}

function closing(response: Response): Response {
  response.headers.set("connection", CLOSE.connection);
  return response;
}

/** The URL of a request without a `Host` header, for the paths that need none. */
function withoutHost(request: Request, basePath: string): URL | null {
  if (request.headers.get("host")) return null;
  const url = URL.parse(request.url, "http://localhost");
  return url !== null && WITHOUT_HOST.has(below(basePath, url.pathname) ?? "") ? url : null;
}

function isUpgrade(request: Request): boolean {
  return request.headers.get("upgrade")?.toLowerCase() === "websocket";
}

/** The part of a path below `base_path`; `null` for a path outside of it. */
function below(basePath: string, path: string): string | null {
  if (path !== basePath && !path.startsWith(`${basePath}/`)) return null;
  return path.slice(basePath.length);
}
