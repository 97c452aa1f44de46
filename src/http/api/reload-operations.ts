import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";

export function reloadOperations({ reload }: ApiDeps): Operation[] {
  return [
    operation({
      method: "POST",
      path: "/api/reload",
      tag: "Actions",
      summary: "Replace the server by a new process",
      description:
        "Starts the executable that is now at its path with the configuration as it is now, on the same port. Answers when the new process serves; clients are then disconnected, and reconnect to it. After a failure the server goes on serving. `channel reload` uses this.",
      needs: "admin",
      act: "reload",
      answer: z.object({ pid: z.number().meta({ description: "The new process." }) }),
      exampleAnswer: { pid: 4711 },
      errors: [new Rejection(409, "reload_failed", "another reload is not yet complete")],
      async run() {
        const result = await reload();
        return result.ok ? { pid: result.pid } : new Rejection(409, "reload_failed", result.reason);
      },
    }),
  ];
}
