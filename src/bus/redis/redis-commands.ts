import { Cluster, Redis } from "ioredis";
import type { RedisAddress } from "./redis-address.ts";
import { pauseBefore } from "./redis-connection.ts";

/** Timeout of connecting and of each command, in ms. */
export const REPLY_TIMEOUT_MS = 2000;

const NO_SCRIPTS = /^NOPERM.*\beval\b|unknown command/i;

/**
 * A client for commands on keys, to a single Redis, the master of Sentinels, or a cluster; not yet connected. It retries
 * without end, queues nothing and sends nothing twice.
 * @param name shown by `CLIENT LIST`
 */
export function createCommandClient(address: RedisAddress, name: string): Redis | Cluster {
  const common = {
    connectionName: name,
    disableClientInfo: true,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    commandTimeout: REPLY_TIMEOUT_MS,
    connectTimeout: REPLY_TIMEOUT_MS,
    enableReadyCheck: address.kind === "sentinel",
    // A master that became a replica keeps its connections for a while.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
  };
  if (address.kind === "cluster") {
    const cluster = new Cluster([...address.hosts], {
      redisOptions: { ...address.options, ...common },
      clusterRetryStrategy: pauseBefore,
      lazyConnect: true,
      enableOfflineQueue: false,
    });
    return cluster.on("+node", rewordDenial);
  }
  const redis = new Redis({
    ...address.options,
    ...common,
    retryStrategy: pauseBefore,
    sentinelRetryStrategy: pauseBefore,
    sentinelCommandTimeout: REPLY_TIMEOUT_MS,
  });
  rewordDenial(redis);
  return redis;
}

/** How Redis in protected mode refuses a connection, and the words for which ioredis prints it as a refused password. */
const DENIED = "-DENIED";
const PRINTED = "no password is set";

/** Keeps ioredis from printing that Redis is in protected mode. The bus logs it. */
function rewordDenial(redis: Redis): void {
  redis.on("connect", () => {
    redis.stream?.prependOnceListener("data", (chunk: Buffer) => {
      const at = chunk.indexOf(PRINTED);
      if (at >= 0 && chunk.indexOf(DENIED) === 0) chunk.fill(".", at, at + PRINTED.length);
    });
  });
}

/** Whether an error of EVAL means that Redis permits no scripts, or has none. */
export function lacksScripts(error: unknown): error is Error {
  return error instanceof Error && NO_SCRIPTS.test(error.message);
}

/** Whether an error of ioredis means that `commandTimeout` elapsed. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Command timed out";
}
