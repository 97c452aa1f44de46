import type { Redis } from "ioredis";
import type { Config } from "../../config/config.ts";
import { createLog, type Log } from "../../log.ts";
import { BusError } from "../bus-error.ts";
import { parseRedisAddress, type RedisAddress } from "./redis-address.ts";
import { RedisConnection, SUBSCRIBER_NAME } from "./redis-connection.ts";

/** A message seen by `watchBus`. */
export interface ObservedMessage {
  /** Without the configured prefix. */
  readonly name: Buffer;
  /** Which of the patterns matched: Redis sends a message once for each that does. */
  readonly pattern: number;
  readonly payload: Buffer;
}

/** Receives messages and changes of the connection. */
export interface Watcher {
  message(message: ObservedMessage): void;
  /** Subscribed, for the first time or again; `where` is for display. */
  live(where: string): void;
  /** Not connected, with the reason in a few words; once for each loss. */
  lost(where: string, reason: string): void;
}

/** Timeout of the first connection of a command, in ms. */
const CONNECT_TIMEOUT_MS = 3000;

const SILENT: Log = createLog({ level: "error", format: "text", write: () => {} });

/** Between two PINGs of a subscription, in ms. */
const PING_EVERY_MS = 5000;

/** The configuration needed to reach a Redis. */
export type RedisAccess = Pick<
  Config,
  "bus" | "redisUrl" | "sentinelUsername" | "sentinelPassword" | "prefix"
>;

function addressOf({ bus, redisUrl, sentinelUsername, sentinelPassword }: RedisAccess): RedisAddress {
  if (bus === "amqp") {
    throw new BusError(
      "bad-address",
      'this command speaks to Redis, but bus is "amqp": use a client of RabbitMQ',
    );
  }
  return parseRedisAddress(redisUrl, { username: sentinelUsername, password: sentinelPassword });
}

/** Notified once for each change of the connection. */
export interface ClientOwner {
  lost(where: string, reason: string): void;
  back(where: string): void;
}

/** A publishing connection of a command. */
export interface PublishClient {
  /** Resolves to the number of subscribers that received it (in a cluster: on one node). Adds the prefix to `name`. */
  publish(name: string, payload: string | Buffer): Promise<number>;
  /** The number of servers that are subscribed at this Redis; `null` if it does not permit the question. */
  countServers(): Promise<number | null>;
  stop(): Promise<void>;
}

/**
 * Connects as a backend does. A connection lost later is retried until `stop`; meanwhile `publish` rejects.
 * @throws BusError if the address is invalid.
 */
export async function openPublishClient(
  access: RedisAccess,
  owner?: ClientOwner,
): Promise<
  | { readonly ok: true; readonly where: string; readonly client: PublishClient }
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const first = Promise.withResolvers<string | null>();
  let redis: Redis | null = null;
  let why = "no answer";
  let known = false;
  const connection = new RedisConnection(
    addressOf(access),
    { name: "channel-publish" },
    {
      opened(opened) {
        redis = opened;
        first.resolve(null);
        if (known) owner?.back(connection.where);
        known = true;
      },
      lost(reason) {
        why = reason;
        first.resolve(reason);
        if (redis !== null) owner?.lost(connection.where, reason);
        redis = null;
      },
    },
    SILENT,
  );
  connection.start();
  const timer = setTimeout(() => first.resolve(why), CONNECT_TIMEOUT_MS);
  const failure = await first.promise;
  clearTimeout(timer);
  if (failure !== null) {
    await connection.stop();
    return { ok: false, where: connection.where, reason: failure };
  }
  const publish = async (name: string, payload: string | Buffer): Promise<number> => {
    if (redis === null) throw new Error(`not connected to ${connection.where}: ${why}`);
    return await redis.publish(access.prefix + name, payload);
  };
  const countServers = async (): Promise<number | null> => {
    try {
      const list = String(await redis?.call("CLIENT", "LIST", "TYPE", "PUBSUB"));
      return list.split("\n").filter((line) => line.includes(` name=${SUBSCRIBER_NAME} `)).length;
    } catch {
      return null;
    }
  };
  const client = { publish, countServers, stop: () => connection.stop() };
  return { ok: true, where: connection.where, client };
}

/**
 * Publishes once, as a backend does. Resolves to the number of subscribers that received it (in a cluster: on one node) and,
 * if asked for, of servers at this Redis; or to the reason of the failure.
 * @throws BusError if the address is invalid.
 */
export async function publishOnce(
  access: RedisAccess,
  name: string,
  payload: string | Buffer,
  countServers: boolean,
): Promise<
  | { readonly ok: true; readonly heard: number; readonly servers: number | null; readonly where: string }
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const opened = await openPublishClient(access);
  if (!opened.ok) return opened;
  const { where, client } = opened;
  try {
    const heard = await client.publish(name, payload);
    return { ok: true, where, heard, servers: countServers ? await client.countServers() : null };
  } catch (error) {
    return { ok: false, where, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    await client.stop();
  }
}

/**
 * Subscribes to patterns (globs of Redis, without the prefix) until `stop`. Reconnects after a loss.
 * @throws BusError if the address is invalid.
 */
export function watchBus(
  access: RedisAccess,
  patterns: readonly string[],
  watcher: Watcher,
): { stop(): Promise<void> } {
  const { prefix } = access;
  let live: boolean | null = null;
  let current: Redis | null = null;
  const lost = (reason: string): void => {
    current = null;
    if (live === false) return;
    live = false;
    watcher.lost(connection.where, reason);
  };
  const connection = new RedisConnection(
    addressOf(access),
    // A replica receives the messages of its master.
    { name: "channel-watch", anyRole: true },
    {
      opened(redis) {
        redis.removeAllListeners("pmessageBuffer");
        redis.on("pmessageBuffer", (pattern: Buffer | string, name: Buffer, payload: Buffer) => {
          const index = patterns.indexOf(pattern.toString("utf8").slice(prefix.length));
          watcher.message({ name: name.subarray(prefix.length), pattern: index, payload });
        });
        current = redis;
        redis.psubscribe(...patterns.map((pattern) => prefix + pattern)).then(
          () => {
            live = true;
            watcher.live(connection.where);
          },
          (error: unknown) => connection.drop(error instanceof Error ? error.message : String(error)),
        );
      },
      lost,
    },
    SILENT,
  );
  connection.start();
  const pinging = setInterval(() => {
    const pinged = current;
    pinged?.ping().catch(() => {
      if (pinged === current) connection.drop("no answer");
    });
  }, PING_EVERY_MS);
  return {
    stop: () => {
      clearInterval(pinging);
      return connection.stop();
    },
  };
}
