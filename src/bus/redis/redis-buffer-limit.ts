import type { Redis } from "ioredis";
import type { Log } from "../../log.ts";

/** Smallest output buffer that does not cause a warning, in bytes: two seconds of 20 MB/s. */
export const LEAST_BYTES = 2 * 20_000_000;
/** A soft limit of at most this many seconds counts too. */
const SOON_S = 2;

/**
 * Logs a warning if Redis disconnects slow subscribers early (`client-output-buffer-limit pubsub`): messages published
 * until they reconnect are lost. Without permission for `CONFIG GET` there is no warning.
 */
export async function checkBufferLimit(redis: Redis, where: string, log: Log): Promise<void> {
  let answer: unknown;
  try {
    answer = await redis.config("GET", "client-output-buffer-limit");
  } catch (error) {
    log.debug("Redis client-output-buffer-limit not readable", {
      where,
      reason: error instanceof Error ? error.message : String(error),
    });
    return;
  }
  const limit = pubsubLimit(Array.isArray(answer) ? String(answer[1]) : "");
  if (limit === null || limit >= LEAST_BYTES) return;
  log.warn("Redis disconnects slow subscribers early (client-output-buffer-limit pubsub)", {
    where,
    bytes: limit,
    at_least: LEAST_BYTES,
  });
}

/**
 * Bytes at which a subscriber is cut off within two seconds, from `normal 0 0 0 slave 268435456 67108864 60 pubsub <hard>
 * <soft> <seconds>`; `null` where there is no limit, or none can be read.
 */
export function pubsubLimit(text: string): number | null {
  const [, hard, soft, seconds] = /\bpubsub (\d+) (\d+) (\d+)/.exec(text) ?? [];
  const limits = [Number(hard), Number(seconds) <= SOON_S ? Number(soft) : 0].filter((bytes) => bytes > 0);
  return limits.length === 0 ? null : Math.min(...limits);
}
