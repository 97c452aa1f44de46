import * as z from "zod";
import type { ListedServer } from "../../fleet/server-list.ts";
import { VERSION } from "../../version.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { ALL_CHANNELS_NEEDED, ALL_CHANNELS_NOTE, reachesAll } from "./scope-rejections.ts";

const ServerRow = z
  .object({
    name: z.string().meta({ description: "`node_name`, by default the host name." }),
    incarnation: z.string().meta({ description: "Random, new at each start. Connection ids begin with it." }),
    self: z.boolean().meta({ description: "Whether it is the server that answers." }),
    state: z.enum(["up", "draining", "silent", "stopped", "dead"]).meta({
      description:
        "`silent`: it missed a report. `stopped` and `dead` servers are listed for ten minutes, unless one with the same name is up.",
    }),
    version: z.string(),
    address: z.string(),
    uptime: z.number().meta({ description: "Seconds since it started." }),
    connections: z.number(),
    channels: z.number(),
    rates: z.object({ received: z.number(), delivered: z.number(), pushed: z.number() }).meta({
      description: "Messages per second: received from the bus, delivered to clients, pushed by clients.",
    }),
    cpu: z.number().meta({ description: "CPU time per time; 1 is one core." }),
    memory: z.number().meta({ description: "Resident memory in bytes." }),
    loop_delay: z.number().meta({ description: "Maximum event loop delay of the last seconds, in ms." }),
    gaps: z.number().meta({ description: "Subscriptions to Redis lost since start." }),
    lag: z.number().nullable().meta({
      description: "Messages that others received from the bus and that it has not; null while unknown.",
    }),
  })
  .meta({ id: "Server" });

const EXAMPLE_SERVER: z.infer<typeof ServerRow> = {
  name: "hub-1",
  incarnation: "x7Kq2m",
  self: true,
  state: "up",
  version: VERSION,
  address: "10.0.0.11:2025",
  uptime: 86_400,
  connections: 1200,
  channels: 40,
  rates: { received: 150, delivered: 9000, pushed: 20 },
  cpu: 0.2,
  memory: 190_000_000,
  loop_delay: 3,
  gaps: 0,
  lag: 0,
};

function rowOf({ name, incarnation, self, state, figures, lag }: ListedServer): z.infer<typeof ServerRow> {
  const { version, address, uptime, connections, channels, rates, cpu, memory, loopDelay, gaps } = figures;
  return {
    ...{ name, incarnation, self, state, version, address, uptime, connections, channels },
    ...{ rates: { ...rates }, cpu, memory, loop_delay: loopDelay, gaps, lag },
  };
}

export function serverOperations({ servers }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/servers",
      tag: "Monitoring",
      summary: "List the servers on this Redis",
      description: `Each reports every 2 seconds. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      answer: z.object({ servers: z.array(ServerRow) }),
      exampleAnswer: { servers: [EXAMPLE_SERVER] },
      errors: [ALL_CHANNELS_NEEDED],
      run: ({ principal }) =>
        reachesAll(principal) ? { servers: servers.all().map(rowOf) } : ALL_CHANNELS_NEEDED,
    }),
  ];
}
