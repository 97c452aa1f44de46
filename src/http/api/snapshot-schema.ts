import * as z from "zod";
import { Counts, UnixMs } from "./api-schemas.ts";

const Moved = z.object({ messages: z.number(), bytes: z.number() });

/** Everything that is counted, at one moment. */
export const Snapshot = z
  .object({
    at: UnixMs,
    connections: Counts.meta({ description: "Open ones, by protocol." }),
    listeners: Counts.meta({ description: "Memberships and subscriptions, by protocol." }),
    channels: z.number(),
    received: Moved.meta({ description: "What the bus brought." }),
    delivered: Moved.meta({ description: "What was sent to clients: one message for each who listened." }),
    pushed: Moved.meta({ description: "What clients handed to the bus." }),
    dropped: Counts.meta({ description: "Messages of the bus that were not delivered, by reason." }),
    refused: Counts.meta({ description: "What clients asked for and were refused, by reason." }),
    closed: Counts.meta({ description: "Connections that the server ended, by reason." }),
    unsendable: z
      .number()
      .meta({ description: "Binary messages left out for clients whose protocol has none." }),
    unpublished: z.number().meta({ description: "Notices to backends that the bus did not take." }),
    joins: z.number(),
    leaves: z.number(),
    opened: z.number().meta({ description: "Connections opened since start." }),
    buffered: z.number().meta({ description: "Bytes that wait for slow clients." }),
    memory: z.number().meta({ description: "Resident bytes." }),
    loop_delay: z.number().meta({ description: "How late the event loop ran at the most lately, in ms." }),
    bus: z.object({
      kind: z.enum(["redis", "embedded"]),
      live: z.boolean(),
      detail: z.string(),
      gaps: z.number().meta({ description: "Subscriptions to Redis lost since start." }),
      since: UnixMs,
    }),
  })
  .meta({ id: "Snapshot" });

export type Snapshot = z.infer<typeof Snapshot>;
