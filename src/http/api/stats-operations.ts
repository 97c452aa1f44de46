import * as z from "zod";
import { VERSION } from "../../version.ts";
import { UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { SERVER_UNKNOWN } from "./fleet-lists.ts";
import { type Operation, operation } from "./operation.ts";
import { ALL_CHANNELS_NEEDED, ALL_CHANNELS_NOTE, reachesAll } from "./scope-rejections.ts";
import { EXAMPLE_SNAPSHOT, Snapshot } from "./snapshot-schema.ts";

const Summed = z.array(z.string()).optional().meta({
  description: "With `server=*`: the incarnations of the servers summed.",
});

const Stats = Snapshot.extend({
  version: z.string(),
  node: z.string().meta({ description: "This server's id." }),
  started: UnixMs,
  servers: Summed,
}).meta({ id: "Stats" });

const FleetSnapshot = Snapshot.extend({ servers: Summed }).meta({ id: "FleetSnapshot" });

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
      answer: Stats,
      exampleAnswer: { ...EXAMPLE_SNAPSHOT, version: VERSION, node: "x7Kq2m", started: 1_893_452_400_000 },
      errors: [ALL_CHANNELS_NEEDED, SERVER_UNKNOWN],
      run({ query: { server }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
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
        return found.success ? { ...found.data, ...about } : SERVER_UNKNOWN;
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
      exampleAnswer: { interval: 2000, snapshots: [EXAMPLE_SNAPSHOT] },
      errors: [ALL_CHANNELS_NEEDED],
      run({ query: { server }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
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
