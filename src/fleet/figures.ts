import type { BusState } from "../bus/bus.ts";
import type { Hub } from "../hub/hub.ts";
import type { NodeFigures } from "./node-report.ts";

export interface FiguresOptions {
  readonly hub: Hub;
  readonly version: string;
  readonly busState: () => BusState;
  /** Maximum event loop delay since the last call, in ms. */
  readonly loopDelay: () => number;
  readonly draining: () => boolean;
  /** Where this server listens; called when it does. */
  readonly address: () => string;
  readonly nodeUrl: string | null;
}

/** Minimum time over which rates are computed, in ms. */
const INTERVAL = 1500;

/** Returns a function that reads the figures of this server; rates are of the last seconds. */
export function createFigures(options: FiguresOptions): () => NodeFigures {
  const { hub, version, busState, loopDelay, draining, address, nodeUrl } = options;
  let before = counted(hub);
  let latest: NodeFigures | null = null;
  return () => {
    const now = counted(hub);
    if (latest !== null && now.at - before.at < INTERVAL)
      return { ...latest, draining: draining(), position: hub.positions.current };
    const secs = Math.max((now.at - before.at) / 1000, 0.001);
    const rate = (value: (counts: Counts) => number): number =>
      Math.round(((value(now) - value(before)) / secs) * 10) / 10;
    const rates = {
      received: rate(({ received }) => received),
      delivered: rate(({ delivered }) => delivered),
      pushed: rate(({ pushed }) => pushed),
    };
    const cpu = Math.round(((now.cpu - before.cpu) / secs) * 1000) / 1000;
    before = now;
    latest = {
      version,
      address: address(),
      nodeUrl,
      uptime: Math.round(now.at / 1000),
      connections: hub.connections.size,
      channels: hub.channels.size,
      rates,
      cpu,
      memory: process.memoryUsage.rss(),
      loopDelay: Math.round(loopDelay() * 10) / 10,
      gaps: busState().gaps,
      draining: draining(),
      position: hub.positions.current,
    };
    return latest;
  };
}

interface Counts {
  /** `performance.now()`. */
  readonly at: number;
  readonly received: number;
  readonly delivered: number;
  readonly pushed: number;
  /** Seconds. */
  readonly cpu: number;
}

function counted({ stats }: Hub): Counts {
  const { user, system } = process.cpuUsage();
  return {
    at: performance.now(),
    received: stats.received.messages,
    delivered: stats.deliveries,
    pushed: stats.pushes.messages,
    cpu: (user + system) / 1e6,
  };
}
