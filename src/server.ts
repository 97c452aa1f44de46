import type { BunRequest, Server } from "bun";
import { bearerOf, createAdmin } from "./auth/admin.ts";
import { createAudit } from "./auth/audit.ts";
import { Bans, rejectBanned } from "./auth/bans.ts";
import { nameCovers } from "./auth/claims.ts";
import { type AttemptSource, type CredentialKind, FailedAttempts } from "./auth/failed-attempts.ts";
import { stretchAdminSecrets } from "./auth/keys.ts";
import { createMint } from "./auth/mint.ts";
import type { Peer } from "./auth/peer.ts";
import { Rejection } from "./auth/rejection.ts";
import { Revocations } from "./auth/revocations.ts";
import { isForeign, isOwnHost } from "./auth/same-origin.ts";
import { sign } from "./auth/signature.ts";
import { createVerifier } from "./auth/verifier.ts";
import { openBus, openRevocationStore } from "./bus/open-bus.ts";
import type { Config } from "./config/config.ts";
import {
  checkHost,
  checkOrigin,
  corsHeaders,
  type ForeignRejection,
  preflightHeaders,
} from "./http/admission.ts";
import { CHANNELSTREAM_PATHS } from "./http/api/channelstream-paths.ts";
import type { ChannelstreamApi } from "./http/api/deps.ts";
import { takeSnapshot } from "./http/api/snapshot.ts";
import { StatsHistory } from "./http/api/stats-history.ts";
import { readText } from "./http/body.ts";
import { ConnectLimiter, KEEP_ALIVE_SECS } from "./http/connect-limiter.ts";
import { createHttp } from "./http/http-routes.ts";
import { listen } from "./http/listeners.ts";
import { LoopDelay } from "./http/loop-delay.ts";
import { createMetrics } from "./http/metrics.ts";
import { NO_PATTERN, pathFault, pathPatterns } from "./http/raw-path.ts";
import { createPeerOf } from "./http/trusted-proxies.ts";
import type { ChannelRules } from "./hub/channel.ts";
import { Connections } from "./hub/connections.ts";
import { Hub } from "./hub/hub.ts";
import { InboundBudget } from "./hub/inbound-budget.ts";
import { isJson } from "./hub/json/is-json.ts";
import { MemoryPresenceStore } from "./hub/presence/memory-presence.ts";
import type { Publisher } from "./hub/publisher.ts";
import { randomId } from "./hub/random-id.ts";
import { count, createStats } from "./hub/stats.ts";
import type { Log } from "./log.ts";
import { Descriptors } from "./process/descriptors.ts";
import { ChannelstreamProtocol } from "./protocols/channelstream/channelstream.ts";
import { createCrossOrigin } from "./protocols/channelstream/cors.ts";
import { GroupsProtocol, isGroupsPath } from "./protocols/groups/groups.ts";
import { PhoenixProtocol } from "./protocols/phoenix/phoenix.ts";
import { LongPoll } from "./protocols/phoenix/phoenix-longpoll.ts";
import type { Accepted, Protocol, UpgradeRequest } from "./protocols/protocol.ts";
import { ConnectionContext } from "./transports/connection-context.ts";
import type { WebSocketClient } from "./transports/websocket.ts";
import { VERSION } from "./version.ts";

/** Between two looks at what is due (expired tokens, farewells), in ms. */
const TICK = 250;

/** Between two batches of sockets closed at shutdown, in ms, and the least that a batch holds. */
const BATCH_PAUSE = 100;
const MIN_BATCH = 100;

/** How long those that still read what was sent to them may hold up the end, in ms. */
const LAST_WAIT = 1500;

/** How long Bun lets a request wait, for polls: longer than a poll takes. */
const POLL_TIMEOUT_SECS = 30;

const WEBSOCKET_ONLY = new Rejection(426, "websocket_only", "This path accepts WebSocket upgrades only.");

/** Those who ask here look after many clients, and their answers cost no more than a refusal. */
const WITHOUT_LIMIT: ReadonlySet<string> = new Set(["/health", "/ready"]);

/** Whoever has too many connections is to have one less. */
const CLOSE = { connection: "close" };

/** How much larger than ours Bun's own limit on bodies is: its 413 is empty, ours says why, and must come first. */
const BODY_MARGIN = 16 * 1024 * 1024;

export interface RunningServer {
  /** Where it listens: `http://127.0.0.1:2025`. */
  readonly url: string;
  /** Takes leave of all clients, then ends. Resolves when nothing is left. */
  stop(): Promise<void>;
}

/**
 * Puts the parts together and listens. Resolves when it listens, whether or not Redis is there.
 * @throws Error with one sentence for an operator: a port that is taken, a certificate that is none.
 */
export async function startServer(config: Config, log: Log): Promise<RunningServer> {
  const descriptors = new Descriptors(log);
  const limits = {
    ...config.limits,
    maxConnections: Math.min(config.limits.maxConnections, descriptors.room),
  };
  const stats = createStats();
  const [bus] = await Promise.all([openBus(config, log), stretchAdminSecrets(config)]);
  const connections = new Connections(limits);
  const presence = new MemoryPresenceStore();
  const hub = new Hub({
    ...config,
    ...limits,
    bus,
    connections,
    stats,
    log,
    presence,
    node: randomId(4),
    rulesFor,
  });
  const inbound = new InboundBudget({
    ...limits,
    maxInbound: Math.max(limits.maxInbound, 2 * Math.max(limits.maxFrame, limits.maxBody, limits.maxPayload)),
  });
  const context = new ConnectionContext({
    ...limits,
    inbound,
    connections,
    stats,
    log,
    maxBuffered: limits.maxBufferedPerClient,
    closeOnExpiry: config.expiry === "close",
  });
  const audit = createAudit(log);
  const wrongProof = ({ address }: AttemptSource, proof: CredentialKind) =>
    audit({ act: "prove", who: "nobody", from: address, what: { by: proof }, result: "wrong secret" });
  const wrong = new FailedAttempts(undefined, wrongProof);
  const revocations = new Revocations(openRevocationStore(config, bus.kind, log));
  revocations.revoked = ({ kind, id }) => {
    const reason = kind === "session" ? "signed out" : "token revoked";
    for (const connection of connections.all()) {
      if (connection.reliesOn(kind, id)) connection.dismiss(1001, reason);
    }
  };
  const admin = createAdmin(config, { wrong, revocations, audit });
  const clientOf = createPeerOf(config, (peer) =>
    log.warn("a proxy that trusted_proxies does not list forwarded a request", { peer }),
  );
  const limiter = new ConnectLimiter(limits, () => descriptors.isCrowded());
  const bans = new Bans();
  const verify = rejectBanned(createVerifier(config, Date.now, wrong), bans, revocations);
  const publisher: Publisher = { publish: (topic, frame) => listeners.publish(topic, frame) };
  const fanouts = { publisher, connections };
  let draining = false;
  let closing = false;
  const busState = () => ({ kind: bus.kind, ...bus.state });
  const loopDelay = new LoopDelay();
  const registry = createMetrics({
    hub,
    version: VERSION,
    busState,
    loopDelay: loopDelay.reader(),
    inbound: () => inbound.bytes,
  });
  const history = new StatsHistory((delay) => takeSnapshot(hub, busState, delay), loopDelay.reader());
  const http = createHttp({
    config,
    log,
    admin,
    mint: createMint(config),
    verify,
    refusals: context.refusals,
    registry,
    hub,
    bus,
    bans,
    inbound,
    revocations,
    audit,
    history,
    channelstream: channelstreamApi(),
    busState,
    draining: () => draining,
  });
  const phoenix = new PhoenixProtocol({
    ...limits,
    hub,
    context,
    verify,
    fanouts,
  });
  const groups = new GroupsProtocol({ ...limits, hub, context, verify, fanouts });
  const channelstream = createChannelstream();
  const endpoints: readonly Protocol[] = [
    ...(channelstream === null ? [] : [channelstream]),
    phoenix,
    ...(config.groups ? [groups] : []),
  ];
  const longPoll = new LongPoll(
    phoenix,
    {
      mayBegin: (client) => may(limiter.mayBegin(client)),
      take: (client) => may(limiter.take(client)),
      release: (client) => limiter.release(client),
    },
    newId,
  );

  /** Whether there is a place; counts the refusal where there is none. */
  function may(refusal: Rejection | null): boolean {
    if (closing) return false;
    if (refusal !== null) count(stats.refused, `http_${refusal.status}`);
    return refusal === null;
  }

  function createChannelstream(): ChannelstreamProtocol | null {
    const { secret } = config.channelstream;
    if (secret === null) return null;
    const own = (headers: Headers) => isOwnHost(headers, config.publicUrl);
    return new ChannelstreamProtocol({
      settings: { ...config.channelstream, secret },
      hub,
      context,
      fanouts,
      maxConnections: limits.maxConnections,
      tick: TICK,
      version: VERSION,
      basePath: config.basePath,
      crossOrigin: createCrossOrigin(config.channelstream.allowCors, own, {
        allows: (headers) => checkOrigin(headers, config) === null,
        headers: (headers) => corsHeaders(headers, config),
      }),
      newId,
      readText: (request) => readText(request, limits.maxBody, inbound),
      administrator: (request, client) => {
        const verdict = admin.requireAdmin(request, client);
        return verdict.ok ? null : verdict;
      },
      guesses: signatureGuesses(),
      places: { take: (client) => limiter.admit(client), release: (client) => limiter.release(client) },
    });
  }

  /** Apart from the guesses at the admin secret: this is another one. */
  function signatureGuesses() {
    const guesses = new FailedAttempts(undefined, wrongProof);
    const sourceOf = (headers: Headers, { address, https }: Pick<Peer, "address" | "https">) => ({
      address,
      foreign: isForeign(headers, config.publicUrl, https),
    });
    return {
      waitSecs: (headers: Headers, peer: Peer) => guesses.waitSecs(sourceOf(headers, peer)),
      count: (headers: Headers, peer: Peer) => guesses.count(sourceOf(headers, peer), "signature"),
    };
  }

  function channelstreamApi(): ChannelstreamApi | null {
    const { secret } = config.channelstream;
    if (secret === null) return null;
    return { paths: CHANNELSTREAM_PATHS, sign: () => sign("explorer", secret, Date.now()) };
  }

  function rulesFor(channel: string): ChannelRules {
    const settings = config.channels.find(({ pattern }) => nameCovers(pattern, channel));
    return { presence: settings?.presence ?? true };
  }

  function newId(): string {
    for (let length = config.idLength; ; length++) {
      const id = randomId(length);
      if (!connections.has(id)) return id;
    }
  }

  /** Everything that is refused to a socket is refused before the upgrade: phoenix.js resets its back-off on open. */
  function upgrade(
    request: Request,
    url: URL,
    path: string,
    client: Peer,
    bun: Server<WebSocketClient>,
  ): Response | undefined {
    if (channelstream?.isSocket(path)) {
      const foreign = channelstream.checkOrigin(request.headers, client);
      if (foreign !== null) return refuse(foreign);
    } else {
      const foreign = checkOrigin(request.headers, config);
      if (foreign !== null) return refuseForeign(foreign, client);
    }
    if (closing) return refuse(new Rejection(503, "shutting_down", "The server is shutting down."));
    const full = limiter.admit(client);
    // Kept open, what is refused would take the place that there is not.
    if (full !== null) return refuse(full, { connection: "close" });
    const asked: UpgradeRequest = {
      path,
      headers: request.headers,
      query: url.searchParams,
      id: newId(),
      address: client.address,
      sameOrigin: isOwnHost(request.headers, config.publicUrl) || !request.headers.has("origin"),
      administrator: admin.upgradeClaims(request, client),
    };
    // Whoever asks for no protocol in particular speaks Phoenix.
    const accepted = (endpoints.find((endpoint) => endpoint.matches(asked)) ?? phoenix).accept(asked);
    const refused = accepted instanceof Rejection ? refuse(accepted) : open(request, accepted, bun);
    if (refused !== undefined) limiter.release(client);
    return refused;
  }

  function open(
    request: Request,
    { client, subprotocol }: Accepted,
    bun: Server<WebSocketClient>,
  ): Response | undefined {
    const upgraded = bun.upgrade(request, {
      data: client,
      headers: { "sec-websocket-protocol": subprotocol },
    });
    return upgraded ? undefined : refuse(new Rejection(400, "bad_handshake", "Invalid WebSocket handshake."));
  }

  /** phoenix.js takes anything but a 200 for the end of all polling: what is wrong stands in the body. */
  function poll(
    request: Request,
    url: URL,
    client: Peer,
    bun: Server<WebSocketClient>,
  ): Response | Promise<Response> {
    const { headers } = request;
    const cors = corsHeaders(headers, config);
    const foreign = checkHost(headers, config) ?? checkOrigin(headers, config);
    if (foreign !== null) {
      context.refusals[foreign.what](foreign.value, foreign.logReason, client.address);
      return longPoll.forbid(cors);
    }
    if (request.method === "OPTIONS") {
      return new Response(null, { headers: preflightHeaders(headers, config, "GET, POST, OPTIONS") });
    }
    bun.timeout(request, POLL_TIMEOUT_SECS);
    return longPoll.handle(request, url.searchParams, client, cors);
  }

  function refuse(refusal: Rejection, headers = {}): Response {
    count(stats.refused, `http_${refusal.status}`);
    return Response.json({ error: refusal.reason, code: refusal.code }, { status: refusal.status, headers });
  }

  function refuseForeign(foreign: ForeignRejection, { address }: Peer): Response {
    context.refusals[foreign.what](foreign.value, foreign.logReason, address);
    return refuse(foreign);
  }

  /** Whether a request over the limits of its address is answered all the same: to look costs more than most answers. */
  function isExpected(request: Request, { searchParams }: URL, path: string, client: Peer): boolean {
    if (WITHOUT_LIMIT.has(path)) return true;
    if (channelstream?.isExpected(path, request.headers, searchParams, client)) return true;
    const bearer = bearerOf(request.headers);
    // A user's token is no guess at a secret.
    if (bearer === null ? !request.headers.has("cookie") : bearer.startsWith("eyJ")) return false;
    return admin.authenticate(request, client).ok;
  }

  function answer(request: Request, bun: Server<WebSocketClient>): Response | Promise<Response> | undefined {
    const peer = bun.requestIP(request);
    const client = clientOf(request.headers, peer?.address ?? null);
    const full = URL.parse(request.url);
    const url = full ?? withoutHost(request, config.basePath);
    if (url === null)
      return refuse(new Rejection(400, "bad_host", "The Host header contains no valid host name."));
    const path = below(config.basePath, url.pathname);
    if (path === null) return refuse(new Rejection(404, "not_found", "No resource at this path."));
    if (path.endsWith("/longpoll")) return poll(request, url, client, bun);
    const foreign = full === null ? null : checkHost(request.headers, config);
    if (foreign !== null) return refuseForeign(foreign, client);
    const socket = path.endsWith("/websocket") || (config.groups && isGroupsPath(path));
    const upgrades = socket || channelstream?.isSocket(path);
    if (upgrades && isUpgrade(request)) return upgrade(request, url, path, client, bun);
    const tooMany = limiter.request(client, isLast(request) ? null : (peer?.port ?? null));
    if (tooMany !== null && !isExpected(request, url, path, client)) return refuse(tooMany, CLOSE);
    if (upgrades) return refuse(WEBSOCKET_ONLY, { upgrade: "websocket" });
    const answered = channelstream?.handle(request, path, url.searchParams, client, (secs) =>
      bun.timeout(request, secs),
    );
    if (answered) return answered;
    return http(request, path, client);
  }

  const baseParts = config.basePath.split("/").length - 1;
  const onRoute = (request: BunRequest, bun: Server<WebSocketClient>) => {
    const fault = pathFault(request.url, request.params, baseParts);
    return fault === null ? answer(request, bun) : refuse(new Rejection(400, "bad_path", fault));
  };

  const listeners = await listen(config.host, config.port, (where) =>
    Bun.serve<WebSocketClient>({
      ...where,
      development: false,
      idleTimeout: KEEP_ALIVE_SECS,
      maxRequestBodySize: Math.max(limits.maxBody, limits.maxPayload) + BODY_MARGIN,
      ...(config.tls === null ? {} : { tls: config.tls }),
      routes: Object.fromEntries(pathPatterns().map((pattern) => [pattern, onRoute])),
      fetch: () => refuse(new Rejection(400, "bad_path", NO_PATTERN)),
      error(error) {
        log.error("a request failed", { error: error.message });
        return refuse(new Rejection(500, "internal_error", "Internal error: see the server's log."));
      },
      websocket: {
        // Sign of life is ours: Bun's own time-out is reset by what is sent to a socket.
        idleTimeout: 0,
        sendPings: false,
        perMessageDeflate: false,
        maxPayloadLength: limits.maxFrame,
        backpressureLimit: limits.maxBufferedPerClient,
        closeOnBackpressureLimit: true,
        open(ws) {
          ws.data.opened(ws);
        },
        message(ws, frame) {
          ws.data.receive(frame);
        },
        pong(ws) {
          ws.data.pong();
        },
        close(ws, code, reason) {
          ws.data.closed(code, reason);
          limiter.release(ws.data);
        },
      },
    }),
  );
  let tickDue = performance.now() + TICK;
  const ticker = setInterval(() => {
    const now = performance.now();
    loopDelay.note(now - tickDue);
    tickDue = now + TICK;
    descriptors.check(listeners);
    hub.tick();
    context.tick();
    inbound.tick(now);
    longPoll.tick();
    channelstream?.tick();
  }, TICK);

  async function stop(): Promise<void> {
    draining = true;
    if (config.drainDelay > 0) await Bun.sleep(config.drainDelay);
    closing = true;
    hub.drain();
    void listeners.stop();
    const leaving = [...connections.all()];
    const batches = Math.max(1, Math.floor(config.shutdownGrace / BATCH_PAUSE));
    const size = Math.max(MIN_BATCH, Math.ceil(leaving.length / batches));
    for (let at = 0; at < leaving.length; at += size) {
      if (at > 0) await Bun.sleep(BATCH_PAUSE);
      for (const connection of leaving.slice(at, at + size)) connection.close(1012, "server restarting");
    }
    for (let waited = 0; connections.size > 0 && waited < LAST_WAIT; waited += BATCH_PAUSE) {
      await Bun.sleep(BATCH_PAUSE);
    }
    clearInterval(ticker);
    history.stop();
    descriptors.stop();
    connections.stop();
    hub.stop();
    await revocations.stop();
    await bus.stop();
    await listeners.stop(true);
  }

  try {
    await Promise.all([hub.start(), revocations.start()]);
  } catch (error) {
    clearInterval(ticker);
    history.stop();
    descriptors.stop();
    connections.stop();
    hub.stop();
    await listeners.stop(true);
    throw error;
  }
  const scheme = config.tls === null ? "http" : "https";
  const url = `${scheme}://${config.host.includes(":") ? `[${config.host}]` : config.host}:${listeners.port}${config.basePath}`;
  log.info("listening", { url, bus: bus.kind });
  if (limits.maxConnections < config.limits.maxConnections) {
    log.warn("the limit on open files allows fewer connections than limits.max_connections", {
      max_connections: config.limits.maxConnections,
      allowed: limits.maxConnections,
      open_files: descriptors.limit,
    });
  }
  // The first check makes its scanner, which takes some milliseconds: now, and not under the first message.
  setImmediate(() => isJson(Buffer.from("[]")));
  if (admin.signInCode !== null) {
    const link = `${config.publicUrl ?? url}/admin/sign_in?code=${admin.signInCode}`;
    log.info("no admin_secret is set: this link signs an administrator in, once", { link });
  }
  return { url, stop };
}

/** What health checks ask for by HTTP/1.0, which needs no `Host` header. */
const WITHOUT_HOST = new Set(["/health", "/ready", "/metrics"]);

/** The address of a request without a host, where it is one that needs none. */
function withoutHost(request: Request, basePath: string): URL | null {
  if (request.headers.get("host")) return null;
  const url = URL.parse(request.url, "http://localhost");
  return url !== null && WITHOUT_HOST.has(below(basePath, url.pathname) ?? "") ? url : null;
}

/** Whether the connection ends with this request. */
function isLast(request: Request): boolean {
  return request.headers.get("connection")?.toLowerCase() === "close";
}

function isUpgrade(request: Request): boolean {
  return request.headers.get("upgrade")?.toLowerCase() === "websocket";
}

/** The part of a path below `base_path`; `null` for one that is not. */
function below(basePath: string, path: string): string | null {
  if (path !== basePath && !path.startsWith(`${basePath}/`)) return null;
  return path.slice(basePath.length);
}
