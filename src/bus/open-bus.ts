import { connect } from "node:net";
import type { BanStore } from "../auth/bans.ts";
import { NO_STORE, type RevocationStore } from "../auth/revocations.ts";
import type { Config } from "../config/config.ts";
import type { ExtendableHistory, History } from "../hub/history/history.ts";
import type { PresenceDatabase } from "../hub/presence/presence-database.ts";
import { MemoryWebhookStore } from "../hub/webhooks/memory-webhooks.ts";
import type { WebhookStore } from "../hub/webhooks/webhook-store.ts";
import type { Log } from "../log.ts";
import type { Bus, BusKind } from "./bus.ts";
import { BusError } from "./bus-error.ts";
import type { BusFigures } from "./bus-figures.ts";
import type { CallQueues } from "./call-queues.ts";
import { createEmbeddedBus } from "./embedded/embedded-bus.ts";
import type { LivenessStore } from "./liveness-store.ts";
import type { PublishedIds } from "./published-ids.ts";
import { type HostPort, parseRedisAddress } from "./redis/redis-address.ts";
import { RedisBans } from "./redis/redis-bans.ts";
import { createRedisBus } from "./redis/redis-bus.ts";
import { RedisFigures } from "./redis/redis-figures.ts";
import { RedisFleetConnection } from "./redis/redis-fleet-connection.ts";
import { createRedisHistory } from "./redis/redis-history.ts";
import { RedisIds } from "./redis/redis-ids.ts";
import { RedisLiveness } from "./redis/redis-liveness.ts";
import { createRedisPresence } from "./redis/redis-presence.ts";
import { RedisQueues } from "./redis/redis-queues.ts";
import { createRedisRevocations, type MessageSigner } from "./redis/redis-revocations.ts";
import { RedisWebhookStore } from "./redis/redis-webhooks.ts";
import type { RelayPlace } from "./relay/relay.ts";
import { MAX_ENVELOPE_BYTES } from "./topics.ts";

/** Timeout of the connection that looks for a Redis on this machine, in ms. */
const PROBE_TIMEOUT_MS = 1000;

/** Bytes of the longest message between servers. */
const LEAST_PAYLOAD = 1024 * 1024;

/** Hosts that `redis_url` may name for the embedded bus, and the address to listen on. */
const LOOPBACK: ReadonlyMap<string, "127.0.0.1" | "::1"> = new Map([
  ["127.0.0.1", "127.0.0.1"],
  ["localhost", "127.0.0.1"],
  ["::1", "::1"],
]);

/**
 * Creates the bus for `bus` and its address, not yet connected. `auto` is Redis, unless no address is configured and no
 * server accepts a connection at the default one; then it is the embedded bus, listening there.
 * @throws BusError if the address is invalid.
 */
export async function openBus(
  config: BusConfig,
  log: Log,
  relayPlace: RelayPlace | null = null,
): Promise<Bus> {
  if (config.bus === "amqp") return openAmqp(config, log);
  const { redisUrl: url, redisUrlGiven: given, prefix, bus } = config;
  const { maxPayload, maxBuffered } = config.limits;
  const sentinel = { username: config.sentinelUsername, password: config.sentinelPassword };
  const address = parseRedisAddress(url, sentinel);
  const [first] = address.hosts;
  const mayEmbed = bus === "auto" && !given && first !== undefined;
  const embed = bus === "embedded" || (mayEmbed && !(await answers(first)));
  const most = longestMessage(config);
  if (!embed) return createRedisBus({ url, sentinel, prefix, maxPayload: most, relayPlace, log });
  const host = LOOPBACK.get(first?.host ?? "");
  if (address.kind !== "single" || first === undefined || host === undefined) {
    const sentence = `The embedded bus listens on this machine only, but redis_url is ${address.shown}.`;
    throw new BusError("bad-address", sentence);
  }
  return createEmbeddedBus({
    host,
    port: first.port,
    prefix,
    maxPayload,
    maxBuffered,
    password: address.password,
    noRedis: bus === "auto",
    log,
  });
}

/** Loaded only where it is used. */
async function openAmqp(config: BusConfig, log: Log): Promise<Bus> {
  const { createAmqpBus } = await import("./amqp/amqp-bus.ts");
  return createAmqpBus({
    url: config.amqpUrl,
    exchangeTo: config.amqpExchangeTo,
    exchangeFrom: config.amqpExchangeFrom,
    queueBytes: config.amqpQueueBytes,
    maxPayload: longestMessage(config),
    log,
  });
}

/** Messages of servers are longer than the setting allows; the hub drops longer ones of backends. */
function longestMessage({ limits }: BusConfig): number {
  return Math.max(limits.maxPayload + MAX_ENVELOPE_BYTES, LEAST_PAYLOAD);
}

/** The store of revocations: the Redis of the bus; without Redis there is no other server to share with. */
export function openRevocationStore(
  config: BusConfig,
  kind: BusKind,
  log: Log,
  signer: MessageSigner | null = null,
): RevocationStore {
  const sentinel = { username: config.sentinelUsername, password: config.sentinelPassword };
  return kind === "redis"
    ? createRedisRevocations({ url: config.redisUrl, sentinel, prefix: config.prefix, signer, log })
    : NO_STORE;
}

/** What servers keep in the Redis of the bus, over one connection. */
export interface FleetStores {
  readonly liveness: LivenessStore;
  readonly bans: BanStore;
  readonly ids: PublishedIds;
  stop(): void;
}

export function openFleetStores(config: BusConfig, log: Log): FleetStores {
  const { redisUrl: url, sentinelUsername: username, sentinelPassword: password, prefix } = config;
  const connection = new RedisFleetConnection({ url, sentinel: { username, password }, prefix, log });
  // The bans start the connection: all that listens for it is there by then.
  return {
    liveness: new RedisLiveness(connection),
    bans: new RedisBans(connection),
    ids: new RedisIds(connection),
    stop: () => connection.stop(),
  };
}

/** What asks Redis for its figures, over a connection that the first question opens; `null` for another bus. */
export function openBusFigures(config: BusConfig, kind: BusKind, log: Log): BusFigures | null {
  if (kind !== "redis") return null;
  const { redisUrl: url, sentinelUsername: username, sentinelPassword: password } = config;
  const refused = "Redis refused its figures";
  const options = { url, sentinel: { username, password }, name: "channel-figures", refused, log };
  return new RedisFigures(new RedisFleetConnection(options));
}

/**
 * Where events for the webhook wait: the Redis of the bus, or this process.
 * @param shared whether servers share it
 */
export function openWebhookStore(
  config: BusConfig & Pick<Config, "webhookEvents">,
  shared: boolean,
  log: Log,
): WebhookStore {
  const options = { events: new Set(config.webhookEvents) };
  if (!shared) return new MemoryWebhookStore(options);
  const { redisUrl: url, sentinelUsername: username, sentinelPassword: password, prefix } = config;
  const connection = new RedisFleetConnection({
    ...{ url, sentinel: { username, password }, prefix, log },
    name: "channel-webhooks",
    refused: "Redis refused the events of webhooks",
  });
  return new RedisWebhookStore(connection, options);
}

/** Where calls wait for backends: this process with the embedded bus, otherwise the Redis of the bus. */
export function openCallQueues(config: BusConfig, bus: Bus, log: Log): CallQueues {
  if (bus.queues !== undefined) return bus.queues;
  const { redisUrl: url, sentinelUsername: username, sentinelPassword: password, prefix } = config;
  const refused = "Redis refused the queues of calls";
  const options = { url, sentinel: { username, password }, prefix, name: "channel-queues", refused, log };
  return new RedisQueues(new RedisFleetConnection(options));
}

/** Where servers keep the members of channels: the Redis of the bus. */
export function openPresenceDatabase(config: BusConfig, log: Log): PresenceDatabase {
  const { redisUrl: url, sentinelUsername: username, sentinelPassword: password, prefix } = config;
  return createRedisPresence({ url, sentinel: { username, password }, prefix, log });
}

/**
 * What keeps messages: `memory`, and the Redis of the bus where channels say so.
 * @param unstored called for each message that is in memory only
 * @throws BusError if the bus is not Redis.
 */
export function openHistory(
  config: BusConfig & Pick<Config, "channels">,
  { kind, memory, log, unstored }: HistoryParts,
): History {
  const stored = config.channels.filter(({ historyStore }) => historyStore === "redis");
  if (stored.length === 0) return memory;
  if (kind !== "redis") {
    throw new BusError("no-store", 'history_store is "redis", but the bus is embedded: no Redis answers.');
  }
  const longestTtl = Math.max(...stored.map(({ historyTtl }) => historyTtl));
  const { redisUrl: url, sentinelUsername: username, sentinelPassword: password, prefix } = config;
  const sentinel = { username, password };
  return createRedisHistory({ url, sentinel, prefix, memory, longestTtl, log, unstored });
}

export interface HistoryParts {
  readonly kind: BusKind;
  readonly memory: ExtendableHistory;
  readonly log: Log;
  unstored(): void;
}

/** The configuration of the bus. */
export type BusConfig = Pick<
  Config,
  | "redisUrl"
  | "redisUrlGiven"
  | "sentinelUsername"
  | "sentinelPassword"
  | "prefix"
  | "bus"
  | "amqpUrl"
  | "amqpExchangeTo"
  | "amqpExchangeFrom"
  | "amqpQueueBytes"
> & {
  readonly limits: Pick<Config["limits"], "maxPayload" | "maxBuffered">;
};

/** Whether a server accepts a connection: a Redis, or the embedded bus of another server. */
function answers({ host, port }: HostPort): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port });
  socket.setTimeout(PROBE_TIMEOUT_MS, () => resolve(false));
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  return promise.finally(() => socket.destroy());
}
