import * as z from "zod";
import { UnixMs } from "./api-schemas.ts";

export const BusKinds = z.enum(["redis", "amqp", "embedded"]);

export const ProcessRow = z
  .object({
    name: z.string(),
    incarnation: z.string(),
    pid: z.number(),
    version: z.string(),
    runtime: z.string().meta({ description: "Version of Bun." }),
    platform: z.string(),
    uptime: z.number().meta({ description: "Seconds since it started." }),
    cpu: z.number().meta({ description: "CPU time per time; 1 is one core." }),
    memory: z
      .object({ rss: z.number(), heap_used: z.number(), external: z.number() })
      .meta({ description: "Bytes: resident, on the heap, and outside the heap." }),
    loop_delay: z.number().meta({ description: "Maximum event loop delay of the last seconds, in ms." }),
    descriptors: z
      .object({ open: z.number().nullable(), limit: z.number().nullable() })
      .meta({ description: "Open files and sockets; null where the system does not say." }),
    connections: z.number(),
    buffered: z.number().meta({ description: "Bytes buffered for slow clients." }),
    bus: z
      .object({ kind: BusKinds, live: z.boolean(), detail: z.string(), gaps: z.number(), since: UnixMs })
      .meta({ description: "The bus as this server sees it." }),
  })
  .meta({ id: "Process" });

export type ProcessEntry = z.infer<typeof ProcessRow>;

export const EXAMPLE_PROCESS: ProcessEntry = {
  name: "hub-1",
  incarnation: "x7Kq2m",
  pid: 4711,
  version: "0.1.0",
  runtime: "1.4.5",
  platform: "linux x64",
  uptime: 86_400,
  cpu: 0.2,
  memory: { rss: 190_000_000, heap_used: 60_000_000, external: 8_000_000 },
  loop_delay: 3,
  descriptors: { open: 1262, limit: 1_048_576 },
  connections: 1200,
  buffered: 0,
  bus: { kind: "redis", live: true, detail: "connected to 10.0.0.5:6379", gaps: 0, since: 1_893_452_400_000 },
};
