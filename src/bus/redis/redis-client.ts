import type { Redis } from "ioredis";
import type { Config } from "../../config/config.ts";
import { createLog, type Log } from "../../log.ts";
import { parseRedisAddress, type RedisAddress } from "./redis-address.ts";
import { RedisConnection } from "./redis-connection.ts";

/** One line of what goes by on the bus. */
export interface Passing {
  readonly name: Buffer;
  readonly payload: Buffer;
}

/** What happens to one who listens. */
export interface Watcher {
  message(passing: Passing): void;
  /** Subscribed, at first or again; `where` is for people. */
  live(where: string): void;
  /** Not, or no longer, with the reason in a few words; once for each time. */
  lost(where: string, reason: string): void;
}

/** How long a first connection is tried, in ms: whoever types a command waits for its end. */
const PATIENCE_MS = 3000;

const SILENT: Log = createLog({ level: "error", format: "text", write: () => {} });

/** How often one who listens asks whether the connection still lives, in ms: nothing else would show that. */
const ASK_MS = 5000;

/** What of the configuration leads to a Redis. */
export type RedisAccess = Pick<Config, "redisUrl" | "sentinelUsername" | "sentinelPassword">;

function addressOf({ redisUrl, sentinelUsername, sentinelPassword }: RedisAccess): RedisAddress {
  return parseRedisAddress(redisUrl, { username: sentinelUsername, password: sentinelPassword });
}

/** Told what becomes of a speaker's connection, once for each change. */
export interface SpeakerOwner {
  lost(where: string, reason: string): void;
  back(where: string): void;
}

/** A backend that has more to say. */
export interface Speaker {
  /** Resolves to how many Redis says heard it (in a cluster: of one node alone). */
  publish(name: string, payload: string | Buffer): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Connects as a backend does. When the connection is lost later it is tried again for as long as it takes; until then
 * `publish` rejects.
 * @throws BusError where the address is none.
 */
export async function openSpeaker(
  access: RedisAccess,
  owner?: SpeakerOwner,
): Promise<
  | { readonly ok: true; readonly where: string; readonly speaker: Speaker }
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const first = Promise.withResolvers<string | null>();
  let redis: Redis | null = null;
  let why = "no answer";
  let known = false;
  const link = new RedisConnection(
    addressOf(access),
    { name: "channel-publish" },
    {
      opened(opened) {
        redis = opened;
        first.resolve(null);
        if (known) owner?.back(link.where);
        known = true;
      },
      lost(reason) {
        why = reason;
        first.resolve(reason);
        if (redis !== null) owner?.lost(link.where, reason);
        redis = null;
      },
    },
    SILENT,
  );
  link.start();
  const timer = setTimeout(() => first.resolve(why), PATIENCE_MS);
  const failure = await first.promise;
  clearTimeout(timer);
  if (failure !== null) {
    await link.stop();
    return { ok: false, where: link.where, reason: failure };
  }
  const publish = async (name: string, payload: string | Buffer): Promise<number> => {
    if (redis === null) throw new Error(`not connected to ${link.where}: ${why}`);
    return await redis.publish(name, payload);
  };
  return { ok: true, where: link.where, speaker: { publish, stop: () => link.stop() } };
}

/**
 * Publishes once, as a backend does. Resolves to how many Redis says heard it (in a cluster: of one node alone), or to
 * the reason why it could not.
 * @throws BusError where the address is none.
 */
export async function publishOnce(
  access: RedisAccess,
  name: string,
  payload: string | Buffer,
): Promise<
  | { readonly ok: true; readonly heard: number; readonly where: string }
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const opened = await openSpeaker(access);
  if (!opened.ok) return opened;
  const { where, speaker } = opened;
  try {
    return { ok: true, where, heard: await speaker.publish(name, payload) };
  } catch (error) {
    return { ok: false, where, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    await speaker.stop();
  }
}

/**
 * Listens to patterns (globs of Redis) until `stop`; comes back by itself when the connection is lost.
 * @throws BusError where the address is none.
 */
export function watchBus(
  access: RedisAccess,
  patterns: readonly string[],
  watcher: Watcher,
): { stop(): Promise<void> } {
  let live: boolean | null = null;
  let current: Redis | null = null;
  const lost = (reason: string): void => {
    current = null;
    if (live === false) return;
    live = false;
    watcher.lost(link.where, reason);
  };
  const link = new RedisConnection(
    addressOf(access),
    // A replica hears what its master does.
    { name: "channel-watch", anyRole: true },
    {
      opened(redis) {
        redis.removeAllListeners("pmessageBuffer");
        redis.on("pmessageBuffer", (_pattern: Buffer | string, name: Buffer, payload: Buffer) =>
          watcher.message({ name, payload }),
        );
        current = redis;
        redis.psubscribe(...patterns).then(
          () => {
            live = true;
            watcher.live(link.where);
          },
          (error: unknown) => link.drop(error instanceof Error ? error.message : String(error)),
        );
      },
      lost,
    },
    SILENT,
  );
  link.start();
  const asking = setInterval(() => {
    const asked = current;
    asked?.ping().catch(() => {
      if (asked === current) link.drop("no answer");
    });
  }, ASK_MS);
  return {
    stop: () => {
      clearInterval(asking);
      return link.stop();
    },
  };
}
