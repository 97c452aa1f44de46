import type { Peer } from "../../auth/peer.ts";
import { Rejection } from "../../auth/rejection.ts";
import { count } from "../../hub/stats.ts";
import { LongPollClient } from "../../transports/longpoll.ts";
import { VERSION } from "../../version.ts";
import type { PlainRequest, ProtocolDeps, ProtocolRoute } from "../protocol.ts";
import { ChannelstreamSession } from "./channelstream-session.ts";
import { preflight } from "./cors.ts";
import type { Engine } from "./engine.ts";
import type { Listener } from "./listener.ts";
import { parseJson } from "./parse-json.ts";
import { pollResponse } from "./poll-response.ts";
import {
  BAD_SIGNATURE,
  FORBIDDEN,
  HTTPS_ONLY,
  invalid,
  type Reply,
  rejected,
  toResponse,
  UNKNOWN_LISTENER,
} from "./responses.ts";
import { createCalls, type Route } from "./routes.ts";
import type { Credentials, Signatures } from "./signatures.ts";
import { parseUuid } from "./uuid.ts";

const POLL_PATH = "/listen";

/** Channelstream's admin pages: here `/admin.html` takes their place. */
const ADMIN_PATHS: ReadonlySet<string> = new Set(["/admin", "/admin/sign_out"]);

/** Names of functions that a poll may be answered with a call of (JSONP). */
const CALLBACK = /^[A-Za-z_$][\w$.]*$/;

/** How long a poll that is about to end collects further messages, in ms (Channelstream 0.7). */
const POLL_COLLECT = 250;

/** Seconds that a poll may take beyond `wake_connections_after`. */
const POLL_MARGIN_SECS = 10;

export interface ChannelstreamHttpOptions {
  readonly deps: ProtocolDeps;
  readonly engine: Engine;
  readonly signatures: Signatures;
  readonly corsHeaders: (headers: Headers) => Readonly<Record<string, string>>;
  readonly checkOrigin: (headers: Headers, peer: Peer) => Rejection | null;
}

/** The REST calls and `/listen`. */
export class ChannelstreamHttp {
  readonly #options: ChannelstreamHttpOptions;
  readonly #routes = new Map<string, ProtocolRoute>();
  readonly #adminPages: ProtocolRoute;

  constructor(options: ChannelstreamHttpOptions) {
    this.#options = options;
    const { deps, engine, signatures } = options;
    const location = `${deps.config.basePath}/admin.html`;
    this.#adminPages = { handle: () => new Response(null, { status: 303, headers: { location } }) };
    for (const [path, route] of createCalls(engine, VERSION)) {
      this.#routes.set(path, {
        handle: (asked) => this.#respond(asked, Object.keys(route.methods), route),
        isExempt: ({ request, query, peer }) => signatures.check(request.headers, query, peer) === "signed",
      });
    }
    this.#routes.set(POLL_PATH, {
      handle: (asked) => this.#respond(asked, ["GET"], null),
      // A poll for an open connection needs no place of its own.
      isExempt: ({ query }) => this.#listenerOf(query) !== undefined,
    });
  }

  routes(path: string, method: string): ProtocolRoute | null {
    if (method === "GET" && ADMIN_PATHS.has(path)) return this.#adminPages;
    return this.#routes.get(path) ?? null;
  }

  /** @param call `null` for a poll */
  async #respond(asked: PlainRequest, methods: readonly string[], call: Route | null): Promise<Response> {
    const { deps, corsHeaders } = this.#options;
    const reply = await this.#reply(asked, methods, call);
    const response = reply instanceof Response ? reply : toResponse(reply);
    const { headers } = response;
    for (const [name, value] of Object.entries(corsHeaders(asked.request.headers))) headers.set(name, value);
    headers.set("cache-control", "no-store");
    headers.set("x-content-type-options", "nosniff");
    headers.set("referrer-policy", "no-referrer");
    if (response.status >= 400) count(deps.context.stats.refused, `http_${response.status}`);
    return response;
  }

  async #reply(
    asked: PlainRequest,
    methods: readonly string[],
    call: Route | null,
  ): Promise<Reply | Response> {
    const { deps, checkOrigin, signatures } = this.#options;
    const { request, query, peer } = asked;
    const { method, headers } = request;
    if (deps.config.channelstream.enforceHttps && !peer.https) return HTTPS_ONLY;
    const foreign = checkOrigin(headers, peer);
    if (foreign !== null) return rejected(foreign);
    if (method === "OPTIONS") {
      const allowed = preflight(headers.get("access-control-request-headers"));
      return new Response("", { headers: { "content-type": "text/plain; charset=UTF-8", ...allowed } });
    }
    if (!methods.includes(method)) return methodNotAllowed(methods);
    const credentials = signatures.check(headers, query, peer);
    if (credentials === "badly signed") return BAD_SIGNATURE;
    if (typeof credentials === "object") return rejected(tooMany(credentials.waitSecs));
    return call === null ? this.#poll(asked) : this.#call(asked, call, credentials);
  }

  async #call(
    { request, query, peer }: PlainRequest,
    route: Route,
    credentials: Credentials,
  ): Promise<Reply> {
    const { rules } = this.#options.deps;
    if (route.access === "server" && credentials !== "signed") return FORBIDDEN;
    if (route.access === "administrator" && credentials !== "signed") {
      const rejection = rules.requireAdministrator(request, peer);
      if (rejection !== null) return rejected(rejection);
    }
    const call = route.methods[request.method];
    if (call === undefined) return methodNotAllowed(Object.keys(route.methods));
    if (request.method === "GET") return call({ body: undefined, query });
    const read = await rules.readText(request);
    if (!read.ok) return rejected(read);
    if (read.text === "" && route.bodyOptional) return call({ body: undefined, query });
    let body: unknown;
    try {
      body = parseJson(read.text);
    } catch {
      return rejected(new Rejection(400, "not_json", "The body is not JSON."));
    }
    return call({ body, query });
  }

  async #poll({ request, query, peer, extend }: PlainRequest): Promise<Reply | Response> {
    const { deps, engine } = this.#options;
    const callback = query.get("callback") || null;
    if (callback !== null && !CALLBACK.test(callback)) {
      return invalid({ callback: ["Not a valid name of a function."] });
    }
    if (parseUuid(query.get("conn_id") ?? "") === null) return invalid(["Wrong UUID format"]);
    const listener = this.#listenerOf(query);
    if (listener === undefined) return UNKNOWN_LISTENER;
    if (request.signal.aborted) return new Response(null, { status: 204 });
    const client = this.#pollClient(listener, peer);
    if (client instanceof Rejection) return rejected(client);
    extend(Math.ceil(deps.config.channelstream.wakeConnectionsAfter / 1000) + POLL_MARGIN_SECS);
    const result = client.poll(request.signal, null);
    if (!client.over) engine.attach(listener, client);
    return pollResponse(await result, callback, request.signal);
  }

  #listenerOf(query: URLSearchParams): Listener | undefined {
    const id = parseUuid(query.get("conn_id") ?? "");
    return id === null ? undefined : this.#options.engine.listeners.get(id);
  }

  #pollClient(listener: Listener, peer: Peer): LongPollClient | Rejection {
    if (listener.client instanceof LongPollClient) return listener.client;
    const { deps, engine } = this.#options;
    const { context, newId, places, config } = deps;
    const full = places.admit(peer);
    if (full !== null) return full;
    const client = new LongPollClient(context, newId(), peer.address, {
      wait: config.channelstream.wakeConnectionsAfter,
      collect: POLL_COLLECT,
      // The engine keeps messages, and sends those that a connection has missed.
      keep: false,
      onPollEnd: () => engine.pause(listener),
      onEnd: () => places.release(peer),
    });
    // A connection need not send anything: private messages require no channel.
    client.idleSince = null;
    client.session = new ChannelstreamSession(engine, client, listener, {
      opened() {},
      departure: () => "ended",
    });
    client.start();
    return client;
  }
}

function methodNotAllowed(methods: readonly string[]): Reply {
  const allow = [...methods, "OPTIONS"].join(", ");
  const rejection = new Rejection(405, "method_not_allowed", `Method not allowed. Allowed: ${allow}.`);
  return rejected(rejection, { allow });
}

function tooMany(retryAfterSecs: number): Rejection {
  return new Rejection(
    429,
    "too_many_wrong_secrets",
    "Too many wrong signatures from this address: one attempt every 2 seconds is checked.",
    retryAfterSecs,
  );
}
