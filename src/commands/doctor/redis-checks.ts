import { BusError } from "../../bus/bus-error.ts";
import { LEAST_BYTES } from "../../bus/redis/redis-buffer-limit.ts";
import { inspectRedis, type RedisInspection } from "../../bus/redis/redis-inspection.ts";
import type { Config } from "../../config/config.ts";
import { type Check, failed, ok, skipped, warning } from "./check.ts";

/** Tokens allow this difference between clocks, in ms. */
const MAX_CLOCK_DIFFERENCE_MS = 5000;

const ACL = "see What Redis has to allow in docs/errors.md";

/**
 * Redis: whether it answers, role, version, rights, output buffers; and the clock, by the one of Redis.
 * @param embedded whether the running server has the embedded bus, which answers like a Redis
 */
export async function checkRedis(config: Config, embedded: boolean): Promise<Check[]> {
  if (embedded || config.bus === "embedded") return [ok("redis", "not used: the bus is embedded")];
  if (config.bus === "amqp") return [ok("redis", "not used: the bus is amqp")];
  const features = {
    history: config.channels.some(({ historyStore }) => historyStore === "redis"),
    webhook: config.webhook !== null,
    calls: config.channels.some(({ calls, callTo }) => calls.length > 0 && callTo === "redis"),
    queues: config.channels.some(({ calls, callTo }) => calls.length > 0 && callTo.startsWith("queue:")),
    workers: config.workers !== 1,
  };
  let found: Awaited<ReturnType<typeof inspectRedis>>;
  try {
    found = await inspectRedis(config, features);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    return [failed("redis", error.message, "correct redis_url")];
  }
  if (!found.ok) {
    const what = `${found.where}: ${found.reason}`;
    return config.bus === "auto" && !config.redisUrlGiven
      ? [
          warning(
            "redis",
            what,
            "set redis_url, unless the embedded bus is enough (one server, nothing stored)",
          ),
        ]
      : [failed("redis", what, "start Redis, or correct redis_url; user and password are part of it")];
  }
  return judgeRedis(found);
}

export function judgeRedis(found: RedisInspection): Check[] {
  return [
    ok("redis", `answers at ${found.where}`),
    checkRole(found),
    checkVersion(found),
    ...checkRights(found),
    checkBuffers(found),
    checkClock(found),
  ];
}

function checkRole({ unfit }: RedisInspection): Check {
  return unfit === null
    ? ok("redis role", "master")
    : failed("redis role", unfit, "set redis_url to the master, or use redis+sentinel://");
}

function checkVersion({ version }: RedisInspection): Check {
  if (version === null) return skipped("redis version", "Redis does not say its version");
  return Number.parseInt(version, 10) >= 6
    ? ok("redis version", version)
    : warning("redis version", `${version}: before 6, which has no access lists`, "use a maintained version");
}

function checkRights({ missing }: RedisInspection): Check[] {
  const name = "redis acl";
  if (missing === null) {
    return [warning(name, "not checked: Redis does not permit MULTI", `add +multi +exec; ${ACL}`)];
  }
  const { required, others } = missing;
  const checks: Check[] = [];
  if (required.length > 0)
    checks.push(failed(name, `messages are refused: ${required.join(" ")} missing`, `add them; ${ACL}`));
  if (others.length > 0)
    checks.push(warning(name, `some features are off: ${others.join(" ")} missing`, `add them; ${ACL}`));
  return checks.length > 0 ? checks : [ok(name, "permits all that the server needs")];
}

function checkBuffers({ bufferLimit }: RedisInspection): Check {
  const name = "redis output buffers";
  if (bufferLimit === undefined)
    return skipped(name, "Redis does not permit CONFIG GET", "add +config|get to check it");
  if (bufferLimit === null) return ok(name, "no limit for subscribers");
  return bufferLimit >= LEAST_BYTES
    ? ok(name, `${bufferLimit} bytes for a subscriber`)
    : warning(
        name,
        `a server that is ${bufferLimit} bytes behind is disconnected, and messages are lost`,
        `CONFIG SET client-output-buffer-limit "pubsub 0 0 0", or at least ${LEAST_BYTES} bytes`,
      );
}

function checkClock({ clockAheadMs, where }: RedisInspection): Check {
  const name = "clock";
  if (clockAheadMs === null) return skipped(name, "Redis does not permit TIME", "add +time to check it");
  const seconds = Math.round(Math.abs(clockAheadMs) / 100) / 10;
  if (Math.abs(clockAheadMs) < MAX_CLOCK_DIFFERENCE_MS)
    return ok(name, `${seconds} s from the clock of Redis`);
  const which = clockAheadMs > 0 ? "behind" : "ahead of";
  return failed(
    name,
    `this machine is ${seconds} s ${which} the clock of Redis at ${where}; tokens allow 5 s`,
    "set both clocks: timedatectl set-ntp true",
  );
}
