import * as z from "zod";
import { Counts, UnixMs } from "./api-schemas.ts";

const Volume = z.object({ messages: z.number(), bytes: z.number() });

/** All counters and gauges at one time. Counters are since start. */
export const Snapshot = z
  .object({
    at: UnixMs,
    connections: Counts.meta({ description: "Open connections, by protocol." }),
    listeners: Counts.meta({ description: "Memberships and subscriptions, by protocol." }),
    channels: z.number(),
    received: Volume.meta({ description: "Messages received from the bus." }),
    delivered: Volume.meta({ description: "Messages sent to clients, counted once per client." }),
    pushed: Volume.meta({ description: "Client messages passed to the bus." }),
    dropped: Counts.meta({ description: "Bus messages not delivered, by reason." }),
    refused: Counts.meta({ description: "Client requests rejected, by reason." }),
    closed: Counts.meta({ description: "Connections closed by the server, by reason." }),
    unsendable: z
      .number()
      .meta({ description: "Binary messages skipped because the client's protocol has no binary frames." }),
    unpublished: z.number().meta({ description: "Notices to backends that the bus did not accept." }),
    joins: z.number(),
    leaves: z.number(),
    opened: z.number().meta({ description: "Connections opened since start." }),
    buffered: z.number().meta({ description: "Bytes buffered for slow clients." }),
    memory: z.number().meta({ description: "Resident memory in bytes." }),
    loop_delay: z
      .number()
      .meta({ description: "Maximum event loop delay in the last 2 to 4 seconds, in ms." }),
    bus: z.object({
      kind: z.enum(["redis", "amqp", "embedded"]),
      live: z.boolean(),
      detail: z.string(),
      gaps: z.number().meta({ description: "Subscriptions to Redis lost since start." }),
      since: UnixMs,
    }),
  })
  .meta({ id: "Snapshot" });

export type Snapshot = z.infer<typeof Snapshot>;

export const EXAMPLE_SNAPSHOT: Snapshot = {
  at: 1_893_452_400_000,
  connections: { phoenix: 1200 },
  listeners: { phoenix: 2400 },
  channels: 40,
  received: { messages: 150_000, bytes: 12_000_000 },
  delivered: { messages: 9_000_000, bytes: 720_000_000 },
  pushed: { messages: 20_000, bytes: 600_000 },
  dropped: { unheard: 3 },
  refused: { unauthorized: 2 },
  closed: { token_expired: 1 },
  unsendable: 0,
  unpublished: 0,
  joins: 5000,
  leaves: 2600,
  opened: 2500,
  buffered: 0,
  memory: 190_000_000,
  loop_delay: 3,
  bus: { kind: "redis", live: true, detail: "connected to 10.0.0.5:6379", gaps: 0, since: 1_893_452_400_000 },
};
