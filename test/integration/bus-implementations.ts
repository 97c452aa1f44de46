import { createAmqpBus } from "../../src/bus/amqp/amqp-bus.ts";
import type { Bus } from "../../src/bus/bus.ts";
import { createEmbeddedBus } from "../../src/bus/embedded/embedded-bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { AmqpBackend } from "./amqp-backend.ts";
import { Backend, RecordingListener, recordingLog } from "./bus-rig.ts";
import { HAS_RABBIT, startRabbit } from "./rabbit-process.ts";
import { startRedis } from "./redis-process.ts";
import { type RedisProxy, startRedisProxy } from "./redis-proxy.ts";

export const MIB = 1024 * 1024;
/** The settings of a server on RabbitMQ, by default. */
export const AMQP = { exchangeTo: "channel.to", exchangeFrom: "channel.from", queueBytes: 64 * MIB };
export const LIMITS = { maxPayload: 4 * MIB, maxBuffered: 64 * MIB };

/** A backend of the contract test: a client of the broker, with what it received on `from:`. */
export interface ContractBackend {
  publish(name: string | Buffer, payload: string | Buffer): Promise<unknown>;
  on(name: string): Promise<Buffer>;
  close(): void;
}

/** One implementation of the bus, with what a test needs. */
export interface Rig {
  readonly bus: Bus;
  /** Port of the Redis protocol for backends. */
  readonly port: () => number;
  readonly end: () => Promise<void>;
  /** Number of servers that subscribe. Default: 1. */
  readonly servers?: number;
  /** Prefix of each name that backends use. Default: none. */
  readonly prefix?: string;
  /** What the bus connects through, if it does: ends its subscription. */
  readonly proxy?: RedisProxy;
}

/**
 * The contract of `Bus` holds for each of these. A new implementation is one more line. With `cut` a subscription that can be
 * lost runs through a proxy.
 */
export const IMPLEMENTATIONS: Readonly<Record<string, (cut?: boolean) => Promise<Rig>>> = {
  redis: (cut) => redisRig("", { cut }),
  "redis with a prefix": (cut) => redisRig("one.app:", { cut }),
  "redis without RESP3": () => redisRig("", { cut: true, resp2: true }),
  embedded: () => embeddedRig(),
  "embedded with a prefix": () => embeddedRig("one.app:"),
  "redis, connected to an embedded bus": redisOnEmbeddedRig,
};

interface Through {
  readonly cut?: boolean | undefined;
  /** Without HELLO, as before Redis 6. */
  readonly resp2?: boolean;
}

export async function redisRig(prefix = "", { cut = false, resp2 = false }: Through = {}): Promise<Rig> {
  const redis = await startRedis();
  const proxy = cut ? await startRedisProxy(redis.port, { resp2 }) : undefined;
  const url = `redis://127.0.0.1:${proxy?.port ?? redis.port}`;
  const bus = createRedisBus({ url, prefix, ...LIMITS, log: recordingLog().log });
  const end = async (): Promise<void> => {
    proxy?.stop();
    await redis.stop();
  };
  return { bus, prefix, port: () => redis.port, end, ...(proxy === undefined ? {} : { proxy }) };
}

export async function embeddedRig(prefix = ""): Promise<Rig> {
  const bus = createEmbeddedBus({ port: 0, prefix, ...LIMITS, log: recordingLog().log });
  return { bus, prefix, port: () => bus.port, end: async () => {} };
}

/** The bus of a second server on a machine where the first has the embedded bus. */
async function redisOnEmbeddedRig(cut = false): Promise<Rig> {
  const embedded = createEmbeddedBus({ port: 0, ...LIMITS, log: recordingLog().log });
  await embedded.subscribe(["to"], new RecordingListener());
  const proxy = cut ? await startRedisProxy(embedded.port) : undefined;
  const url = `redis://127.0.0.1:${proxy?.port ?? embedded.port}`;
  const bus = createRedisBus({ url, ...LIMITS, log: recordingLog().log });
  const end = async (): Promise<void> => {
    proxy?.stop();
    await embedded.stop();
  };
  return { bus, port: () => embedded.port, end, servers: 2, ...(proxy === undefined ? {} : { proxy }) };
}

/** What the contract test runs over. */
export const CONTRACT: Readonly<Record<string, () => Promise<Rig>>> = {
  ...IMPLEMENTATIONS,
  ...(HAS_RABBIT ? { amqp: amqpRig } : {}),
};

/** A backend on the broker of a rig. */
export function contractBackend({ bus, port, prefix = "" }: Rig): Promise<ContractBackend> {
  return bus.kind === "amqp"
    ? AmqpBackend.connect(`amqp://127.0.0.1:${port()}`)
    : Backend.connect(port(), { prefix });
}

async function amqpRig(): Promise<Rig> {
  const rabbit = await startRabbit();
  const bus = createAmqpBus({
    url: rabbit.url,
    ...AMQP,
    maxPayload: LIMITS.maxPayload,
    log: recordingLog().log,
  });
  return { bus, port: () => rabbit.port, end: () => rabbit.stop() };
}
