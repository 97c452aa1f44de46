import * as z from "zod";
import { UnixMs } from "./api-schemas.ts";

export const MemberRow = z
  .object({
    agent: z
      .string()
      .meta({ description: "<connection>:<channel>:<join_ref>; a channel may contain colons." }),
    connection: z.string(),
    join_ref: z.string(),
    user: z.string(),
    since: UnixMs,
    address: z.string(),
    recovery: z.string().nullable().meta({
      description: "`recovered`, or why it did not get what it missed; null if it did not ask.",
    }),
    server: z.string().meta({ description: "The name of its server." }),
  })
  .meta({ id: "Member" });

export type MemberEntry = z.infer<typeof MemberRow>;

export const EXAMPLE_MEMBER: MemberEntry = {
  agent: "x7Kq2mPd:room:7:1",
  connection: "x7Kq2mPd",
  join_ref: "1",
  user: "alice",
  since: 1_893_452_400_000,
  address: "192.0.2.7",
  recovery: "recovered",
  server: "hub-1",
};
