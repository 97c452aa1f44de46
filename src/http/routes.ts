import type { Registry } from "prom-client";
import type { Admin } from "../auth/admin.ts";
import { isJsonObject, ownValue } from "../auth/hs256.ts";
import { reachesAll } from "../auth/key-scope.ts";
import { isForeign } from "../auth/same-origin.ts";
import type { Verify } from "../auth/verifier.ts";
import type { RefusalLog } from "../hub/refusal-log.ts";
import type { Log } from "../log.ts";
import { checkOrigin, corsHeaders, preflightHeaders } from "./admission.ts";
import type { Api } from "./api/api.ts";
import type { ApiDeps } from "./api/deps.ts";
import { pages } from "./assets.ts";
import { readJson } from "./body.ts";
import { type HttpRefusal, json, refuse } from "./json-response.ts";
import type { Client } from "./peer.ts";
import type { Route } from "./route.ts";
import { serveAsset } from "./serve-asset.ts";
import { findStatic, serveFile } from "./static.ts";
import { createTokenHandler } from "./token-route.ts";

export interface HttpDeps extends ApiDeps {
  readonly log: Log;
  readonly verify: Verify;
  readonly refusals: RefusalLog;
  readonly registry: Registry;
  /** Whether the server is about to stop, and wants no new clients. */
  readonly draining: () => boolean;
}

/** Answers what is no socket and no long poll. `path` is below `base_path` and still encoded. Never rejects. */
export type Http = (request: Request, path: string, client: Client) => Response | Promise<Response>;

const METHODS = ["GET", "POST", "DELETE"] as const;

const NOT_FOUND: HttpRefusal = {
  status: 404,
  code: "not_found",
  sentence: "There is nothing at this address.",
};

/** A year, for this host alone (RFC 6797). Browsers believe it over TLS only. */
const STRICT_TRANSPORT = "max-age=31536000";

/** Answers with what `table` says, with files of `static_path` in place of our pages. */
export function createHttp(deps: HttpDeps): Http {
  const { config, log, refusals } = deps;
  let loaded: Promise<Api> | null = null;
  /** The API and the library of its schemas take memory that a server without administrators can do without. */
  const loadApi = (): Promise<Api> => {
    loaded ??= import("./api/api.ts").then(({ createApi }) => createApi(deps));
    return loaded;
  };
  const table = routes(deps, loadApi);
  const secure = config.publicUrl?.startsWith("https:") ?? false;

  async function answer(request: Request, path: string, client: Client): Promise<Response> {
    if (path === "") return redirect(`${config.basePath}/${new URL(request.url).search}`, 308);
    if (!path.startsWith("/")) return refuse(NOT_FOUND);
    const route = table.get(path) ?? (path.startsWith("/api/") ? (await loadApi()).find(path) : undefined);
    if (config.staticPath !== null && (route === undefined || route.page)) {
      const file = await fromFolder(config.staticPath, request, path, config.basePath);
      if (file !== null) return file;
    }
    if (route === undefined) return refuse(NOT_FOUND);
    return route.cors ? crossOrigin(route, request, client) : sameOrigin(route, request, client);
  }

  async function crossOrigin(route: Route, request: Request, client: Client): Promise<Response> {
    const foreign = checkOrigin(request.headers, config);
    if (foreign !== null) {
      refusals.origin(foreign.value, foreign.reason, client.address);
      return refuse(foreign, corsHeaders(request.headers, config));
    }
    if (request.method === "OPTIONS") {
      const headers = preflightHeaders(request.headers, config, allowed(route).join(", "));
      return new Response(null, { status: 204, headers });
    }
    const response = await dispatch(route, request, client);
    for (const [name, value] of Object.entries(corsHeaders(request.headers, config))) {
      response.headers.set(name, value);
    }
    return response;
  }

  function sameOrigin(route: Route, request: Request, client: Client): Response | Promise<Response> {
    const reads = request.method === "GET" || request.method === "HEAD" || request.method === "OPTIONS";
    if (!reads && isForeign(request.headers, config.publicUrl, client.https)) {
      const origin = request.headers.get("origin") ?? "unknown";
      refusals.origin(origin, "only our own pages may change this (public_url)", client.address);
      return refuse({
        status: 403,
        code: "own_pages_only",
        sentence: "Pages of other origins may not change anything here.",
      });
    }
    return dispatch(route, request, client);
  }

  return async (request, path, client) => {
    let response: Response;
    try {
      response = await answer(request, path, client);
    } catch (error) {
      log.error("a request failed", { path, error: error instanceof Error ? error.message : "unknown" });
      response = refuse({
        status: 500,
        code: "internal_error",
        sentence: "The server could not do this: its log says why.",
      });
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

function dispatch(route: Route, request: Request, client: Client): Response | Promise<Response> {
  const method = request.method === "HEAD" ? "GET" : request.method;
  const known = METHODS.find((name) => name === method);
  const handler = known === undefined ? undefined : route[known];
  if (handler !== undefined) return handler(request, client);
  const allow = allowed(route).join(", ");
  return refuse(
    { status: 405, code: "method_not_allowed", sentence: `This address takes ${allow} only.` },
    { allow },
  );
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
    return refuse(
      { status: 405, code: "method_not_allowed", sentence: "This address takes GET, HEAD only." },
      { allow: "GET, HEAD" },
    );
  }
  return "folder" in found
    ? redirect(`${base}${found.folder}${new URL(request.url).search}`, 308)
    : serveFile(found, request);
}

function redirect(location: string, status: 303 | 308): Response {
  return new Response(null, { status, headers: { location, "cache-control": "no-store" } });
}

/** Every address that is no socket and no long poll. */
function routes(deps: HttpDeps, loadApi: () => Promise<Api>): ReadonlyMap<string, Route> {
  const { config } = deps;
  const page = (asset: (typeof pages)[keyof typeof pages]): Route => ({
    page: true,
    GET: (request) => serveAsset(asset, request),
  });
  const table: [string, Route][] = [
    ["/admin.html", page(pages.admin)],
    ["/admin.js", page(pages.adminScript)],
    ["/style.css", page(pages.style)],
    ["/phoenix.js", page(pages.phoenix)],
    ["/api-explorer", page(pages.explorer)],
    ["/explorer.js", page(pages.explorerScript)],
    ["/sign-in.js", { GET: (request) => serveAsset(pages.signInScript, request) }],
    ["/swagger-ui.js", page(pages.swaggerScript)],
    ["/swagger-ui.css", page(pages.swaggerStyle)],
    ["/openapi.json", { GET: (...asked) => described(deps, loadApi, ...asked) }],
    ["/token", { cors: true, POST: createTokenHandler(deps) }],
    ["/health", { GET: () => health(deps) }],
    ["/ready", { GET: () => ready(deps) }],
    ["/metrics", { GET: (...asked) => metrics(deps, ...asked) }],
    [
      "/admin/sign_in",
      { GET: (request) => signInPage(deps, request), POST: (...asked) => signIn(deps, ...asked) },
    ],
    ["/admin/session", { GET: (...asked) => session(deps, ...asked) }],
    ["/admin/sign_out", { POST: (...asked) => signOut(deps, ...asked) }],
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
  const note = "The embedded bus is in use: it serves this machine only, and keeps nothing.";
  return json({ status: "up", bus: kind, ...(kind === "embedded" ? { note } : {}) });
}

function ready({ busState, draining }: HttpDeps): Response {
  if (draining())
    return refuse({ status: 503, code: "shutting_down", sentence: "The server is shutting down." });
  const { live, detail, kind, gaps, where } = busState();
  if (!live) return refuse({ status: 503, code: "bus_away", sentence: `The bus is away: ${detail}.` });
  return json({ status: "ready", bus: kind, gaps, ...(where === undefined ? {} : { where }) });
}

/** For the administrator, and for whoever has a key, whatever it is for. */
async function described(
  { admin }: HttpDeps,
  loadApi: () => Promise<Api>,
  request: Request,
  client: Client,
): Promise<Response> {
  const found = admin.identify(request, client);
  return found.ok ? (await loadApi()).description(request, client) : refuse(found);
}

/** For whoever is on this machine, as Prometheus' agents are; from elsewhere for those who may read. */
async function metrics({ admin, registry }: HttpDeps, request: Request, client: Client): Promise<Response> {
  const refused = client.loopback ? null : whyNotRead(admin, request, client);
  if (refused !== null) return refuse(refused);
  return new Response(await registry.metrics(), {
    headers: { "content-type": registry.contentType, "cache-control": "no-store" },
  });
}

function whyNotRead(admin: Admin, request: Request, client: Client): HttpRefusal | null {
  const found = admin.identify(request, client);
  if (!found.ok) return found;
  const { caller } = found;
  if (caller.kind === "key" && !caller.key.can.includes("read"))
    return { status: 403, code: "ability_missing", sentence: "This needs a key that can read." };
  return reachesAll(caller)
    ? null
    : { status: 403, code: "all_channels_needed", sentence: "This needs a key for all channels." };
}

/**
 * The link of the start-up message leads to a page that sends the code back. Nothing is tried by the link itself: any page
 * may show a picture from there.
 */
function signInPage({ config }: HttpDeps, request: Request): Response {
  if (!new URL(request.url).searchParams.has("code")) return redirect(`${config.basePath}/admin.html`, 303);
  return serveAsset(opensByItself(request.headers) ? pages.signInAtOnce : pages.signIn, request);
}

/** Whether the visitor opened the page, and no other page did: that one could use up what the visitor may try. */
function opensByItself(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return site === "none" || site === "same-origin";
}

async function signIn(
  { admin, config, inbound }: HttpDeps,
  request: Request,
  client: Client,
): Promise<Response> {
  const body = await readJson(request, config.limits.maxBody, inbound);
  if (!body.ok) return refuse(body.refusal);
  const sent = isJsonObject(body.value) ? body.value : {};
  const code = ownValue(sent, "code");
  if (typeof code === "string") return cookieAnswer(admin.signInByCode(code, request, client));
  const secret = ownValue(sent, "secret");
  if (typeof secret !== "string")
    return refuse({
      status: 422,
      code: "invalid_request",
      sentence: 'Send {"secret": "<the admin secret>"}.',
    });
  return cookieAnswer(admin.signIn(secret, request, client));
}

/** For the pages: whether their visitor is signed in. No is an answer, and no error in a browser's console. */
function session({ admin }: HttpDeps, request: Request, client: Client): Response {
  return json({ signed_in: admin.check(request, client).ok });
}

function signOut({ admin }: HttpDeps, request: Request, client: Client): Response {
  return cookieAnswer(admin.signOut(request, client));
}

function cookieAnswer(result: ReturnType<Admin["signIn"]>): Response {
  if (!result.ok) return refuse(result);
  return new Response(null, {
    status: 204,
    headers: { "set-cookie": result.cookie, "cache-control": "no-store" },
  });
}
