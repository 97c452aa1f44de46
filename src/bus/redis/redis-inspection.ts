import type { Redis } from "ioredis";
import { createLog, type Log } from "../../log.ts";
import { parseRedisAddress } from "./redis-address.ts";
import { pubsubLimit } from "./redis-buffer-limit.ts";
import type { RedisAccess } from "./redis-client.ts";
import { RedisConnection } from "./redis-connection.ts";
import { missingRight, neededRights, type RightsFeatures } from "./redis-rights.ts";
import { whyNoMaster } from "./redis-role.ts";

/** What a Redis says about itself, for an operator. */
export interface RedisInspection {
  /** The address, for display. */
  readonly where: string;
  /** `7.2.4`; `null` if it does not say. */
  readonly version: string | null;
  /** Why it cannot be the bus; `null` for a master (and for a node of a cluster). */
  readonly unfit: string | null;
  /** Bytes after which a slow subscriber is disconnected; `null`: no limit, `undefined`: not readable. */
  readonly bufferLimit: number | null | undefined;
  /** Its clock minus the local one, in ms; `null` if it does not say. */
  readonly clockAheadMs: number | null;
  /** Missing rights: those without which nothing works, and the others. `null` if it does not permit to ask. */
  readonly missing: { readonly required: readonly string[]; readonly others: readonly string[] } | null;
}

const TIMEOUT_MS = 10_000;

const SILENT: Log = createLog({ level: "error", format: "text", write: () => {} });

/**
 * Connects as the server does and asks, without changing anything: rights are asked for in a transaction that is not executed.
 * @throws BusError if the address is invalid.
 */
export async function inspectRedis(
  access: RedisAccess,
  features: RightsFeatures,
): Promise<
  | ({ readonly ok: true } & RedisInspection)
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const first = await open(access);
  if (!first.ok) return first;
  const { redis, where, stop } = first;
  const clustered = parseRedisAddress(access.redisUrl).kind === "cluster";
  try {
    const version = await versionOf(redis);
    const role = clustered ? null : await attempt(() => redis.call("ROLE"));
    const unfit = role === null || role instanceof Error ? null : whyNoMaster(role);
    const clockAheadMs = await clockAhead(redis);
    const bufferLimit = await bufferLimitOf(redis);
    const asked = await missingRights(redis, access.prefix, features);
    const missing =
      asked === null ? null : await withSubscriptions(asked, access, features, role instanceof Error);
    return { ok: true, where, version, unfit, bufferLimit, clockAheadMs, missing };
  } finally {
    await stop();
  }
}

type Opened =
  | { readonly ok: true; readonly redis: Redis; readonly where: string; stop(): Promise<void> }
  | { readonly ok: false; readonly where: string; readonly reason: string };

async function open(access: RedisAccess): Promise<Opened> {
  const { redisUrl, sentinelUsername: username, sentinelPassword: password } = access;
  const first = Promise.withResolvers<Redis | string>();
  let why = "no answer";
  const connection = new RedisConnection(
    parseRedisAddress(redisUrl, { username, password }),
    { name: "channel-doctor", anyRole: true },
    {
      opened: (redis) => first.resolve(redis),
      lost(reason) {
        why = reason;
        first.resolve(reason);
      },
    },
    SILENT,
  );
  connection.start();
  const timer = setTimeout(() => first.resolve(why), TIMEOUT_MS);
  const redis = await first.promise;
  clearTimeout(timer);
  const { where } = connection;
  if (typeof redis !== "string") return { ok: true, redis, where, stop: () => connection.stop() };
  await connection.stop();
  return { ok: false, where, reason: redis };
}

async function attempt(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function versionOf(redis: Redis): Promise<string | null> {
  const info = await attempt(() => redis.call("INFO", "server"));
  if (typeof info === "string") return /^redis_version:(\S+)/m.exec(info)?.[1] ?? null;
  // An access list may not permit INFO; HELLO needs no right.
  const hello = await attempt(() => redis.call("HELLO"));
  const text = JSON.stringify(hello instanceof Map ? [...hello] : hello) ?? "";
  return /"version"[,:]\[?"([^"]+)"/.exec(text)?.[1] ?? null;
}

async function clockAhead(redis: Redis): Promise<number | null> {
  const before = Date.now();
  const time = await attempt(() => redis.call("TIME"));
  const after = Date.now();
  const [seconds, micros]: unknown[] = Array.isArray(time) ? time : [];
  const ms = Number(seconds) * 1000 + Number(micros) / 1000;
  if (!Number.isFinite(ms)) return null;
  // Within the time that the question took, no difference is known.
  return ms < before ? Math.round(ms - before) : ms > after ? Math.round(ms - after) : 0;
}

async function bufferLimitOf(redis: Redis): Promise<number | null | undefined> {
  const answer = await attempt(() => redis.config("GET", "client-output-buffer-limit"));
  return Array.isArray(answer) ? pubsubLimit(String(answer[1])) : undefined;
}

/** Asks for each right in a transaction: Redis refuses a command when it is queued. Closing the connection discards them. */
async function missingRights(
  redis: Redis,
  prefix: string,
  features: RightsFeatures,
): Promise<{ required: Set<string>; others: Set<string> } | null> {
  // Without a transaction the commands would be run.
  if ((await attempt(() => redis.call("MULTI"))) !== "OK") return null;
  const required = new Set<string>();
  const others = new Set<string>();
  const needed = neededRights(prefix, features);
  const answers = await Promise.all(
    needed.map(({ command: [name = "", ...rest] }) => attempt(() => redis.call(name, ...rest))),
  );
  for (const [index, right] of needed.entries()) {
    const answer = answers[index];
    if (!(answer instanceof Error) || !answer.message.startsWith("NOPERM")) continue;
    (right.required ? required : others).add(missingRight(right, answer.message));
  }
  return { required, others };
}

/** Adds what cannot be asked for in a transaction: the subscriptions of the server, made here on another connection. */
async function withSubscriptions(
  { required, others }: { readonly required: Set<string>; readonly others: Set<string> },
  access: RedisAccess,
  { calls, queues, workers }: RightsFeatures,
  roleRefused: boolean,
): Promise<NonNullable<RedisInspection["missing"]>> {
  if (roleRefused) others.add("+role");
  const opened = await open(access);
  if (opened.ok) {
    const families = ["to", "hub", ...(calls || queues ? ["reply"] : [])];
    for (const family of families) {
      const pattern = `${access.prefix}${family}:*`;
      const answer = await attempt(() => opened.redis.psubscribe(pattern));
      if (!(answer instanceof Error) || !answer.message.startsWith("NOPERM")) continue;
      if (/\bchannels?\b/.test(answer.message)) (family === "to" ? required : others).add(`&${pattern}`);
      else required.add("+psubscribe");
    }
    if (workers) {
      const answer = await attempt(() => opened.redis.punsubscribe(`${access.prefix}to:*`));
      if (answer instanceof Error && answer.message.startsWith("NOPERM")) others.add("+punsubscribe");
    }
    await opened.stop();
  }
  return { required: [...required], others: [...others] };
}
