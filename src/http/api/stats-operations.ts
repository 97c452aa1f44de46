import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { VERSION } from "../../version.ts";
import { UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { ALL_CHANNELS_NOTE, allChannelsNeeded, reachesAll } from "./scope-rejections.ts";
import { Snapshot } from "./snapshot-schema.ts";

const Stats = Snapshot.extend({
  version: z.string(),
  node: z.string().meta({ description: "This server's id." }),
  started: UnixMs,
}).meta({ id: "Stats" });

const FleetSnapshot = Snapshot.extend({
  servers: z.array(z.string()).optional().meta({
    description: "With `server=*`: the incarnations of the servers summed.",
  }),
});

/** All servers, in the parameter `server`. */
const ALL = "*";

const SUM_NOTE =
  "`received` and `bus` are of this server: each receives every message. `channels` counts one on each server that has it open.";

export function statsOperations({ hub, history, fleetStats }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/stats",
      tag: "Monitoring",
      summary: "Current statistics",
      description: `Of this server. \`server=*\` sums all servers: ${SUM_NOTE} ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      query: z.object({
        server: z.string().max(255).optional().meta({ description: "`*`, or a name or incarnation." }),
      }),
      answer: Stats.extend({ servers: FleetSnapshot.shape.servers }),
      errors: { 404: "No such server" },
      run({ query: { server }, principal }) {
        if (!reachesAll(principal)) return allChannelsNeeded();
        const about = {
          version: VERSION,
          node: hub.node,
          started: Math.round(performance.timeOrigin),
        };
        if (server === undefined) return { ...history.now(), ...about };
        if (server === ALL) {
          const sum = fleetStats.now();
          return { ...sum, servers: [...sum.servers], ...about };
        }
        const found = Snapshot.safeParse(fleetStats.of(server));
        return found.success
          ? { ...found.data, ...about }
          : new Rejection(404, "server_unknown", "No server has this name or incarnation.");
      },
    }),
    operation({
      method: "GET",
      path: "/api/history",
      tag: "Monitoring",
      summary: "Statistics of the last ten minutes",
      description: `One snapshot every 2 seconds, oldest first. \`server=*\` sums all servers, as \`/api/stats\`. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      query: z.object({ server: z.literal(ALL).optional() }),
      answer: z.object({
        interval: z.number().meta({ description: "Time between two snapshots, in ms." }),
        snapshots: z.array(FleetSnapshot),
      }),
      run({ query: { server }, principal }) {
        if (!reachesAll(principal)) return allChannelsNeeded();
        const { interval } = history;
        const snapshots =
          server === undefined
            ? history.all()
            : fleetStats.all().map((each) => ({ ...each, servers: [...each.servers] }));
        return { interval, snapshots };
      },
    }),
  ];
}
