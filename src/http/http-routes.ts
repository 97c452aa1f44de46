import type { Registry } from "prom-client";
import { type Admin, FOREIGN_CODE } from "../auth/admin.ts";
import { isObject, ownValue } from "../auth/json-object.ts";
import { reachesAll } from "../auth/key-scope.ts";
import type { Peer } from "../auth/peer.ts";
import { Rejection } from "../auth/rejection.ts";
import { isForeign } from "../auth/same-origin.ts";
import type { Verify } from "../auth/verifier.ts";
import type { Siblings } from "../fleet/siblings.ts";
import type { RefusalLog } from "../hub/refusal-log.ts";
import type { Log } from "../log.ts";
import { checkOrigin, corsHeaders, preflightHeaders } from "./admission.ts";
import type { Api } from "./api/api.ts";
import type { ApiDeps } from "./api/deps.ts";
import { type Asset, pages } from "./assets.ts";
import { readJson } from "./body.ts";
import { acceptsPage } from "./error-page.ts";
import { json, reject } from "./json-response.ts";
import { sumMetrics, WORKER_METRICS } from "./metrics.ts";
import type { Route } from "./route.ts";
import { serveAsset } from "./serve-asset.ts";
import { findStatic, serveFile } from "./static.ts";
import { createTokenHandler } from "./token-route.ts";

export interface HttpDeps extends ApiDeps {
  readonly log: Log;
  readonly verify: Verify;
  readonly refusals: RefusalLog;
  readonly registry: Registry;
  /** The other workers of this machine, and the first whose bus is away; `null` if there are none. */
  readonly workers: { readonly siblings: Siblings; readonly firstAway: () => number | null } | null;
  /** Whether the server is shutting down and accepts no new clients. */
  readonly draining: () => boolean;
}

/** Handles all requests except sockets and protocol routes. `path` is below `base_path` and encoded. Never throws. */
export type Http = (request: Request, path: string, peer: Peer) => Response | Promise<Response>;

const METHODS = ["GET", "POST", "DELETE"] as const;

/** What other servers may ask for, to show it with their own. */
const LISTS = [
  "list-channels",
  "list-members",
  "list-connections",
  "list-audit",
  "list-processes",
  "series-day",
  "series-channel",
] as const;

/** Where the pages of the documentation are. */
const DOCS = "/docs/";

/** ms in which other workers answer. */
const WORKER_TIMEOUT = 2000;

const NOT_FOUND = new Rejection(404, "not_found", "No resource at this path.");

/** HSTS for one year, without subdomains (RFC 6797). Browsers ignore it without TLS. */
const STRICT_TRANSPORT = "max-age=31536000";

/** Creates the HTTP handler. Files in `static_path` replace the built-in pages. */
export function createHttp(deps: HttpDeps): Http {
  const { config, log, refusals } = deps;
  let loaded: Promise<Api> | null = null;
  /** Loaded on first use: the API and its schema library need memory that most servers can save. */
  const loadApi = (): Promise<Api> => {
    loaded ??= import("./api/api.ts").then(({ createApi }) => createApi(deps));
    return loaded;
  };
  for (const kind of LISTS) {
    deps.lists.fleet?.requests.on(kind, async (body) => {
      const { lists } = await loadApi();
      return lists.find((list) => list.kind === kind)?.answer(body) ?? null;
    });
  }
  const table = routes(deps, loadApi);
  const secure = config.publicUrl?.startsWith("https:") ?? false;

  /** Routes of modules that are loaded on first use. */
  async function findLoaded(path: string): Promise<Route | undefined> {
    if (path.startsWith("/api/")) return (await loadApi()).find(path);
    if (!path.startsWith(DOCS)) return undefined;
    const { docs } = await import("./docs/docs.ts");
    const asset = docs.get(path.slice(DOCS.length));
    return asset === undefined ? undefined : page(asset);
  }

  async function answer(request: Request, path: string, peer: Peer): Promise<Response> {
    if (path === "") return redirect(`${config.basePath}/${new URL(request.url).search}`, 308);
    if (!path.startsWith("/")) return reject(NOT_FOUND);
    const route = table.get(path) ?? (await findLoaded(path));
    if (config.staticPath !== null && (route === undefined || route.page)) {
      const file = await fromFolder(config.staticPath, request, path, config.basePath);
      if (file !== null) return file;
    }
    if (route === undefined) return reject(NOT_FOUND);
    return route.cors ? crossOrigin(route, request, peer) : sameOrigin(route, request, peer);
  }

  async function crossOrigin(route: Route, request: Request, peer: Peer): Promise<Response> {
    const foreign = checkOrigin(request.headers, config);
    if (foreign !== null) {
      refusals.origin(foreign.value, foreign.logReason, peer.address);
      return reject(foreign, corsHeaders(request.headers, config));
    }
    if (request.method === "OPTIONS") {
      const headers = preflightHeaders(request.headers, config, allowed(route).join(", "));
      return new Response(null, { status: 204, headers });
    }
    const response = await dispatch(route, request, peer);
    for (const [name, value] of Object.entries(corsHeaders(request.headers, config))) {
      response.headers.set(name, value);
    }
    return response;
  }

  function sameOrigin(route: Route, request: Request, peer: Peer): Response | Promise<Response> {
    const reads = request.method === "GET" || request.method === "HEAD" || request.method === "OPTIONS";
    if (!reads && isForeign(request.headers, config.publicUrl, peer.https)) {
      const origin = request.headers.get("origin") ?? "unknown";
      refusals.origin(origin, "only our own pages may change this (public_url)", peer.address);
      return reject(
        new Rejection(403, "own_pages_only", "Changes are not accepted from pages of other origins."),
      );
    }
    return dispatch(route, request, peer);
  }

  return async (request, path, peer) => {
    let response: Response;
    try {
      response = await answer(request, path, peer);
    } catch (error) {
      log.error("a request failed", { path, error: error instanceof Error ? error.message : "unknown" });
      response = reject(new Rejection(500, "internal_error", "Internal error: see the server's log."));
    }
    response.headers.set("x-content-type-options", "nosniff");
    response.headers.set("referrer-policy", "no-referrer");
    if (secure) response.headers.set("strict-transport-security", STRICT_TRANSPORT);
    return response;
  };
}

function allowed(route: Route): string[] {
  const methods: string[] = METHODS.filter((method) => route[method] !== undefined);
  if (route.GET !== undefined) methods.push("HEAD");
  if (route.cors) methods.push("OPTIONS");
  return methods;
}

function dispatch(route: Route, request: Request, peer: Peer): Response | Promise<Response> {
  const method = request.method === "HEAD" ? "GET" : request.method;
  const known = METHODS.find((name) => name === method);
  const handler = known === undefined ? undefined : route[known];
  if (handler !== undefined) return handler(request, peer);
  const allow = allowed(route).join(", ");
  return reject(new Rejection(405, "method_not_allowed", `Method not allowed. Allowed: ${allow}.`), {
    allow,
  });
}

async function fromFolder(
  root: string,
  request: Request,
  path: string,
  base: string,
): Promise<Response | null> {
  const found = await findStatic(root, path);
  if (found === null) return null;
  if (request.method !== "GET" && request.method !== "HEAD") {
    return reject(new Rejection(405, "method_not_allowed", "Method not allowed. Allowed: GET, HEAD."), {
      allow: "GET, HEAD",
    });
  }
  return "folder" in found
    ? redirect(`${base}${found.folder}${new URL(request.url).search}`, 308)
    : serveFile(found, request);
}

function redirect(location: string, status: 303 | 308): Response {
  return new Response(null, { status, headers: { location, "cache-control": "no-store" } });
}

/** A built-in page or its part. */
function page(asset: Asset): Route {
  return { page: true, GET: (request) => serveAsset(asset, request) };
}

/** All routes except those of protocols, the API and the documentation. */
function routes(deps: HttpDeps, loadApi: () => Promise<Api>): ReadonlyMap<string, Route> {
  const { config } = deps;
  const table: [string, Route][] = [
    ["/admin.html", page(pages.admin)],
    ["/admin.js", page(pages.adminScript)],
    ["/style.css", page(pages.style)],
    ["/phoenix.js", page(pages.phoenix)],
    ["/api-explorer", page(pages.explorer)],
    ["/explorer.js", page(pages.explorerScript)],
    ["/sign-in.js", { GET: (request) => serveAsset(pages.signInScript, request) }],
    ["/explorer.css", page(pages.explorerStyle)],
    ["/docs", { page: true, GET: () => redirect(`${config.basePath}${DOCS}`, 308) }],
    ["/openapi.json", { GET: async (request) => serveAsset((await loadApi()).description(), request) }],
    ["/channel.d.ts", { GET: async (request) => serveAsset((await loadApi()).declaration(), request) }],
    ["/token", { cors: true, POST: createTokenHandler(deps) }],
    ["/health", { GET: () => health(deps) }],
    ["/ready", { GET: () => ready(deps) }],
    ["/metrics", { GET: (...args) => metrics(deps, ...args) }],
    [
      "/admin/sign_in",
      { GET: (request) => signInPage(deps, request), POST: (...args) => signIn(deps, ...args) },
    ],
    ["/admin/session", { GET: (...args) => session(deps, ...args) }],
    ["/admin/sign_out", { POST: (...args) => signOut(deps, ...args) }],
  ];
  if (config.staticPath === null) {
    table.push(
      ["/", page(pages.index)],
      ["/index.html", page(pages.index)],
      ["/index.js", page(pages.indexScript)],
    );
  }
  return new Map(table);
}

function health({ busState }: HttpDeps): Response {
  const { kind } = busState();
  const note = "The embedded bus is in use: it serves this machine only and stores nothing.";
  return json({ status: "up", bus: kind, ...(kind === "embedded" ? { note } : {}) });
}

function ready({ busState, draining, workers }: HttpDeps): Response {
  if (draining()) return reject(new Rejection(503, "shutting_down", "The server is shutting down."));
  const { live, detail, kind, gaps, where } = busState();
  if (!live) return reject(new Rejection(503, "bus_away", `The bus is disconnected: ${detail}.`));
  const away = workers?.firstAway() ?? null;
  if (away !== null)
    return reject(new Rejection(503, "bus_away", `The bus is disconnected in worker ${away}.`));
  return json({ status: "ready", bus: kind, gaps, ...(where === undefined ? {} : { where }) });
}

/** Open to loopback clients (local Prometheus agents); others need the ability read. */
async function metrics(
  { admin, registry, workers }: HttpDeps,
  request: Request,
  peer: Peer,
): Promise<Response> {
  const rejection = peer.loopback ? null : readRejection(admin, request, peer);
  if (rejection !== null) return reject(rejection);
  const summed = workers === null ? registry : await machineMetrics(registry, workers.siblings);
  return new Response(await summed.metrics(), {
    headers: { "content-type": registry.contentType, "cache-control": "no-store" },
  });
}

/** The sum over the workers that answer. */
async function machineMetrics(registry: Registry, siblings: Siblings): Promise<Registry> {
  const [own, others] = await Promise.all([
    registry.getMetricsAsJSON(),
    siblings.askAll(WORKER_METRICS, WORKER_TIMEOUT),
  ]);
  return sumMetrics(own, others);
}

function readRejection(admin: Admin, request: Request, peer: Peer): Rejection | null {
  const found = admin.authenticate(request, peer);
  if (!found.ok) return found;
  const { principal } = found;
  if (principal.kind === "key" && !principal.key.can.includes("read"))
    return new Rejection(403, "ability_missing", "An API key with the ability read is required.");
  return reachesAll(principal)
    ? null
    : new Rejection(403, "all_channels_needed", "An API key for all channels is required.");
}

/**
 * The sign-in link of the startup message opens a page that submits the code. Opening the link alone uses up nothing: any
 * web page could embed it.
 */
function signInPage({ admin, config }: HttpDeps, request: Request): Response {
  if (!new URL(request.url).searchParams.has("code")) return redirect(`${config.basePath}/admin.html`, 303);
  const rejection = admin.signInLinkRejection();
  if (rejection !== null) return reject(rejection);
  if (!acceptsPage(request)) return reject(FOREIGN_CODE);
  return serveAsset(isDirectNavigation(request.headers) ? pages.signInSubmitting : pages.signIn, request);
}

/** Whether the user opened the page directly, or from this server: a page of another site could use up attempts. */
function isDirectNavigation(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return site === "none" || site === "same-origin";
}

async function signIn({ admin, config, inbound }: HttpDeps, request: Request, peer: Peer): Promise<Response> {
  const body = await readJson(request, config.limits.maxBody, inbound);
  if (!body.ok) return reject(body);
  const fields = isObject(body.value) ? body.value : {};
  const code = ownValue(fields, "code");
  if (typeof code === "string") return cookieAnswer(admin.signInByCode(code, request, peer));
  const secret = ownValue(fields, "secret");
  if (typeof secret !== "string")
    return reject(
      new Rejection(422, "invalid_request", 'Send {"secret": "<the admin secret or an API key>"}.'),
    );
  return cookieAnswer(admin.signIn(secret, request, peer));
}

/** Whether the user is signed in, and as whom. 200 in both cases, so that browsers log no error. */
function session({ admin }: HttpDeps, request: Request, peer: Peer): Response {
  const found = admin.authenticate(request, peer);
  if (!found.ok) return json({ signed_in: false });
  const { principal } = found;
  if (principal.kind === "administrator") return json({ signed_in: true, role: "administrator" });
  const { name, can } = principal.key;
  return json({ signed_in: true, role: "key", name, can });
}

function signOut({ admin }: HttpDeps, request: Request, peer: Peer): Response {
  return cookieAnswer(admin.signOut(request, peer));
}

function cookieAnswer(result: ReturnType<Admin["signIn"]>): Response {
  if (!result.ok) return reject(result);
  return new Response(null, {
    status: 204,
    headers: { "set-cookie": result.cookie, "cache-control": "no-store" },
  });
}
