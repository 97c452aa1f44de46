import * as z from "zod";
import { isUserId, MAX_USER_BYTES } from "../../auth/claims.ts";
import { isChannelName, isEventName, MAX_NAME_BYTES } from "../../bus/topics.ts";
import { duration } from "../../config/value-types.ts";

/** Maximum number of rows in one response. */
const MAX_LIMIT = 1000;

export const ChannelName = z
  .string()
  .refine(isChannelName, `must be a channel name: 1 to ${MAX_NAME_BYTES} bytes, no control character`)
  .meta({ examples: ["system"] });

export const EventName = z
  .string()
  .refine(isEventName, `must be an event name: 1 to ${MAX_NAME_BYTES} bytes, no colon, no control character`)
  .meta({ examples: ["update"] });

export const UserId = z
  .string()
  .refine(isUserId, `must be well-formed text of at most ${MAX_USER_BYTES} bytes`)
  .meta({ examples: ["alice"] });

/** A duration in seconds or as text (`"10m"`), converted to ms. */
export function period(minMs: number, maxMs: number) {
  const kind = duration(minMs, maxMs);
  return z
    .union([z.number(), z.string()])
    .refine((value) => kind.parse(value) !== undefined, `must be ${kind.expects}`)
    .transform((value) => kind.parse(value) ?? minMs)
    .meta({ examples: ["10m"] });
}

/** Query parameters of a list: search, order and page. */
export function paging(defaultLimit: number) {
  return {
    search: z
      .string()
      .max(255)
      .default("")
      .meta({ description: "Show only rows that contain this text, ignoring case." }),
    order: z.enum(["asc", "desc"]).optional(),
    offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
    limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(defaultLimit),
  };
}

export const UnixMs = z.number().meta({ description: "Unix time in ms." });

/** Counts by name, such as a reason or a protocol. */
export const Counts = z.record(z.string(), z.number());
