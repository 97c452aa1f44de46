import * as z from "zod";
import { isUserId, MAX_USER_BYTES } from "../../auth/claims.ts";
import { isChannelName, isEventName, MAX_NAME_BYTES } from "../../bus/topics.ts";
import { duration } from "../../config/value-types.ts";

/** The most rows of one answer. */
const MAX_LIMIT = 1000;

export const ChannelName = z
  .string()
  .refine(isChannelName, `must be the name of a channel: 1 to ${MAX_NAME_BYTES} bytes, no control character`)
  .meta({ examples: ["system"] });

export const EventName = z
  .string()
  .refine(
    isEventName,
    `must be the name of an event: 1 to ${MAX_NAME_BYTES} bytes, no colon, no control character`,
  )
  .meta({ examples: ["update"] });

export const UserId = z
  .string()
  .refine(isUserId, `must be a well-formed text of at most ${MAX_USER_BYTES} bytes`)
  .meta({ examples: ["alice"] });

/** A time in seconds or as text (`"10m"`); comes out in ms. */
export function period(minMs: number, maxMs: number) {
  const kind = duration(minMs, maxMs);
  return z
    .union([z.number(), z.string()])
    .refine((value) => kind.parse(value) !== undefined, `must be ${kind.expects}`)
    .transform((value) => kind.parse(value) ?? minMs)
    .meta({ examples: ["10m"] });
}

/** A list of names by commas, and which part of it to show. */
export function paging(defaultLimit: number) {
  return {
    search: z
      .string()
      .max(255)
      .default("")
      .meta({ description: "Only what contains this text, whatever its case." }),
    order: z.enum(["asc", "desc"]).optional(),
    offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
    limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(defaultLimit),
  };
}

export const UnixMs = z.number().meta({ description: "Unix time in ms." });

/** Counters by name: a reason, a protocol. */
export const Counts = z.record(z.string(), z.number());
