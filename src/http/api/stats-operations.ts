import * as z from "zod";
import { VERSION } from "../../version.ts";
import { UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { FOR_ALL, notForAll, reachesAll } from "./scope-rejections.ts";
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
      tag: "Watching",
      summary: "Everything that is counted, now",
      description: FOR_ALL,
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
          : notForAll(),
    }),
    operation({
      method: "GET",
      path: "/api/history",
      tag: "Watching",
      summary: "Everything that was counted, over the last minutes",
      description: `A look every other second, the oldest first. ${FOR_ALL}`,
      needs: "read",
      answer: z.object({
        interval: z.number().meta({ description: "ms between two of them." }),
        snapshots: z.array(Snapshot),
      }),
      run: ({ principal }) =>
        reachesAll(principal) ? { interval: history.interval, snapshots: history.all() } : notForAll(),
    }),
  ];
}
