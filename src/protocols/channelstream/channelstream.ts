import type { Peer } from "../../auth/peer.ts";
import { Rejection } from "../../auth/rejection.ts";
import { isOwnHost } from "../../auth/same-origin.ts";
import type { Session } from "../../transports/session.ts";
import { WebSocketClient } from "../../transports/websocket.ts";
import type {
  Accepted,
  CreateProtocol,
  Protocol,
  ProtocolDeps,
  ProtocolRoute,
  SocketRequest,
  UpgradeRequest,
} from "../protocol.ts";
import { ChannelstreamHttp } from "./channelstream-http.ts";
import { ChannelstreamSession } from "./channelstream-session.ts";
import { createCrossOrigin } from "./cors.ts";
import { type Departure, Engine } from "./engine.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Signatures } from "./signatures.ts";
import { parseUuid } from "./uuid.ts";

const SOCKET_PATH = "/ws";

/** Calls of `tick` between two sweeps. */
const SWEEP_TICKS = 4;

/** Close codes of a client that leaves by itself: done, going away, and none given (RFC 6455, 7.4.1). */
const LEFT_CODES: ReadonlySet<number> = new Set([1000, 1001, 1005]);

const ORIGIN_NOT_ALLOWED = new Rejection(
  403,
  "origin_not_allowed",
  "Origin not allowed (channelstream.allow_cors, allowed_origins).",
);

/** On if `channelstream.secret` is set. */
export const createChannelstream: CreateProtocol = (deps) => {
  const { secret } = deps.config.channelstream;
  return secret === null ? null : new ChannelstreamProtocol(deps, secret);
};

/** Channelstream: REST calls, polls and sockets, over one engine. */
class ChannelstreamProtocol implements Protocol {
  readonly name = "channelstream";
  // Users, their states and what they have missed are known to one process only.
  readonly together = true;
  readonly #deps: ProtocolDeps;
  readonly #engine: Engine;
  readonly #http: ChannelstreamHttp;
  readonly #heartbeat: Heartbeat;
  readonly #allowsOrigin: (headers: Headers) => boolean;
  #ticks = 0;

  constructor(deps: ProtocolDeps, secret: string) {
    const { config, hub, fanouts, limits, rules } = deps;
    const settings = config.channelstream;
    const isOwn = (headers: Headers) => isOwnHost(headers, config.publicUrl);
    const crossOrigin = createCrossOrigin(settings.allowCors, isOwn, {
      allows: rules.allowsOrigin,
      headers: rules.corsHeaders,
    });
    this.#deps = deps;
    this.#allowsOrigin = crossOrigin.allows;
    this.#engine = new Engine({
      ...{ settings, hub, fanouts, isBanned: deps.isBanned },
      messages: deps.serverMessages("channelstream"),
      configMessages: deps.serverMessages("channelstream-config"),
      maxConnections: limits.maxConnections,
    });
    this.#heartbeat = new Heartbeat(fanouts.publisher, deps.tickMs);
    this.#http = new ChannelstreamHttp({
      deps,
      engine: this.#engine,
      signatures: new Signatures(config, secret, deps.auditWrongProof),
      corsHeaders: crossOrigin.headers,
      checkOrigin: (headers, peer) => this.checkOrigin(headers, peer),
    });
  }

  tick(): void {
    this.#heartbeat.tick();
    this.#ticks = (this.#ticks + 1) % SWEEP_TICKS;
    if (this.#ticks === 0) this.#engine.sweep();
  }

  endUser(user: string): number {
    return this.#engine.endUser(user);
  }

  opensAt(path: string): boolean {
    return path === SOCKET_PATH;
  }

  matches({ path }: SocketRequest): boolean {
    return path === SOCKET_PATH;
  }

  /** The conn_id is checked on the open socket, as Channelstream does. */
  accept(request: UpgradeRequest): Accepted {
    const client = new WebSocketClient(this.#deps.context, request.id, request.address);
    // A client without channels stays: private messages need none.
    client.idleSince = null;
    client.session = this.#sessionOf(client, request.query.get("conn_id"));
    return { client, subprotocol: "" };
  }

  checkOrigin(headers: Headers, { address }: Peer): Rejection | null {
    if (this.#allowsOrigin(headers)) return null;
    const { config, context } = this.#deps;
    const setting =
      config.channelstream.allowCors.length > 0 ? "channelstream.allow_cors" : "allowed_origins";
    context.refusals.origin(headers.get("origin") ?? "", `${setting} does not allow it`, address);
    return ORIGIN_NOT_ALLOWED;
  }

  routes(path: string, method: string): ProtocolRoute | null {
    return this.#http.routes(path, method);
  }

  #sessionOf(client: WebSocketClient, connId: string | null): Session {
    const engine = this.#engine;
    const id = parseUuid(connId ?? "");
    const listener = id === null ? undefined : engine.listeners.get(id);
    if (listener === undefined) return unknownConnection(client);
    return new ChannelstreamSession(engine, client, listener, {
      opened: () => {
        this.#heartbeat.add(client);
        engine.attach(listener, client);
      },
      departure: () => departureOf(client),
    });
  }
}

/** Closes the socket as soon as it is open. */
function unknownConnection(client: WebSocketClient): Session {
  return {
    protocol: "channelstream",
    users: [],
    channels: [],
    opened: () => client.close(1008, "unknown connection"),
    receive() {},
    closed() {},
  };
}

/** A client that is still connected, or was cut off, is ended by this server. */
function departureOf({ closeCode, wasCutOff }: WebSocketClient): Departure {
  if (closeCode === null || wasCutOff) return "ended";
  return LEFT_CODES.has(closeCode) ? "left" : "lost";
}
