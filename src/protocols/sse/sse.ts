import type { Peer } from "../../auth/peer.ts";
import { Rejection } from "../../auth/rejection.ts";
import { count } from "../../hub/stats.ts";
import { SseClient } from "../../transports/sse.ts";
import { SseLiveness } from "../../transports/sse-liveness.ts";
import type { CreateProtocol, PlainRequest, Protocol, ProtocolDeps, ProtocolRoute } from "../protocol.ts";
import { SseChannel } from "./sse-channel.ts";
import { notice, RETRY_REFUSED, retryLine } from "./sse-format.ts";
import { authorize, Denial, parseRequest } from "./sse-request.ts";
import { type SseContext, SseSession, type Subscription } from "./sse-session.ts";

const PATH = "/sse";
const METHODS = "GET, OPTIONS";

/** Reasons in the log, by status. */
const REASONS: ReadonlyMap<number, string> = new Map([
  [401, "unauthorized"],
  [503, "authorization unavailable"],
]);

type HeaderFields = Readonly<Record<string, string>>;

const STREAM_HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store, no-transform",
  // nginx passes each block on at once.
  "x-accel-buffering": "no",
};

const METHOD_NOT_ALLOWED = new Rejection(
  405,
  "method_not_allowed",
  `Method not allowed. Allowed: ${METHODS}.`,
);

/** On unless `sse = false`. */
export const createSse: CreateProtocol = (deps) => (deps.config.sse ? new SseProtocol(deps) : null);

/** Server-sent events: clients that only listen, by one endless response. */
class SseProtocol implements Protocol, SseContext {
  readonly name = "sse";
  readonly hub;
  readonly context;
  readonly replaying = new Set<SseSession>();
  readonly #deps: ProtocolDeps;
  readonly #liveness: SseLiveness;
  readonly #route: ProtocolRoute;

  constructor(deps: ProtocolDeps) {
    this.#deps = deps;
    this.hub = deps.hub;
    this.context = deps.context;
    this.#liveness = new SseLiveness(deps.openTcpProbe);
    this.#route = { checksItself: true, handle: (request) => this.#handle(request) };
  }

  opensAt(): boolean {
    return false;
  }

  matches(): boolean {
    return false;
  }

  accept(): Rejection {
    return METHOD_NOT_ALLOWED;
  }

  routes(path: string): ProtocolRoute | null {
    return path === PATH ? this.#route : null;
  }

  tick(): void {
    this.#liveness.tick();
    const now = performance.now();
    for (const session of this.replaying) session.advance(now);
  }

  open(name: string): SseChannel {
    const { hub, fanouts } = this.#deps;
    const channel = hub.open(name);
    for (const receiver of channel.receivers) if (receiver instanceof SseChannel) return receiver;
    const created = new SseChannel(channel, hub.positions, fanouts);
    channel.addReceiver(created);
    return created;
  }

  close(channel: SseChannel): void {
    channel.channel.removeReceiver(channel);
    this.#deps.hub.release(channel.channel);
  }

  #handle(request: PlainRequest): Response | Promise<Response> {
    const { rules, places } = this.#deps;
    const { headers, method } = request.request;
    const cors = rules.corsHeaders(headers);
    const foreign = rules.check(headers, request.peer);
    if (foreign !== null) return this.#reject(foreign, cors);
    if (method === "OPTIONS") {
      return new Response(null, { headers: rules.preflightHeaders(headers, METHODS) });
    }
    if (method !== "GET") return this.#reject(METHOD_NOT_ALLOWED, { ...cors, allow: METHODS });
    const full = places.admit(request.peer);
    if (full !== null) return this.#postpone(full, cors);
    return this.#admitted(request, cors);
  }

  /** A request that has a place, which is released here or when its response ends. */
  async #admitted(request: PlainRequest, cors: HeaderFields): Promise<Response> {
    const { places, limits } = this.#deps;
    const asked = parseRequest(request, limits.maxChannels);
    const claims = asked instanceof Rejection ? null : await authorize(asked, request, this.#deps);
    if (!(asked instanceof Rejection || claims instanceof Denial)) {
      return this.#open(request, { ...asked, claims }).respond({ ...cors, ...STREAM_HEADERS });
    }
    places.release(request.peer);
    if (asked instanceof Rejection) return this.#reject(asked, cors);
    if (claims instanceof Denial) this.#logDenial(claims, request.peer);
    if (claims instanceof Denial && claims.rejection.status === 503)
      return this.#postpone(claims.rejection, cors);
    return this.#reject(claims instanceof Denial ? claims.rejection : METHOD_NOT_ALLOWED, cors);
  }

  #open({ peer, remote, extend }: PlainRequest, asked: Subscription): SseClient {
    const { places, newId } = this.#deps;
    const client = new SseClient(this.context, newId(), peer.address, {
      liveness: this.#liveness,
      remote,
      extend,
      lastFrame: (reason) => session.lastFrame(reason),
      onEnd: () => places.release(peer),
    });
    const session = new SseSession(this, client, asked);
    client.session = session;
    return client;
  }

  #logDenial({ rejection, code, channel, cause }: Denial, { address }: Peer): void {
    const reason = REASONS.get(rejection.status) ?? "forbidden";
    this.context.refusals.join(reason, code, {
      ...(channel === null ? {} : { channel }),
      ...(cause === null ? {} : { cause }),
      protocol: "sse",
      address,
    });
  }

  #reject({ status, code, reason }: Rejection, headers: HeaderFields): Response {
    count(this.context.stats.refused, `http_${status}`);
    return Response.json(
      { error: reason, code },
      {
        status,
        headers: {
          ...headers,
          ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
          "cache-control": "no-store",
        },
      },
    );
  }

  /** A refusal that is over soon. EventSource gives up at any status but 200, and would not come back. */
  #postpone({ status, code, reason }: Rejection, cors: HeaderFields): Response {
    count(this.context.stats.refused, `http_${status}`);
    const body = retryLine(RETRY_REFUSED) + notice("closed", { reason, code });
    // The connection would occupy a place.
    return new Response(body, { headers: { ...cors, ...STREAM_HEADERS, connection: "close" } });
  }
}
