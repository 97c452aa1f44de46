import { hostname } from "node:os";
import { createAdmin } from "./auth/admin.ts";
import { type Audit, createAudit } from "./auth/audit.ts";
import { Bans, rejectBanned } from "./auth/bans.ts";
import { type AttemptSource, type CredentialKind, FailedAttempts } from "./auth/failed-attempts.ts";
import { stretchAdminSecrets } from "./auth/keys.ts";
import { createMint } from "./auth/mint.ts";
import { RecentActs } from "./auth/recent-acts.ts";
import { type Revocation, Revocations } from "./auth/revocations.ts";
import { createVerifier } from "./auth/verifier.ts";
import type { Bus, BusKind } from "./bus/bus.ts";
import {
  openBus,
  openBusFigures,
  openFleetStores,
  openHistory,
  openPresenceDatabase,
  openRevocationStore,
  openWebhookStore,
} from "./bus/open-bus.ts";
import { MemoryIds } from "./bus/published-ids.ts";
import type { Config, Limits } from "./config/config.ts";
import { Drain } from "./drain.ts";
import { AddressedMessages } from "./fleet/addressed-messages.ts";
import { BusDispatcher } from "./fleet/bus-dispatcher.ts";
import { Control } from "./fleet/control.ts";
import { createFigures } from "./fleet/figures.ts";
import { Fleet } from "./fleet/fleet.ts";
import { FleetMessages } from "./fleet/fleet-messages.ts";
import { FleetRequests } from "./fleet/fleet-requests.ts";
import { Forwarding } from "./fleet/forwarding.ts";
import { Markers } from "./fleet/markers.ts";
import { PositionNotes } from "./fleet/position-notes.ts";
import { ProtocolMessages } from "./fleet/protocol-messages.ts";
import { Publishing } from "./fleet/publishing.ts";
import { ServerList } from "./fleet/server-list.ts";
import { Signer } from "./fleet/signer.ts";
import { createAuthorizer } from "./hooks/authorizer.ts";
import { HookClient } from "./hooks/hook-client.ts";
import { Webhooks } from "./hooks/webhooks.ts";
import { ChannelSeries } from "./http/api/channel-series.ts";
import type { ReloadResult } from "./http/api/deps.ts";
import { FleetStats } from "./http/api/fleet-stats.ts";
import { processRow } from "./http/api/process-row.ts";
import { takeSnapshot } from "./http/api/snapshot.ts";
import { StatsHistory } from "./http/api/stats-history.ts";
import { ConnectLimiter } from "./http/connect-limiter.ts";
import { Entry } from "./http/entry.ts";
import { FirstWorker } from "./http/first-worker.ts";
import { createHttp } from "./http/http-routes.ts";
import type { Listeners } from "./http/listeners.ts";
import { LoopDelay } from "./http/loop-delay.ts";
import { createMetrics } from "./http/metrics.ts";
import { createPlaces, createRequestRules } from "./http/request-rules.ts";
import { serve } from "./http/serve.ts";
import { SharedCounts } from "./http/shared-counts.ts";
import { createPeerOf } from "./http/trusted-proxies.ts";
import { createUpgrade } from "./http/upgrade.ts";
import { listenForWorkers, publishToBoth, type WorkerListener } from "./http/worker-listener.ts";
import { conflates, createChannelRules, keepsHistory } from "./hub/channel-rules.ts";
import { createConnectionIds } from "./hub/connection-ids.ts";
import { Connections } from "./hub/connections.ts";
import { MemoryHistory } from "./hub/history/memory-history.ts";
import { Hub } from "./hub/hub.ts";
import { Identity } from "./hub/identity.ts";
import { InboundBudget } from "./hub/inbound-budget.ts";
import { isJson } from "./hub/json/is-json.ts";
import { MemoryPresenceStore } from "./hub/presence/memory-presence.ts";
import { SharedPresenceStore } from "./hub/presence/shared-store.ts";
import type { Publisher } from "./hub/publisher.ts";
import { randomId } from "./hub/random-id.ts";
import { type Servers, SoleServer } from "./hub/servers.ts";
import { createStats } from "./hub/stats.ts";
import type { Log } from "./log.ts";
import { openCalls } from "./open-calls.ts";
import { Descriptors } from "./process/descriptors.ts";
import { openTcpProbe } from "./process/tcp-probe.ts";
import { limitUnsentData } from "./process/unsent-data.ts";
import { createChannelstream } from "./protocols/channelstream/channelstream.ts";
import { createGroups } from "./protocols/groups/groups.ts";
import { createPhoenix } from "./protocols/phoenix/phoenix.ts";
import type { CreateProtocol } from "./protocols/protocol.ts";
import { createSse } from "./protocols/sse/sse.ts";
import { Ticker } from "./ticker.ts";
import { ConnectionContext } from "./transports/connection-context.ts";
import { LongPollClient } from "./transports/longpoll.ts";
import { VERSION } from "./version.ts";
import type { WorkerParts } from "./worker.ts";

/** All protocols, in the order in which they are asked whether a request matches. To add one is to add a line. */
export const PROTOCOLS: readonly CreateProtocol[] = [
  createChannelstream,
  createPhoenix,
  createGroups,
  createSse,
];

/** ms between two checks for what is due: expired tokens, closings, idle polls. */
const TICK = 250;

/** How long (ms) a replaced server accepts connections that were opened before the successor got all new ones. */
const LAST_ACCEPTS = 1000;

/** Time (ms) for long polls to be answered and to come again, before the successor listens. */
const POLLED_AGAIN = 500;

/** Time (ms) in which the bus of a successor has to be live, and the pause between two checks. */
const LIVE_TIMEOUT = 30_000;
const LIVE_CHECK = 20;

export interface RunningServer {
  /** Where it listens: `http://127.0.0.1:2025`. */
  readonly url: string;
  readonly port: number;
  readonly busKind: BusKind;
  /**
   * To be called when a successor receives the messages of the bus, before it listens: long polls are sent positions that it knows.
   * Resolves when clients had the time to poll again.
   */
  succeeded(): Promise<void>;
  /**
   * Disconnects all clients, then ends. Resolves when nothing is left.
   * @param released called when the port is closed; given if a successor has replaced this server
   */
  stop(released?: () => void): Promise<void>;
}

/** What depends on how the process was started. */
export interface StartOptions {
  /** Whether it replaces another server: it then listens once its bus is live. */
  readonly replaces: boolean;
  /** Whether other processes listen on the port. */
  readonly sharesPort: boolean;
  /** `null` for a server of one process. */
  readonly worker: WorkerParts | null;
  /** Resolves when a server that replaces another one may listen. */
  readonly mayListen: () => Promise<void>;
  /** Signs messages between servers if no secret is configured. */
  readonly fleetSecret: string;
  readonly reload: () => Promise<ReloadResult>;
}

const ALONE: StartOptions = {
  replaces: false,
  sharesPort: false,
  worker: null,
  mayListen: async () => {},
  fleetSecret: randomId(32),
  reload: async () => ({ ok: false, reason: "no executable to start" }),
};

/**
 * Builds the parts and listens. Resolves when it listens, whether or not Redis is connected.
 * @param protocols those that the server may have; each may be turned off by configuration
 * @throws Error with one sentence for an operator: a port that is in use, an invalid certificate.
 */
export async function startServer(
  config: Config,
  log: Log,
  protocols: readonly CreateProtocol[] = PROTOCOLS,
  start: StartOptions = ALONE,
): Promise<RunningServer> {
  const descriptors = new Descriptors(log);
  const { worker } = start;
  const limits = limitsInForce(config.limits, descriptors.available * (worker?.count ?? 1));
  const stats = createStats();
  const [bus] = await Promise.all([openBus(config, log, worker?.relayPlace), stretchAdminSecrets(config)]);
  if (start.replaces && bus.kind === "embedded")
    throw new Error("no Redis answers, and the embedded bus cannot replace one");
  if (worker !== null && bus.kind !== "redis")
    throw new Error(`no Redis answers, and ${worker.count} workers need one: start it, or set workers = 1`);

  const connections = new Connections(limits);
  const aloneBecause = whyAlone(config, bus);
  // A server without a secret is alone: it verifies what it signed itself.
  const secrets = config.fleetSecrets.length > 0 ? config.fleetSecrets : [start.fleetSecret];
  const signer = new Signer(secrets, config.prefix);
  const fleetMessages = new FleetMessages(bus, signer, log);
  const presence =
    aloneBecause !== null
      ? new MemoryPresenceStore()
      : new SharedPresenceStore({
          servers: () => servers,
          database: openPresenceDatabase(config, log),
          messages: fleetMessages,
          window: config.presenceWindow,
          maxMessage: limits.maxPayload,
        });
  const addressed = new AddressedMessages(fleetMessages, limits.maxPayload);
  const rulesFor = createChannelRules(config.channels);
  const identity = new Identity(nameOf(config, worker));
  const history = keepsHistory(config.channels)
    ? openHistory(config, {
        ...{ kind: bus.kind, memory: new MemoryHistory(limits.historyBytes), log },
        unstored: () => void stats.unstored++,
      })
    : null;
  const webhooks =
    config.webhook === null
      ? null
      : new Webhooks({
          store: openWebhookStore(config, aloneBecause === null, log),
          // Its own: other requests to the same host must not take its turns.
          client: new HookClient(config.hookSecret ?? ""),
          url: config.webhook,
          servers: () => servers,
          isPresent: async (incarnation) => (await stores?.liveness.isPresent(incarnation)) ?? null,
          log,
        });
  const openedCalls = openCalls({ config, limits, bus, identity, stats, log });
  const interest = worker?.relayPlace?.interest;
  // Channels without listeners may be kept, too.
  if (history !== null) interest?.all();
  const hub = new Hub({
    ...config,
    ...limits,
    bus,
    connections,
    stats,
    log,
    presence,
    addressed,
    ...(webhooks === null ? {} : { memberships: webhooks.tracker }),
    calls: openedCalls?.calls ?? null,
    ...{ history, interest },
    node: identity.incarnation,
    rulesFor,
  });
  const dispatcher = new BusDispatcher(hub, fleetMessages, new Markers(fleetMessages, hub));
  const inbound = new InboundBudget(limits);
  const context = new ConnectionContext({
    ...limits,
    inbound,
    connections,
    stats,
    log,
    maxBuffered: limits.maxBufferedPerClient,
    closeOnExpiry: config.expiry === "close",
  });
  const { refusals } = context;

  const acts = new RecentActs();
  const audit = createAudit(log, (act) => acts.add(act));
  const auditWrongProof = wrongProofAuditor(audit);
  const wrong = new FailedAttempts(undefined, auditWrongProof);
  const shared = aloneBecause === null ? signer : null;
  const revocations = new Revocations(openRevocationStore(config, bus.kind, log, shared));
  revocations.revoked = (revocation) => dismissRevoked(connections, revocation);
  const admin = createAdmin(config, { wrong, revocations, audit, sharedCode: worker?.sharedCode ?? null });
  const stores = aloneBecause === null ? openFleetStores(config, log) : null;
  const bans = new Bans(Date.now, stores?.bans);
  const verify = rejectBanned(createVerifier(config, Date.now, wrong), bans, revocations);

  const drain = new Drain(config, connections);
  const isClosing = () => drain.closing;
  const counts = worker === null ? undefined : new SharedCounts(worker.memory, worker.number);
  const limiter = new ConnectLimiter(limits, () => descriptors.isExhausted(), undefined, counts);
  const places = createPlaces(limiter, isClosing);
  const rules = createRequestRules({ config, admin, inbound, refusals });
  const newId = createConnectionIds(connections, config.idLength, identity);
  let listeners: Listeners | null = null;
  let inner: WorkerListener | null = null;
  const publisher: Publisher = { publish: (topic, frame) => listeners?.publish(topic, frame) ?? 0 };
  const fanouts = { publisher, connections };
  const isBanned = (user: string) => bans.has(user);
  const authorizer = createAuthorizer({ config, stats, isBanned, revocations });
  const forwarding = new Forwarding({
    ...{ ...config, fleet: () => fleet, signer },
    siblings: worker?.siblings ?? null,
  });
  const parts = {
    ...{ config, limits, hub, context, fanouts, verify, isBanned, rules, places, newId, auditWrongProof },
    ...{ authorizer, forwarding },
    serverMessages: (kind: string) =>
      new ProtocolMessages({ kind, messages: fleetMessages, fleet: () => fleet, log }),
  };
  const active = protocols
    .map((create) => create({ ...parts, openTcpProbe, tickMs: TICK }))
    .filter((protocol) => protocol !== null);

  const busState = () => ({ kind: bus.kind, ...bus.state });
  const loopDelay = new LoopDelay();
  let url = "";
  const figures = createFigures({
    ...{ hub, busState, version: VERSION },
    loopDelay: loopDelay.reader(),
    draining: () => drain.started,
    address: () => url,
    nodeUrl: config.nodeUrl,
  });
  const statsHistory = new StatsHistory((delay) => takeSnapshot(hub, busState, delay), loopDelay.reader());
  const fleet =
    stores === null
      ? null
      : new Fleet({
          ...{
            identity,
            messages: fleetMessages,
            positions: hub.positions,
            busState,
            figures,
            stats: () => statsHistory.latest ?? {},
            tickMs: TICK,
            log,
          },
          store: stores.liveness,
        });
  const servers: Servers = fleet ?? new SoleServer(identity);
  fleet?.observe({ renewed: () => worker?.announce([...identity.previous, identity.incarnation]) });
  const serverList = new ServerList(identity, fleet, figures, hub.positions);
  const requests = fleet === null ? null : new FleetRequests(fleet, fleetMessages);
  const others = fleet === null || requests === null ? null : { fleet, requests };
  const control = new Control({
    ...{ identity, hub, bans },
    endUser: (user) => active.reduce((ended, protocol) => ended + (protocol.endUser?.(user) ?? 0), 0),
    fleet: others,
  });
  const publishing = new Publishing({
    ...{ bus, hub, addressed },
    notes: new PositionNotes(fleetMessages, hub.positions, identity.incarnation),
    ids: stores?.ids ?? new MemoryIds(),
  });
  const registry = createMetrics({
    hub,
    version: VERSION,
    busState,
    loopDelay: loopDelay.reader(),
    inbound: () => inbound.bytes,
    servers: () => servers.others.size + 1,
    lags: () => serverList.lags(),
    rejected: () => fleetMessages.rejected,
    authorizing: () => authorizer?.pending ?? 0,
    webhooks: () => webhooks?.figures ?? null,
  });
  const channelSeries = new ChannelSeries(hub.channels);
  const busFigures = openBusFigures(config, bus.kind, log);
  const http = createHttp({
    config,
    log,
    admin,
    mint: createMint(config),
    verify,
    refusals,
    registry,
    hub,
    publishing,
    bans,
    control,
    lists: { identity, fleet: others },
    inbound,
    revocations,
    audit,
    acts,
    process: () => processRow({ hub, identity, figures, busState, descriptors }),
    busFigures,
    history: statsHistory,
    servers: serverList,
    fleetStats: new FleetStats(statsHistory, identity, fleet),
    channelSeries,
    webhooks,
    busState,
    draining: () => drain.started && !drain.replaced,
    reload: start.reload,
    workers:
      worker === null ? null : { siblings: worker.siblings, firstAway: () => worker.memory.firstAway() },
  });
  const upgrade = createUpgrade({ config, protocols: active, admin, places, refusals, newId, isClosing });
  const peerOf = createPeerOf(config, (peer) =>
    log.warn("request forwarded by a proxy that trusted_proxies does not list", { peer }),
  );
  const firstWorker =
    worker === null || worker.number === 1
      ? null
      : new FirstWorker({
          ...{ siblings: worker.siblings, protocols: active },
          limits: { idleTimeout: limits.idleTimeout, maxBuffered: limits.maxBufferedPerClient },
          maxBuffered: limits.maxBuffered,
          longestPoll: config.channelstream.wakeConnectionsAfter,
        });
  const entry = new Entry({
    config,
    protocols: active,
    upgrade,
    http,
    admin,
    limiter,
    refusals,
    stats,
    isReplaced: () => drain.replaced,
    peerOf,
    siblings: worker?.siblings ?? null,
    firstWorker,
  });
  const connectBus = async (): Promise<void> => {
    hub.start();
    fleet?.start();
    webhooks?.start();
    const families = ["to", "hub", ...(openedCalls?.families ?? [])] as const;
    await Promise.all([bus.subscribe(families, dispatcher), revocations.start(), bans.start()]);
  };
  const listen = async (): Promise<Listeners> => {
    // The others know the incarnation before a client can send it to them.
    worker?.announce([identity.incarnation]);
    if (worker !== null) inner = listenForWorkers(worker.socket, registry, { limits, entry, limiter, log });
    const opened = await serve({ config, limits, entry, limiter, log, sharesPort: start.sharesPort });
    listeners = inner === null ? opened : { ...opened, publish: publishToBoth(opened, inner) };
    url = urlOf(config, opened);
    if (conflates(config.channels)) await limitUnsentData(opened.port);
    return opened;
  };

  const ticker = new Ticker(TICK, loopDelay, (now) => {
    if (listeners !== null) descriptors.check(listeners);
    hub.tick();
    context.tick();
    inbound.tick(now);
    // The reports to other servers name the newest position.
    interest?.catchUp();
    fleet?.tick(now);
    firstWorker?.tick(now);
    worker?.memory.setState(
      worker.number,
      listeners === null || drain.closing ? "absent" : bus.state.live ? "ready" : "away",
    );
    for (const protocol of active) protocol.tick?.();
  });
  const stopParts = (): void => {
    for (const part of [ticker, statsHistory, channelSeries, descriptors, connections, hub, ...active])
      part.stop?.();
  };

  const closeListeners = async (): Promise<void> => {
    await listeners?.stop(true);
    await inner?.stop();
  };

  let open: Listeners;
  try {
    if (start.replaces) {
      // The first report to other servers names it.
      url = urlOf(config, config);
      await connectBus();
      await untilLive(bus);
      await start.mayListen();
      open = await listen();
    } else {
      open = await listen();
      await connectBus();
    }
  } catch (error) {
    stopParts();
    await history?.stop?.();
    await presence.stop();
    await webhooks?.stop();
    await closeListeners();
    throw error;
  }
  // The supervisor has one line for all workers.
  const announce = worker === null ? log.info : log.debug;
  announce("listening", { url, bus: bus.kind });
  if (aloneBecause !== null) log.info("not part of a fleet", { reason: aloneBecause });
  if (aloneBecause !== null && webhooks !== null)
    log.warn("webhook events are kept in memory, and lost when this server ends", { reason: aloneBecause });
  if (limits.maxConnections < config.limits.maxConnections && (worker?.reportsMachine ?? true)) {
    log.warn("limit on open files is too low for limits.max_connections", {
      max_connections: config.limits.maxConnections,
      allowed: limits.maxConnections,
      open_files: descriptors.limit,
    });
  }
  // The first check creates the JSON scanner, in some milliseconds: now, rather than under the first message.
  setImmediate(() => isJson(Buffer.from("[]")));
  if (admin.signInCode !== null && (worker?.reportsMachine ?? true)) {
    const link = `${config.publicUrl ?? url}/admin/sign_in?code=${admin.signInCode}`;
    log.info("one-time admin link", { link });
  }
  return {
    url,
    port: open.port,
    busKind: bus.kind,
    async succeeded() {
      const polling = [...connections.all()].filter((each) => each instanceof LongPollClient);
      for (const connection of polling) connection.draining();
      if (polling.length > 0) await Bun.sleep(POLLED_AGAIN);
    },
    async stop(released) {
      if (released !== undefined) {
        drain.replaced = true;
        open.closeIdleConnections();
        await Bun.sleep(LAST_ACCEPTS);
        open.closeIdleConnections();
      }
      await drain.run(() => {
        hub.drain();
        void webhooks?.handOver();
        void open.stop();
        released?.();
      });
      stopParts();
      await presence.stop();
      await webhooks?.stop();
      await revocations.stop();
      await fleet?.stop();
      bans.stop();
      stores?.stop();
      busFigures?.stop();
      openedCalls?.stop();
      await bus.stop();
      // After its last message.
      await history?.stop?.();
      await open.stop(true);
      await inner?.stop();
    },
  };
}

export const NO_SECRET = "neither fleet_secret nor jwt_secret is set";

/** Why this server has no others; `null` if it may. */
function whyAlone({ fleetSecrets }: Config, { kind }: Bus): string | null {
  if (kind === "embedded") return "the embedded bus serves one server";
  if (kind !== "redis") return "servers know each other by Redis only";
  return fleetSecrets.length > 0 ? null : NO_SECRET;
}

function nameOf({ nodeName }: Config, worker: WorkerParts | null): string {
  const name = nodeName ?? hostname();
  return worker === null ? name : `${name}/${worker.number}`;
}

/** Resolves when messages flow. @throws Error with the reason if they do not within `LIVE_TIMEOUT` */
async function untilLive(bus: Bus): Promise<void> {
  for (let waited = 0; !bus.state.live; waited += LIVE_CHECK) {
    if (waited >= LIVE_TIMEOUT)
      throw new Error(`not subscribed within ${LIVE_TIMEOUT / 1000} s: ${bus.state.detail}`);
    await Bun.sleep(LIVE_CHECK);
  }
}

/** @param openFiles connections that the limit on open files allows */
function limitsInForce(limits: Limits, openFiles: number): Limits {
  const { maxInbound, maxFrame, maxBody, maxPayload } = limits;
  return {
    ...limits,
    maxConnections: Math.min(limits.maxConnections, openFiles),
    // At least two of the largest messages at once.
    maxInbound: Math.max(maxInbound, 2 * Math.max(maxFrame, maxBody, maxPayload)),
  };
}

function wrongProofAuditor(audit: Audit): (source: AttemptSource, kind: CredentialKind) => void {
  return ({ address }, kind) =>
    audit({ act: "prove", who: "nobody", from: address, what: { by: kind }, result: "wrong secret" });
}

function dismissRevoked(connections: Connections, { kind, id }: Revocation): void {
  const reason = kind === "session" ? "signed out" : "token revoked";
  for (const connection of connections.all()) {
    if (connection.reliesOn(kind, id)) connection.dismiss(1001, reason);
  }
}

function urlOf({ tls, host, basePath }: Config, { port }: { readonly port: number }): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return `${tls === null ? "http" : "https"}://${name}:${port}${basePath}`;
}
