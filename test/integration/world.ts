import Redis from "ioredis";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { Inbox, short } from "./inbox.ts";
import {
  type ConnectOptions,
  connectPhoenix,
  mint,
  type PhoenixClient,
  type TokenClaims,
} from "./phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";

export type BusName = "redis" | "embedded";

/** Every bus that the executable supports: protocol tests run over each. */
export const BUSES: readonly BusName[] = ["redis", "embedded"];

export const SECRET = "a-secret-of-these-tests-that-is-long-enough";
export const ADMIN_SECRET = "the-administrator-of-these-tests-and-nobody-else";

/** A message that a backend received. */
export interface Heard {
  readonly name: string;
  readonly payload: Buffer;
}

/** A backend: a plain Redis client, independent of the code under test. */
export interface Backend {
  /** Returns the number of subscribers that received it. */
  publish(name: string | Buffer, payload: string | Buffer): Promise<number>;
  /** Subscribes to a pattern. */
  listen(pattern: string): Promise<Inbox<Heard>>;
  /** Subscribes to pushes of clients on a channel, without joins and leaves, which may still arrive. */
  listenToPushes(channel: string): Promise<Inbox<Heard>>;
  readonly redis: Redis;
  stop(): void;
}

/** The executable, its bus, and a backend on that bus. */
export interface World {
  readonly bus: BusName;
  readonly channel: ChannelProcess;
  /** `null` on the embedded bus. */
  readonly redis: RedisProcess | null;
  readonly backend: Backend;
  /** A token of the server's secret for `channel`: `{id: "alice", channel}` and `claims`. */
  token(channel: string, claims?: TokenClaims): string;
  connect(options?: ConnectOptions): Promise<PhoenixClient>;
  /** Cuts every connection made here, or every one but these. */
  cutClients(...but: readonly PhoenixClient[]): void;
  /** Calls `POST /token` with the administrator's secret. */
  adminToken(id: string): Promise<string>;
  stop(): Promise<void>;
}

export interface WorldOptions {
  /** Text of `channel.toml` below the secrets. Top-level keys first. */
  readonly toml?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The executable. Default: `channelBinary()`. */
  readonly binary?: string;
}

/** For tests that measure memory: what is freed is returned to the kernel at once, and not kept for a minute. */
export const RETURNS_MEMORY: Readonly<Record<string, string>> = {
  MIMALLOC_PURGE_DELAY: "100",
  MIMALLOC_PURGE_HOLES_MIN_INTERVAL: "100",
};

/** Servers that trust a proxy on this machine: a client is local only if the proxy says so. */
const trusting = new Set<string>();

/** The headers of a client on this machine, with those of the test. */
export function hereHeaders(
  address: string,
  headers: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return trusting.has(new URL(address).origin)
    ? { "x-forwarded-for": "127.0.0.1", ...headers }
    : { ...headers };
}

/** Starts everything that a protocol test needs. */
export async function startWorld(bus: BusName, options: WorldOptions = {}): Promise<World> {
  const redis = bus === "redis" ? await startRedis() : null;
  const port = redis?.port ?? freePort();
  let channel: ChannelProcess;
  try {
    channel = await startChannel({
      args: ["--bus", bus, "--redis-url", `redis://127.0.0.1:${port}`, ...(options.args ?? [])],
      toml: `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n${options.toml ?? ""}`,
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.binary === undefined ? {} : { binary: options.binary }),
    });
  } catch (error) {
    await redis?.stop();
    throw error;
  }
  const backend = backendOn(port);
  const clients: PhoenixClient[] = [];
  if (options.toml?.includes("trusted_proxies")) trusting.add(channel.url);
  const asked = { authorization: `Bearer ${ADMIN_SECRET}`, "content-type": "application/json" };

  return {
    bus,
    channel,
    redis,
    backend,
    token: (name, claims) => mint({ id: "alice", channel: name, ...claims }, SECRET),
    connect: async (how) => {
      const client = await connectPhoenix(channel.url, {
        ...how,
        headers: hereHeaders(channel.url, how?.headers),
      });
      clients.push(client);
      return client;
    },
    cutClients: (...but) => {
      for (const client of clients) if (!but.includes(client)) client.socket.cut();
    },
    adminToken: async (id) => {
      const answer = await fetch(`${channel.url}/token`, {
        method: "POST",
        headers: asked,
        body: JSON.stringify({ channel: "admin", id }),
      });
      const body: unknown = await answer.json();
      if (typeof body === "object" && body !== null && "token" in body && typeof body.token === "string") {
        return body.token;
      }
      throw new Error(`no token for admin: ${answer.status} ${JSON.stringify(body)}`);
    },
    stop: async () => {
      for (const client of clients) client.socket.cut();
      backend.stop();
      await channel.stop();
      await redis?.stop();
    },
  };
}

/** A backend on a Redis, or on the embedded bus, at a port of loopback. */
export function backendOn(port: number): Backend {
  const open: Redis[] = [];
  const client = (): Redis => {
    const redis = new Redis({ host: "127.0.0.1", port, lazyConnect: true, autoResubscribe: false });
    // A test may stop its Redis; without a listener ioredis prints the error.
    redis.on("error", () => {});
    open.push(redis);
    return redis;
  };
  const redis = client();
  const listen = async (pattern: string, wanted: (name: string) => boolean): Promise<Inbox<Heard>> => {
    const subscriber = client();
    const received = new Inbox<Heard>(`backend ${pattern}`, (each) => short(`${each.name} ${each.payload}`));
    subscriber.on("pmessageBuffer", (_pattern: Buffer, bytes: Buffer, payload: Buffer) => {
      const name = bytes.toString();
      if (wanted(name)) received.put({ name, payload });
    });
    // Also after a reconnect. That of ioredis would be an error that nobody handles, where the test ends before the reply.
    subscriber.on("ready", () => void subscriber.psubscribe(pattern).catch(() => {}));
    await subscriber.psubscribe(pattern);
    return received;
  };
  return {
    redis,
    publish(name, payload) {
      const published = redis.publish(name, payload);
      // One from a timer, for which nobody waits, may end with the test: no error.
      published.catch(() => {});
      return published;
    },
    listen: (pattern) => listen(pattern, () => true),
    listenToPushes: (channel) => listen(`from:${channel}:*`, (name) => !/:phx_(join|leave)$/.test(name)),
    stop: () => {
      for (const each of open) each.disconnect();
    },
  };
}
