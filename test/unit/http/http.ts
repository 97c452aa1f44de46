import { Registry } from "prom-client";
import { createAdmin } from "../../../src/auth/admin.ts";
import type { Act } from "../../../src/auth/audit.ts";
import { Bans } from "../../../src/auth/bans.ts";
import { createMint } from "../../../src/auth/mint.ts";
import type { Peer } from "../../../src/auth/peer.ts";
import { RecentActs } from "../../../src/auth/recent-acts.ts";
import { Revocations } from "../../../src/auth/revocations.ts";
import { createVerifier } from "../../../src/auth/verifier.ts";
import type { BusKind, BusState } from "../../../src/bus/bus.ts";
import { MemoryIds } from "../../../src/bus/published-ids.ts";
import type { Config } from "../../../src/config/config.ts";
import { Control } from "../../../src/fleet/control.ts";
import { createFigures } from "../../../src/fleet/figures.ts";
import { Publishing } from "../../../src/fleet/publishing.ts";
import { ServerList } from "../../../src/fleet/server-list.ts";
import { ChannelSeries } from "../../../src/http/api/channel-series.ts";
import { FleetStats } from "../../../src/http/api/fleet-stats.ts";
import { processRow } from "../../../src/http/api/process-row.ts";
import { takeSnapshot } from "../../../src/http/api/snapshot.ts";
import { StatsHistory } from "../../../src/http/api/stats-history.ts";
import { createHttp } from "../../../src/http/http-routes.ts";
import { Connections } from "../../../src/hub/connections.ts";
import { Hub } from "../../../src/hub/hub.ts";
import { Identity } from "../../../src/hub/identity.ts";
import { InboundBudget } from "../../../src/hub/inbound-budget.ts";
import { MemoryPresenceStore } from "../../../src/hub/presence/memory-presence.ts";
import { RefusalLog } from "../../../src/hub/refusal-log.ts";
import { createStats } from "../../../src/hub/stats.ts";
import { testConfig } from "../auth/config.ts";
import { FakeBus } from "../hub/fake-bus.ts";

export const SECRET = testConfig().adminSecret;
export const BEARER = { authorization: `Bearer ${SECRET}` };
export const ORIGIN = "http://127.0.0.1:2025";

interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | ReadableStream;
  readonly client?: Partial<Peer>;
}

/** The routes as a server has them, without one: what was logged stands in `logged`. */
export function testHttp(changes: Partial<Config> = {}) {
  const config = testConfig(changes);
  const bus = {
    state: {
      live: true,
      detail: "connected to 127.0.0.1:6379",
      gaps: 0,
      since: 0,
    } satisfies BusState as BusState,
    kind: "redis" satisfies BusKind as BusKind,
    draining: false,
  };
  const logged: string[] = [];
  const write = (message: string, fields?: object) =>
    void logged.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const admin = createAdmin(config);
  const verify = createVerifier(config);
  const connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 20 });
  connections.stop();
  const fakeBus = new FakeBus();
  const hub = new Hub({
    bus: fakeBus,
    connections,
    stats: createStats(),
    log: { debug: write, info: write, warn: write, error: write },
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: 0,
    maxPayload: config.limits.maxPayload,
    datetime: false,
    adminEvents: true,
    presenceEvents: true,
    history: null,
    rulesFor: () => ({ presence: true, presenceMeta: false, namesSender: false, history: null }),
  });
  hub.start();
  void fakeBus.subscribe(["to"], hub);
  const history = new StatsHistory(
    (delay) => takeSnapshot(hub, () => ({ kind: bus.kind, ...bus.state }), delay),
    () => 0,
  );
  history.stop();
  const channelSeries = new ChannelSeries(hub.channels);
  channelSeries.stop();
  const figures = {
    ...{ hub, version: "0", busState: () => bus.state, loopDelay: () => 0 },
    ...{ draining: () => bus.draining, address: () => "", nodeUrl: null },
  };
  const bans = new Bans();
  const control = new Control({ identity: new Identity("n1"), hub, bans, endUser: () => 0, fleet: null });
  const revocations = new Revocations();
  const audited: Act[] = [];
  const log = { debug: write, info: write, warn: write, error: write };
  const http = createHttp({
    hub,
    publishing: new Publishing({
      ...{ bus: fakeBus, hub, ids: new MemoryIds() },
      notes: { create: () => null },
      addressed: { encode: () => ({ name: "hub:to", payload: "" }) },
    }),
    bans,
    control,
    lists: { identity: new Identity("n1"), fleet: null },
    inbound: new InboundBudget(config.limits),
    revocations,
    audit: (act) => void audited.push(act),
    acts: new RecentActs(),
    process: () =>
      processRow({
        ...{ hub, identity: new Identity("n1"), figures: createFigures(figures) },
        busState: () => ({ kind: bus.kind, ...bus.state }),
        descriptors: { open: 12, limit: Number.POSITIVE_INFINITY },
      }),
    busFigures: null,
    history,
    fleetStats: new FleetStats(history, new Identity("n1"), null),
    channelSeries,
    webhooks: null,
    servers: new ServerList(new Identity("n1"), null, createFigures(figures), hub.positions),
    config,
    log,
    refusals: new RefusalLog(log),
    admin,
    mint: createMint(config),
    verify,
    registry: new Registry(),
    busState: () => ({ kind: bus.kind, ...bus.state }),
    draining: () => bus.draining,
    workers: null,
    reload: async () => ({ ok: false, reason: "no process to replace" }),
  });
  const ask = async (path: string, { method = "GET", headers = {}, body, client = {} }: Asked = {}) => {
    const request = new Request(`${ORIGIN}${path}`, {
      method,
      headers: { host: "127.0.0.1:2025", ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const [pathname = ""] = path.split("?");
    return http(request, pathname, { address: "127.0.0.1", https: false, loopback: true, ...client });
  };
  /** `POST /token` with a value, or a text as it is. */
  const token = async (value: unknown, headers: Record<string, string> = {}) => {
    const body = typeof value === "string" ? value : JSON.stringify(value);
    const response = await ask("/token", { method: "POST", headers, body });
    const answer: unknown = await response.json();
    return { status: response.status, answer, response };
  };
  return { ask, token, verify, admin, bus, logged, config, hub, fakeBus, bans, revocations, audited };
}
