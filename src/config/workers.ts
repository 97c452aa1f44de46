import { availableParallelism } from "node:os";
import { ConfigError } from "./config-error.ts";
import type { Reader } from "./reader.ts";
import { MAX_WORKERS } from "./settings.ts";
import type { Config } from "./types.ts";

/** Throws a `ConfigError` if several processes are to share a bus that serves one. */
export function checkWorkers(reader: Reader, { workers, bus }: Config): void {
  if (workers === "auto" || workers === 1 || bus === "redis" || bus === "auto") return;
  throw new ConfigError(
    2,
    `${reader.place("workers")}: ${workers} processes need a Redis, and bus is ${bus}: set bus = "redis", or workers = 1`,
  );
}

/** The number of processes that serve. `auto` is the number of cores where a Redis is configured, else 1. */
export function workerCount({ workers, bus, redisUrlGiven }: Config): number {
  if (workers !== "auto") return workers;
  const hasRedis = bus === "redis" || (bus === "auto" && redisUrlGiven);
  return hasRedis ? Math.min(availableParallelism(), MAX_WORKERS) : 1;
}
