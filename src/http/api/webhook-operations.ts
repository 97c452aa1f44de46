import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { ALL_CHANNELS_NEEDED, ALL_CHANNELS_NOTE, reachesAll } from "./scope-rejections.ts";

const EXAMPLE_FAILURE = "answered 502";

const REDIS_SILENT = new Rejection(503, "bus_away", "The bus is disconnected: Redis does not answer.");

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
      exampleAnswer: {
        backlog: 2,
        last_error: { at: 1_893_452_400_000, reason: EXAMPLE_FAILURE },
      },
      errors: [ALL_CHANNELS_NEEDED, REDIS_SILENT],
      async run({ principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        if (webhooks === null) return { backlog: 0, last_error: null };
        const status = await webhooks.status();
        if (status === null) return REDIS_SILENT;
        return { backlog: status.backlog, last_error: status.lastError };
      },
    }),
  ];
}
