import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { coverage, FleetList, ListQuery, Servers } from "./fleet-lists.ts";
import { type Operation, operation } from "./operation.ts";
import { byText } from "./paginate.ts";
import { BusKinds, EXAMPLE_PROCESS, type ProcessEntry, ProcessRow } from "./process-schema.ts";
import { ALL_CHANNELS_NEEDED, ALL_CHANNELS_NOTE, reachesAll } from "./scope-rejections.ts";

const BusNode = z
  .object({
    where: z.string(),
    ping_ms: z.number().nullable().meta({ description: "Time of a PING of this server, in ms." }),
    info: z.record(z.string(), z.string()).nullable().meta({
      description: "Values of `INFO`, by their names there; null if the access list does not permit it.",
    }),
    output_buffer_limit: z.number().nullable().meta({
      description:
        "Bytes after which Redis disconnects a slow subscriber (`client-output-buffer-limit pubsub`); 0 for none, null if unknown.",
    }),
  })
  .meta({ id: "BusNode" });

const Bus = z.object({
  kind: BusKinds,
  live: z.boolean(),
  detail: z.string(),
  gaps: z.number(),
  since: UnixMs,
  reason: z.string().nullable().meta({ description: "Why there are no figures; null if there are." }),
  nodes: z.array(BusNode).meta({ description: "The Redis, or the masters of the cluster." }),
});

const NO_FIGURES = {
  amqp: "RabbitMQ has its own management page for its figures.",
  embedded: "The embedded bus is part of this process: its figures are those of the server.",
  redis: "Redis did not answer within 2.5 s.",
} as const;

/** The processes of all servers. */
export function processList({ process, lists }: ApiDeps): FleetList<ListQuery, ProcessEntry> {
  return new FleetList(lists, {
    kind: "list-processes",
    query: ListQuery,
    row: ProcessRow,
    local: () => ({ total: 1, matching: 1, rows: [process()] }),
  });
}

export function processOperations(
  { busState, busFigures }: ApiDeps,
  processes: ReturnType<typeof processList>,
): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/processes",
      tag: "Monitoring",
      summary: "Show the processes of all servers",
      description: `Memory, CPU, event loop, descriptors and version. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      answer: z.object({ processes: z.array(ProcessRow), servers: Servers }),
      exampleAnswer: { processes: [EXAMPLE_PROCESS], servers: [{ name: "hub-1", ok: true }] },
      errors: [ALL_CHANNELS_NEEDED],
      async run({ principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const pages = await processes.gather({ offset: 0, limit: 1, scope: null }, undefined);
        if (pages instanceof Rejection) return pages;
        const rows = pages.flatMap(({ page }) => page?.rows ?? []);
        return { processes: rows.sort((a, b) => byText(a.name, b.name)), servers: coverage(pages) };
      },
    }),
    operation({
      method: "GET",
      path: "/api/bus",
      tag: "Monitoring",
      summary: "Show the bus and the figures of Redis",
      description: `As this server sees them. Answers within 3 s, also if Redis does not. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      answer: Bus,
      exampleAnswer: {
        ...EXAMPLE_PROCESS.bus,
        reason: null,
        nodes: [
          {
            where: "10.0.0.5:6379",
            ping_ms: 0.4,
            info: { redis_version: "7.2.4", role: "master", used_memory: "1048576" },
            output_buffer_limit: 33_554_432,
          },
        ],
      },
      errors: [ALL_CHANNELS_NEEDED],
      async run({ principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const nodes = (await busFigures?.read()) ?? null;
        const { kind, live, detail, gaps, since } = busState();
        return {
          ...{ kind, live, detail, gaps, since },
          reason: nodes === null ? NO_FIGURES[kind] : null,
          nodes: (nodes ?? []).map(({ where, ping, info, bufferLimit }) => ({
            ...{ where, ping_ms: ping, info, output_buffer_limit: bufferLimit },
          })),
        };
      },
    }),
  ];
}
