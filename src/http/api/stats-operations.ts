import * as z from "zod";
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

export function statsOperations({ hub, history }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/stats",
      tag: "Monitoring",
      summary: "Current statistics",
      description: ALL_CHANNELS_NOTE,
      needs: "read",
      answer: Stats,
      run: ({ principal }) =>
        reachesAll(principal)
          ? {
              ...history.now(),
              version: VERSION,
              node: hub.node,
              started: Math.round(performance.timeOrigin),
            }
          : allChannelsNeeded(),
    }),
    operation({
      method: "GET",
      path: "/api/history",
      tag: "Monitoring",
      summary: "Statistics of the last ten minutes",
      description: `One snapshot every 2 seconds, oldest first. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      answer: z.object({
        interval: z.number().meta({ description: "Time between two snapshots, in ms." }),
        snapshots: z.array(Snapshot),
      }),
      run: ({ principal }) =>
        reachesAll(principal)
          ? { interval: history.interval, snapshots: history.all() }
          : allChannelsNeeded(),
    }),
  ];
}
