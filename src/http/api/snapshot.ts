import type { BusKind, BusState } from "../../bus/bus.ts";
import type { Hub } from "../../hub/hub.ts";
// Type only: the schema library is loaded with the API.
import type { Snapshot } from "./snapshot-schema.ts";

/** Takes a snapshot. @param loopDelay in ms */
export function takeSnapshot(
  hub: Hub,
  busState: () => BusState & { readonly kind: BusKind },
  loopDelay: number,
): Snapshot {
  const { stats } = hub;
  const connections: Record<string, number> = { phoenix: 0 };
  let buffered = 0;
  for (const connection of hub.connections.all()) {
    connections[connection.protocol] = (connections[connection.protocol] ?? 0) + 1;
    buffered += connection.buffered();
  }
  const { kind, live, detail, gaps, since } = busState();
  return {
    at: Date.now(),
    connections,
    listeners: listenersByProtocol(hub),
    channels: hub.channels.size,
    received: { ...stats.received },
    delivered: { messages: stats.deliveries, bytes: stats.deliveredBytes },
    pushed: { ...stats.pushes },
    dropped: { ...stats.dropped },
    refused: { ...stats.refused },
    closed: { ...stats.closed },
    unsendable: stats.unsendable,
    unpublished: stats.unpublished,
    joins: stats.joins.accepted,
    leaves: stats.joins.left,
    opened: stats.connections.opened,
    buffered,
    memory: process.memoryUsage.rss(),
    loop_delay: Math.round(loopDelay * 10) / 10,
    bus: { kind, live, detail, gaps, since },
  };
}

function listenersByProtocol(hub: Hub): Record<string, number> {
  const counts: Record<string, number> = { phoenix: 0 };
  for (const { receivers } of hub.channels.values()) {
    for (const { protocol, listeners } of receivers) {
      if (listeners > 0) counts[protocol] = (counts[protocol] ?? 0) + listeners;
    }
  }
  return counts;
}
