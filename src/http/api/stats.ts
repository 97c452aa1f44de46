import * as z from "zod";
import type { BusKind, BusState } from "../../bus/bus.ts";
import type { Hub } from "../../hub/hub.ts";
import { VERSION } from "../../version.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { Counts, UnixMs } from "./schemas.ts";

const Moved = z.object({ messages: z.number(), bytes: z.number() });

/** Everything that is counted, at one moment. */
export const Snapshot = z
  .object({
    at: UnixMs,
    connections: Counts.meta({ description: "Open ones, by protocol." }),
    listeners: Counts.meta({ description: "Memberships and subscriptions, by protocol." }),
    channels: z.number(),
    received: Moved.meta({ description: "What the bus brought." }),
    delivered: Moved.meta({ description: "What was sent to clients: one message for each who listened." }),
    pushed: Moved.meta({ description: "What clients handed to the bus." }),
    dropped: Counts.meta({ description: "Messages of the bus that were not delivered, by reason." }),
    refused: Counts.meta({ description: "What clients asked for and were refused, by reason." }),
    closed: Counts.meta({ description: "Connections that the server ended, by reason." }),
    unsendable: z
      .number()
      .meta({ description: "Binary messages left out for clients whose protocol has none." }),
    unpublished: z.number().meta({ description: "Notices to backends that the bus did not take." }),
    joins: z.number(),
    leaves: z.number(),
    opened: z.number().meta({ description: "Connections opened since start." }),
    buffered: z.number().meta({ description: "Bytes that wait for slow clients." }),
    memory: z.number().meta({ description: "Resident bytes." }),
    loop_delay: z.number().meta({ description: "How late the event loop ran at the most lately, in ms." }),
    bus: z.object({
      kind: z.enum(["redis", "embedded"]),
      live: z.boolean(),
      detail: z.string(),
      gaps: z.number().meta({ description: "How often a live bus was lost." }),
      since: UnixMs,
    }),
  })
  .meta({ id: "Snapshot" });

export type Snapshot = z.infer<typeof Snapshot>;

const Stats = Snapshot.extend({
  version: z.string(),
  node: z.string().meta({ description: "This server's id." }),
  started: UnixMs,
}).meta({ id: "Stats" });

/** Looks at everything once. Counters are since start: a rate is the difference of two looks. */
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
  for (const { outlets } of hub.channels.values()) {
    for (const { protocol, listeners } of outlets) {
      if (listeners > 0) counts[protocol] = (counts[protocol] ?? 0) + listeners;
    }
  }
  return counts;
}

export function statsOperations({ hub, history }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/stats",
      tag: "Watching",
      summary: "Everything that is counted, now",
      needs: "read",
      answer: Stats,
      run: () => ({
        ...history.now(),
        version: VERSION,
        node: hub.node,
        started: Math.round(performance.timeOrigin),
      }),
    }),
    operation({
      method: "GET",
      path: "/api/history",
      tag: "Watching",
      summary: "Everything that was counted, over the last minutes",
      description: "A look every other second, the oldest first.",
      needs: "read",
      answer: z.object({
        interval: z.number().meta({ description: "ms between two of them." }),
        snapshots: z.array(Snapshot),
      }),
      run: () => ({ interval: history.interval, snapshots: history.all() }),
    }),
  ];
}
