import { connect } from "node:net";
import { NO_STORE, type RevocationStore } from "../auth/revocations.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../log.ts";
import type { Bus, BusKind } from "./bus.ts";
import { BusError } from "./bus-error.ts";
import { createEmbeddedBus } from "./embedded/embedded-bus.ts";
import { type HostPort, parseRedisAddress } from "./redis/redis-address.ts";
import { createRedisBus } from "./redis/redis-bus.ts";
import { createRedisRevocations } from "./redis/redis-revocations.ts";

/** How long a Redis on this machine may take to accept a connection before there is none, in ms. */
const PROBE_MS = 1000;

/** Names of this machine that `redis_url` may give the embedded bus, and where it then listens. */
const LOOPBACK: ReadonlyMap<string, "127.0.0.1" | "::1"> = new Map([
  ["127.0.0.1", "127.0.0.1"],
  ["localhost", "127.0.0.1"],
  ["::1", "::1"],
]);

/**
 * The bus that `bus` and `redis_url` ask for, not yet started. `auto` is Redis, unless no address was given and nothing
 * answers at the default one; then it is the embedded bus, listening there.
 * @throws BusError, with one sentence for an operator, where `redis_url` can't be used. `start` of what it gives may
 *   reject with one too: a port that is taken.
 */
export async function openBus(config: BusConfig, log: Log): Promise<Bus> {
  const { redisUrl: url, redisUrlGiven: given, bus } = config;
  const { maxPayload, maxBuffered } = config.limits;
  const sentinel = { username: config.sentinelUsername, password: config.sentinelPassword };
  const address = parseRedisAddress(url, sentinel);
  const [first] = address.hosts;
  const mayEmbed = bus === "auto" && !given && first !== undefined;
  const embed = bus === "embedded" || (mayEmbed && !(await answers(first)));
  if (!embed) return createRedisBus({ url, sentinel, maxPayload, log });
  const host = LOOPBACK.get(first?.host ?? "");
  if (address.kind !== "single" || first === undefined || host === undefined) {
    const sentence = `The embedded bus listens on this machine only, and redis_url names ${address.shown}.`;
    throw new BusError("bad-address", sentence);
  }
  return createEmbeddedBus({
    host,
    port: first.port,
    maxPayload,
    maxBuffered,
    password: address.password,
    log,
  });
}

/** Where revocations are shared: in the Redis that is the bus; a server with the embedded bus is alone. */
export function openRevocationStore(config: BusConfig, kind: BusKind, log: Log): RevocationStore {
  const sentinel = { username: config.sentinelUsername, password: config.sentinelPassword };
  return kind === "redis" ? createRedisRevocations(config.redisUrl, log, sentinel) : NO_STORE;
}

/** What of the configuration decides about the bus. */
export type BusConfig = Pick<
  Config,
  "redisUrl" | "redisUrlGiven" | "sentinelUsername" | "sentinelPassword" | "bus"
> & {
  readonly limits: Pick<Config["limits"], "maxPayload" | "maxBuffered">;
};

/** Whether anything accepts a connection there. What it is shows itself later: an embedded bus of another server too. */
function answers({ host, port }: HostPort): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port });
  socket.setTimeout(PROBE_MS, () => resolve(false));
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  return promise.finally(() => socket.destroy());
}
