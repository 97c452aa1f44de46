import {
  type Aggregator,
  AggregatorRegistry,
  Counter,
  Gauge,
  type MetricObject,
  Registry,
} from "prom-client";
import type { BusKind, BusState } from "../bus/bus.ts";
import type { WebhookFigures } from "../hooks/webhooks.ts";
import type { Hub } from "../hub/hub.ts";

const NOTHING_LOST: WebhookFigures["lost"] = { backlog: 0, undelivered: 0, unwritten: 0 };

/** At the socket for other workers: the metrics of one worker, as JSON. */
export const WORKER_METRICS = "/worker/metrics";

export interface MetricsDeps {
  readonly hub: Hub;
  readonly version: string;
  readonly busState: () => BusState & { readonly kind: BusKind };
  /** Maximum event loop delay since the last call, in ms. */
  readonly loopDelay: () => number;
  /** Bytes received from clients and not handled yet. */
  readonly inbound: () => number;
  /** Living servers on the same Redis, this one included. */
  readonly servers: () => number;
  /** Messages that each living server has not received yet, by name. */
  readonly lags: () => ReadonlyMap<string, number>;
  /** Messages between servers that do not verify. */
  readonly rejected: () => number;
  /** Joins on which the application is being asked, or that wait for it. */
  readonly authorizing: () => number;
  /** `null` without a webhook. */
  readonly webhooks: () => WebhookFigures | null;
}

/**
 * Creates the registry of all metrics. Values are read from the hub at each scrape. Channels are not a label: there may be
 * 100,000 of them.
 */
export function createMetrics(deps: MetricsDeps): Registry {
  const { hub, version, busState, loopDelay, inbound, servers, lags, rejected, authorizing, webhooks } = deps;
  const registry = new Registry();
  const { stats } = hub;

  /** `aggregator`: how the values of workers become that of their machine. Each worker receives every message of the bus. */
  const counter = (name: string, help: string, value: () => number, aggregator: Aggregator = "sum"): void => {
    new Counter({
      name: `channel_${name}`,
      help,
      aggregator,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  };
  const byReason = (
    name: string,
    help: string,
    values: () => Readonly<Record<string, number>>,
    aggregator: Aggregator = "sum",
  ): void => {
    new Counter({
      name: `channel_${name}`,
      help,
      aggregator,
      labelNames: ["reason"],
      registers: [registry],
      collect() {
        this.reset();
        for (const [reason, value] of Object.entries(values())) this.inc({ reason }, value);
      },
    });
  };
  const gauge = (name: string, help: string, value: () => number, aggregator: Aggregator = "sum"): void => {
    new Gauge({
      name,
      help,
      aggregator,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  };

  counter(
    "bus_messages_received_total",
    "Messages received from the bus.",
    () => stats.received.messages,
    "max",
  );
  counter(
    "bus_bytes_received_total",
    "Payload bytes received from the bus.",
    () => stats.received.bytes,
    "max",
  );
  counter(
    "bus_messages_delivered_total",
    "Bus messages delivered to at least one client.",
    () => stats.delivered,
    "max",
  );
  byReason(
    "bus_messages_dropped_total",
    "Bus messages not delivered, by reason.",
    () => stats.dropped,
    "max",
  );
  counter("deliveries_total", "Messages sent to clients, counted once per client.", () => stats.deliveries);
  counter("delivered_bytes_total", "Payload bytes sent to clients.", () => stats.deliveredBytes);
  counter(
    "conflated_total",
    "Messages left out for clients that did not keep up, counted once per client.",
    () => hub.connections.conflated.leftOut,
  );
  counter(
    "unsendable_total",
    "Binary messages skipped because the client's protocol has no binary frames.",
    () => stats.unsendable,
  );
  counter("pushes_total", "Client messages passed to the bus.", () => stats.pushes.messages);
  counter(
    "client_events_total",
    "Client messages also sent to the other members of their channel (client_events).",
    () => stats.clientEvents,
  );
  new Counter({
    name: "channel_calls_total",
    help: "Client messages that a backend was to answer (calls), by result.",
    labelNames: ["result"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [result, value] of Object.entries(stats.calls)) this.inc({ result }, value);
    },
  });
  counter("calls_late_total", "Answers to calls that came after the deadline.", () => stats.lateCalls);
  counter(
    "call_seconds_total",
    "Time from calls to the answers of backends, in seconds, summed.",
    () => stats.callSeconds,
  );
  gauge("channel_calls_in_flight", "Calls that wait for their answers.", () => hub.calls?.inFlight ?? 0);
  counter("push_bytes_total", "Payload bytes passed to the bus.", () => stats.pushes.bytes);
  counter(
    "publish_repeated_total",
    "Requests to publish that repeated an id, and published nothing.",
    () => stats.repeated,
  );
  counter(
    "notices_lost_total",
    "Notices to backends (presence, joins) that the bus did not accept.",
    () => stats.unpublished,
  );
  counter(
    "history_unstored_total",
    "Messages that history_store did not write to Redis when they came.",
    () => stats.unstored,
  );
  counter("joins_total", "Accepted joins.", () => stats.joins.accepted);
  counter("leaves_total", "Memberships ended, for any reason.", () => stats.joins.left);
  byReason("refused_total", "Client requests rejected, by reason.", () => stats.refused);
  new Counter({
    name: "channel_recoveries_total",
    help: "Joins with a position, by result.",
    labelNames: ["result"],
    registers: [registry],
    collect() {
      this.reset();
      // A counter that begins with its first value hides that one from `rate`.
      const results = { recovered: 0, ...stats.recoveries };
      for (const [result, value] of Object.entries(results)) this.inc({ result }, value);
    },
  });
  new Counter({
    name: "channel_authorizations_total",
    help: "Joins on which the application was asked (authorize), by result.",
    labelNames: ["result"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [result, value] of Object.entries(stats.authorizations.results)) this.inc({ result }, value);
    },
  });
  counter(
    "authorization_seconds_total",
    "Time that these joins waited for the application.",
    () => stats.authorizations.seconds,
  );
  counter("connections_opened_total", "Connections opened.", () => stats.connections.opened);
  counter("connections_closed_total", "Connections closed.", () => stats.connections.closed);
  byReason("disconnects_total", "Connections closed by the server, by reason.", () => stats.closed);
  counter(
    "bus_gaps_total",
    "Redis subscriptions lost; messages published before resubscribing were missed.",
    () => busState().gaps,
  );
  counter(
    "presence_missed_total",
    "Times that presence messages of another server were missed.",
    () => hub.presenceFigures.missed,
  );

  counter(
    "webhook_events_total",
    "Events that the application accepted (webhook).",
    () => webhooks()?.delivered ?? 0,
  );
  counter(
    "webhook_failures_total",
    "Requests to the webhook that failed, and are repeated.",
    () => webhooks()?.failed ?? 0,
  );
  byReason(
    "webhook_lost_total",
    "Events for the webhook that were given up, by reason.",
    () => webhooks()?.lost ?? NOTHING_LOST,
  );
  gauge(
    "channel_webhook_backlog",
    "Events for the webhook that wait, of those that this server sends.",
    () => webhooks()?.backlog ?? 0,
  );

  new Gauge({
    name: "channel_connections",
    help: "Open connections, by protocol.",
    labelNames: ["protocol"],
    registers: [registry],
    collect() {
      this.reset();
      const counts: Record<string, number> = { phoenix: 0, groups: 0, sse: 0 };
      for (const { protocol } of hub.connections.all()) counts[protocol] = (counts[protocol] ?? 0) + 1;
      for (const [protocol, count] of Object.entries(counts)) this.set({ protocol }, count);
    },
  });
  new Gauge({
    name: "channel_listeners",
    help: "Memberships and subscriptions in channels, by protocol.",
    labelNames: ["protocol"],
    registers: [registry],
    collect() {
      this.reset();
      const counts: Record<string, number> = { phoenix: 0, groups: 0, sse: 0 };
      for (const { receivers } of hub.channels.values()) {
        for (const { protocol, listeners } of receivers) {
          // Inspectors are receivers without listeners.
          if (listeners > 0) counts[protocol] = (counts[protocol] ?? 0) + listeners;
        }
      }
      for (const [protocol, count] of Object.entries(counts)) this.set({ protocol }, count);
    },
  });
  gauge("channel_buffered_bytes", "Bytes buffered for slow clients.", () => hub.connections.buffered);
  gauge("channel_inbound_bytes", "Bytes received from clients and not handled yet.", inbound);
  gauge("channel_authorizations_waiting", "Joins that wait for the application (authorize).", authorizing);
  gauge("channel_history_bytes", "Bytes of kept messages, overhead included.", () => hub.history?.bytes ?? 0);
  gauge(
    "channel_history_channels",
    "Channels of which messages are kept.",
    () => hub.history?.channels ?? 0,
    "max",
  );
  gauge("channel_channels", "Open channels.", () => hub.channels.size);
  gauge(
    "channel_presence_remote_members",
    "Members on other servers, in channels with members here.",
    () => hub.presenceFigures.remote,
  );
  gauge(
    "channel_servers",
    "Servers on this Redis that are not declared dead, this one included.",
    servers,
    "max",
  );
  counter("fleet_rejected_total", "Messages between servers ignored because of a wrong signature.", rejected);
  new Gauge({
    name: "channel_fleet_lag_messages",
    help: "Messages of the bus that a server has not received yet and others have, by server.",
    labelNames: ["server"],
    aggregator: "max",
    registers: [registry],
    collect() {
      this.reset();
      for (const [server, lag] of lags()) this.set({ server }, lag);
    },
  });
  gauge("channel_bus_live", "1 if the bus is connected, else 0.", () => (busState().live ? 1 : 0), "min");
  gauge("process_resident_memory_bytes", "Resident memory in bytes.", () => process.memoryUsage.rss());
  gauge("process_start_time_seconds", "Start time as Unix time.", () => performance.timeOrigin / 1000, "min");
  gauge(
    "channel_event_loop_delay_max_seconds",
    "Maximum event loop delay since the last scrape.",
    () => loopDelay() / 1000,
    "max",
  );
  counterOfCpu(registry);
  const info = new Gauge({
    name: "channel_build_info",
    help: "Always 1; labels name the version, runtime and bus.",
    labelNames: ["version", "bun", "bus"],
    aggregator: "first",
    registers: [registry],
  });
  info.set({ version, bun: Bun.version, bus: busState().kind }, 1);
  return registry;
}

/** The metrics of several workers as those of one machine. Values of a worker that are no metrics are left out. */
export function sumMetrics(own: readonly MetricObject[], others: readonly unknown[]): Registry {
  return AggregatorRegistry.aggregate([own, ...others.filter(isMetrics)]);
}

function isMetrics(value: unknown): value is MetricObject[] {
  return (
    Array.isArray(value) && value.every((each) => typeof each === "object" && each !== null && "name" in each)
  );
}

function counterOfCpu(registry: Registry): void {
  new Counter({
    name: "process_cpu_seconds_total",
    help: "CPU time, user and system.",
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
