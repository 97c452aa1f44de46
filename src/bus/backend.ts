import type { Redis } from "ioredis";
import { createLog, type Log } from "../log.ts";
import { parseRedisAddress } from "./redis-address.ts";
import { RedisLink } from "./redis-link.ts";

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

/** A backend that has more to say. */
export interface Speaker {
  /** Resolves to how many Redis says heard it (in a cluster: of one node alone). */
  publish(name: string, payload: string | Buffer): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Connects as a backend does, once: a connection lost later makes `publish` reject.
 * @throws BusError where the address is none.
 */
export async function openSpeaker(
  url: string,
): Promise<
  | { readonly ok: true; readonly where: string; readonly speaker: Speaker }
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const address = parseRedisAddress(url);
  const { promise, resolve } = Promise.withResolvers<Redis | string>();
  const link = new RedisLink(address, "channel-publish", { opened: resolve, lost: resolve }, SILENT);
  link.start();
  const timer = setTimeout(() => resolve("no answer"), PATIENCE_MS);
  const opened = await promise;
  clearTimeout(timer);
  if (typeof opened !== "string") {
    const publish = (name: string, payload: string | Buffer) => opened.publish(name, payload);
    return { ok: true, where: link.where, speaker: { publish, stop: () => link.stop() } };
  }
  await link.stop();
  return { ok: false, where: link.where, reason: opened };
}

/**
 * Publishes once, as a backend does. Resolves to how many Redis says heard it (in a cluster: of one node alone), or to
 * the reason why it could not.
 * @throws BusError where the address is none.
 */
export async function publishOnce(
  url: string,
  name: string,
  payload: string | Buffer,
): Promise<
  | { readonly ok: true; readonly heard: number; readonly where: string }
  | { readonly ok: false; readonly where: string; readonly reason: string }
> {
  const opened = await openSpeaker(url);
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
  url: string,
  patterns: readonly string[],
  watcher: Watcher,
): { stop(): Promise<void> } {
  const address = parseRedisAddress(url);
  let live: boolean | null = null;
  const lost = (reason: string): void => {
    if (live === false) return;
    live = false;
    watcher.lost(link.where, reason);
  };
  const link = new RedisLink(
    address,
    "channel-watch",
    {
      opened(redis) {
        redis.removeAllListeners("pmessageBuffer");
        redis.on("pmessageBuffer", (_pattern: Buffer | string, name: Buffer, payload: Buffer) =>
          watcher.message({ name, payload }),
        );
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
  return { stop: () => link.stop() };
}
