import type { Peer } from "../../auth/peer.ts";
import { Rejection } from "../../auth/rejection.ts";
import { checkSigned } from "../../auth/signature.ts";
import type { ChannelstreamSettings } from "../../config/config.ts";
import type { FanoutContext } from "../../hub/fanout.ts";
import type { Hub } from "../../hub/hub.ts";
import { count } from "../../hub/stats.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import { LongPollClient } from "../../transports/longpoll.ts";
import type { Session } from "../../transports/session.ts";
import { WebSocketClient } from "../../transports/websocket.ts";
import type { Accepted, Protocol, UpgradeRequest } from "../protocol.ts";
import { ChannelstreamSession } from "./channelstream-session.ts";
import { type CrossOrigin, preflight } from "./cors.ts";
import { type Departure, Engine } from "./engine.ts";
import { Heartbeat } from "./heartbeat.ts";
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
import { parseUuid } from "./uuid.ts";

const SOCKET_PATH = "/ws";
const POLL_PATH = "/listen";

/** How long a poll that is about to end collects further messages, in ms (Channelstream 0.7). */
const POLL_COLLECT = 250;

/** Pages of Channelstream's that are ours here. */
const ADMIN_PATHS: ReadonlySet<string> = new Set(["/admin", "/admin/sign_out"]);

/** What may be called for a list that arrives as a script. */
const CALLBACK = /^[A-Za-z_$][\w$.]*$/;

/** Between two looks at who is to be forgotten, in calls of `tick`. */
const SWEEP_TICKS = 4;

const FOREIGN = new Rejection(
  403,
  "origin_not_allowed",
  "Origin not allowed (channelstream.allow_cors, allowed_origins).",
);

/** Codes with which a client takes its leave: done, going away, and a farewell without a code (RFC 6455, 7.4.1). */
const FAREWELLS: ReadonlySet<number> = new Set([1000, 1001, 1005]);

export interface ChannelstreamOptions {
  readonly settings: ChannelstreamSettings & { readonly secret: string };
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly fanouts: FanoutContext;
  readonly maxConnections: number;
  /** ms between two calls of `tick`. */
  readonly tick: number;
  readonly version: string;
  /** Before every route. */
  readonly basePath: string;
  readonly crossOrigin: CrossOrigin;
  readonly newId: () => string;
  /** Reads a body of text, as far as bodies may go. */
  readonly readText: (request: Request) => Promise<{ readonly ok: true; readonly text: string } | Rejection>;
  /** Whether the administrator asks; else why not. */
  readonly administrator: (request: Request, peer: Peer) => Rejection | null;
  /** Limits wrong signatures of an address. `waitSecs`: 0 where one more may be checked now. */
  readonly guesses: {
    waitSecs(headers: Headers, peer: Peer): number;
    count(headers: Headers, peer: Peer): void;
  };
  /** Places for those who poll, as for sockets: each one taken is given back once. */
  readonly places: { take(peer: Peer): Rejection | null; release(peer: Peer): void };
}

/** What a caller showed of itself. */
type Credentials = "signed" | "badly signed" | "none" | "wrong address" | { readonly waitSecs: number };

/** The way into this protocol: its REST calls, long polling and sockets. */
export class ChannelstreamProtocol implements Protocol {
  readonly engine: Engine;
  readonly #options: ChannelstreamOptions;
  readonly #calls: ReadonlyMap<string, Route>;
  readonly #heartbeat: Heartbeat;
  readonly #addresses: ReadonlySet<string>;
  #ticks = 0;

  constructor(options: ChannelstreamOptions) {
    this.#options = options;
    this.engine = new Engine(options);
    this.#calls = createCalls(this.engine, options.version);
    this.#heartbeat = new Heartbeat(options.fanouts.publisher, options.tick);
    this.#addresses = new Set(options.settings.allowPostingFrom);
  }

  /** To be called several times a second. */
  tick(): void {
    this.#heartbeat.tick();
    this.#ticks = (this.#ticks + 1) % SWEEP_TICKS;
    if (this.#ticks === 0) this.engine.sweep();
  }

  /** Whether a request needs no place of its own: it is signed, or polls for a connection that was opened before. */
  isExpected(path: string, headers: Headers, query: URLSearchParams, peer: Peer): boolean {
    if (path !== POLL_PATH)
      return this.#calls.has(path) && this.#credentials(headers, query, peer) === "signed";
    const id = parseUuid(query.get("conn_id") ?? "");
    return id !== null && this.engine.listeners.has(id);
  }

  matches({ path }: UpgradeRequest): boolean {
    return this.isSocket(path);
  }

  /** Whether a path is where sockets of this protocol open. */
  isSocket(path: string): boolean {
    return path === SOCKET_PATH;
  }

  /** Whether its conn_id is good is seen on the socket itself, as with Channelstream. */
  accept(request: UpgradeRequest): Accepted {
    const client = new WebSocketClient(this.#options.context, request.id, request.address);
    // Whether it is in a channel is its own affair: private messages need none.
    client.idleSince = null;
    client.session = this.#socketSession(client, request.query.get("conn_id"));
    return { client, subprotocol: "" };
  }

  /** Why a page of this origin may not be here; `null` where it may. */
  checkOrigin(headers: Headers, { address }: Peer): Rejection | null {
    const { crossOrigin, context, settings } = this.#options;
    if (crossOrigin.allows(headers)) return null;
    const setting = settings.allowCors.length > 0 ? "channelstream.allow_cors" : "allowed_origins";
    context.refusals.origin(headers.get("origin") ?? "", `${setting} does not allow it`, address);
    return FOREIGN;
  }

  /**
   * Answers a request at an address of this protocol; `null` for any other.
   *
   * @param extend to be called with the seconds that the answer may take, where they are many
   */
  handle(
    request: Request,
    path: string,
    query: URLSearchParams,
    peer: Peer,
    extend: (secs: number) => void,
  ): Promise<Response> | null {
    if (ADMIN_PATHS.has(path) && request.method === "GET") {
      const location = `${this.#options.basePath}/admin.html`;
      return Promise.resolve(new Response(null, { status: 303, headers: { location } }));
    }
    const route = path === POLL_PATH ? "poll" : this.#calls.get(path);
    return route === undefined ? null : this.#respond(request, route, query, peer, extend);
  }

  async #respond(
    request: Request,
    route: Route | "poll",
    query: URLSearchParams,
    peer: Peer,
    extend: (secs: number) => void,
  ): Promise<Response> {
    const { crossOrigin } = this.#options;
    const reply = await this.#answer(request, route, query, peer, extend);
    const response = reply instanceof Response ? reply : toResponse(reply);
    const { headers } = response;
    for (const [name, value] of Object.entries(crossOrigin.headers(request.headers)))
      headers.set(name, value);
    headers.set("cache-control", "no-store");
    headers.set("x-content-type-options", "nosniff");
    headers.set("referrer-policy", "no-referrer");
    if (response.status >= 400) count(this.#options.context.stats.refused, `http_${response.status}`);
    return response;
  }

  async #answer(
    request: Request,
    route: Route | "poll",
    query: URLSearchParams,
    peer: Peer,
    extend: (secs: number) => void,
  ): Promise<Reply | Response> {
    const { settings } = this.#options;
    const { method, headers } = request;
    if (settings.enforceHttps && !peer.https) return HTTPS_ONLY;
    const foreign = this.checkOrigin(headers, peer);
    if (foreign !== null) return rejected(foreign);
    if (method === "OPTIONS") {
      const allowed = preflight(headers.get("access-control-request-headers"));
      return new Response("", { headers: { "content-type": "text/plain; charset=UTF-8", ...allowed } });
    }
    const methods: readonly string[] = route === "poll" ? ["GET"] : Object.keys(route.methods);
    if (!methods.includes(method)) {
      const allow = [...methods, "OPTIONS"].join(", ");
      return rejected(new Rejection(405, "method_not_allowed", `Method not allowed. Allowed: ${allow}.`), {
        allow,
      });
    }
    const credentials = this.#credentials(headers, query, peer);
    if (credentials === "badly signed") return BAD_SIGNATURE;
    if (typeof credentials === "object") return rejected(tooMany(credentials.waitSecs));
    if (route === "poll") return this.#poll(request, query, peer, extend);
    return this.#call(request, route, query, peer, credentials);
  }

  #credentials(headers: Headers, query: URLSearchParams, peer: Peer): Credentials {
    const { settings, guesses } = this.#options;
    const { secret, validateRequests } = settings;
    if (!this.#addresses.has("0.0.0.0") && !this.#addresses.has(peer.address)) return "wrong address";
    const given = headers.get("x-channelstream-secret") ?? query.get("secret");
    if (given === null || given === "") return "none";
    const maxAge = validateRequests ? undefined : null;
    const waitSecs = guesses.waitSecs(headers, peer);
    if (waitSecs > 0) return { waitSecs };
    const found = checkSigned(given, secret, Date.now(), maxAge);
    // One that is too old was made with the secret, and is no guess at it.
    if (found === "forged") guesses.count(headers, peer);
    return found === "good" ? "signed" : "badly signed";
  }

  async #call(
    request: Request,
    route: Route,
    query: URLSearchParams,
    peer: Peer,
    credentials: Credentials,
  ): Promise<Reply> {
    if (route.access === "server" && credentials !== "signed") return FORBIDDEN;
    if (route.access === "administrator" && credentials !== "signed") {
      const no = this.#options.administrator(request, peer);
      if (no !== null) return rejected(no);
    }
    const call = route.methods[request.method];
    if (call === undefined) return rejected(new Rejection(405, "method_not_allowed", "Method not allowed."));
    if (request.method === "GET") return call({ body: undefined, query });
    const read = await this.#options.readText(request);
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

  async #poll(
    request: Request,
    query: URLSearchParams,
    peer: Peer,
    extend: (secs: number) => void,
  ): Promise<Reply | Response> {
    const callback = query.get("callback") || null;
    if (callback !== null && !CALLBACK.test(callback)) {
      return invalid({ callback: ["Not a valid name of a function."] });
    }
    const id = parseUuid(query.get("conn_id") ?? "");
    if (id === null) return invalid(["Wrong UUID format"]);
    const listener = this.engine.listeners.get(id);
    if (listener === undefined) return UNKNOWN_LISTENER;
    if (request.signal.aborted) return new Response(null, { status: 204 });
    const client = this.#pollClient(listener, peer);
    if (!(client instanceof LongPollClient)) return rejected(client);
    extend(Math.ceil(this.#options.settings.wakeConnectionsAfter / 1000) + 10);
    const result = client.poll(request.signal, null);
    if (!client.over) this.engine.attach(listener, client);
    return pollResponse(await result, callback, request.signal);
  }

  #pollClient(listener: Listener, peer: Peer): LongPollClient | Rejection {
    if (listener.client instanceof LongPollClient) return listener.client;
    const { context, newId, places, settings } = this.#options;
    const full = places.take(peer);
    if (full !== null) return full;
    const client = new LongPollClient(context, newId(), peer.address, {
      wait: settings.wakeConnectionsAfter,
      collect: POLL_COLLECT,
      // The engine keeps messages, and sends those that a connection has missed.
      keep: false,
      onPollEnd: () => this.engine.pause(listener),
      onEnd: () => places.release(peer),
    });
    // A connection need not send anything: private messages require no channel.
    client.idleSince = null;
    client.session = new ChannelstreamSession(this.engine, client, listener, {
      opened() {},
      departure: () => "ended",
    });
    client.start();
    return client;
  }

  #socketSession(client: WebSocketClient, connId: string | null): Session {
    const { engine } = this;
    const id = parseUuid(connId ?? "");
    const listener = id === null ? undefined : engine.listeners.get(id);
    if (listener === undefined) {
      return {
        protocol: "channelstream",
        users: [],
        channels: [],
        opened: () => client.close(1008, "unknown connection"),
        receive() {},
        closed() {},
      };
    }
    return new ChannelstreamSession(engine, client, listener, {
      opened: () => {
        this.#heartbeat.add(client);
        engine.attach(listener, client);
      },
      departure: () => departureOf(client),
    });
  }
}

/** Still up, or cut off by us: our doing. */
function departureOf({ closeCode, wasCutOff }: WebSocketClient): Departure {
  if (closeCode === null || wasCutOff) return "ended";
  return FAREWELLS.has(closeCode) ? "left" : "lost";
}

function tooMany(retryAfterSecs: number): Rejection {
  return new Rejection(
    429,
    "too_many_wrong_secrets",
    "Too many wrong signatures from this address: one attempt every 2 seconds is checked.",
    retryAfterSecs,
  );
}
