import type { BusKind, BusState } from "../../bus/bus.ts";
import type { NodeFigures } from "../../fleet/node-report.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Identity } from "../../hub/identity.ts";
// Type only: the schema library is loaded with the API.
import type { ProcessEntry } from "./process-schema.ts";

export interface ProcessParts {
  readonly hub: Hub;
  readonly identity: Identity;
  readonly figures: () => NodeFigures;
  readonly busState: () => BusState & { readonly kind: BusKind };
  /** Open descriptors and their limit; infinite where unknown. */
  readonly descriptors: { readonly open: number; readonly limit: number };
}

/** What this process shows of itself. */
export function processRow({ hub, identity, figures, busState, descriptors }: ProcessParts): ProcessEntry {
  const { version, uptime, cpu, loopDelay, connections } = figures();
  const { rss, heapUsed, external } = process.memoryUsage();
  const { kind, live, detail, gaps, since } = busState();
  let buffered = 0;
  for (const connection of hub.connections.all()) buffered += connection.buffered();
  return {
    ...{ name: identity.name, incarnation: identity.incarnation, pid: process.pid, version, uptime, cpu },
    ...{ runtime: Bun.version, platform: `${process.platform} ${process.arch}` },
    memory: { rss, heap_used: heapUsed, external },
    loop_delay: loopDelay,
    descriptors: { open: finite(descriptors.open), limit: finite(descriptors.limit) },
    ...{ connections, buffered, bus: { kind, live, detail, gaps, since } },
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
