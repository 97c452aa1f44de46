import * as z from "zod";
import { Counts, UnixMs } from "./api-schemas.ts";

export const ChannelRow = z
  .object({
    name: z.string(),
    members: z.number().meta({ description: "Number of members (joins of Phoenix clients)." }),
    users: z.number().nullable().meta({ description: "Number of users present; null if presence is off." }),
    listeners: Counts.meta({ description: "Memberships and subscriptions, by protocol." }),
    sent: z.number().meta({ description: "Messages sent to clients since the channel was opened." }),
    sent_bytes: z.number(),
    left_out: z.number().meta({
      description:
        'Messages left out for clients that did not keep up (slow = "latest"), once for each client.',
    }),
    pushed: z.number().meta({ description: "Messages from members to backends." }),
    pushed_bytes: z.number(),
    rate: z.number().meta({ description: "Messages per second in both directions, since the last request." }),
    last_active: UnixMs.nullable(),
    history: z
      .object({ messages: z.number(), bytes: z.number(), limit: z.number() })
      .nullable()
      .meta({ description: "Kept messages, at most `limit`; null without history." }),
    recoveries: Counts.meta({
      description: "Members that asked for what they missed, by result: `recovered`, or why not.",
    }),
  })
  .meta({ id: "Channel" });

export type ChannelEntry = z.infer<typeof ChannelRow>;

export const EXAMPLE_CHANNEL: ChannelEntry = {
  name: "room:7",
  members: 2,
  users: 1,
  listeners: { phoenix: 2, sse: 1 },
  sent: 1200,
  sent_bytes: 84_000,
  left_out: 0,
  pushed: 30,
  pushed_bytes: 960,
  rate: 4.5,
  last_active: 1_893_452_400_000,
  history: { messages: 100, bytes: 7000, limit: 100 },
  recoveries: { recovered: 3, gap: 1 },
};
