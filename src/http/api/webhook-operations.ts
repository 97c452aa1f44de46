import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { ALL_CHANNELS_NOTE, allChannelsNeeded, reachesAll } from "./scope-rejections.ts";

export function webhookOperations({ webhooks }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/webhooks",
      tag: "Monitoring",
      summary: "State of the webhook",
      description: `Of all servers. Without \`webhook\` nothing waits, and there is no error. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      answer: z.object({
        backlog: z.number().meta({ description: "Events that wait to be sent." }),
        last_error: z.object({ at: UnixMs, reason: z.string() }).nullable().meta({
          description:
            "Why the last request failed; null if there was none, or its events have been delivered since.",
        }),
      }),
      errors: { 503: "Redis does not answer" },
      async run({ principal }) {
        if (!reachesAll(principal)) return allChannelsNeeded();
        if (webhooks === null) return { backlog: 0, last_error: null };
        const status = await webhooks.status();
        if (status === null)
          return new Rejection(503, "bus_away", "The bus is disconnected: Redis does not answer.");
        return { backlog: status.backlog, last_error: status.lastError };
      },
    }),
  ];
}
