import { call } from "../api-client.ts";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { connectPhoenix, mint, type PhoenixClient, type TokenClaims } from "../phoenix-client.ts";
import { type RedisProcess, startRedis } from "../redis-process.ts";
import { ADMIN_SECRET, type Backend, backendOn, SECRET } from "../world.ts";

export const FLEET_SECRET = "what-the-servers-of-these-tests-share";

export const TOML = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\nfleet_secret = "${FLEET_SECRET}"\n`;

/** A row of `GET /api/servers`. */
export interface ServerRow {
  readonly name: string;
  readonly incarnation: string;
  readonly self: boolean;
  readonly state: string;
  readonly connections: number;
  // biome-ignore lint/suspicious/noExplicitAny: the tests check what a row holds
  readonly [field: string]: any;
}

/** Several servers on one Redis. */
export interface FleetWorld {
  readonly redis: RedisProcess;
  readonly servers: ChannelProcess[];
  readonly backend: Backend;
  /** Starts a server with a name; it is stopped with the others. */
  start(name: string, options?: StartOptions): Promise<ChannelProcess>;
  /** Connects a client to a server; it is cut at the end. */
  connect(server: ChannelProcess): Promise<PhoenixClient>;
  /** Joins `topic` as `id` on a server. */
  join(server: ChannelProcess, topic: string, id: string, claims?: TokenClaims): Promise<PhoenixClient>;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly toml?: string;
  readonly redisUrl?: string;
}

/** Starts a Redis and servers with these names, which see each other when this resolves. */
export async function startFleet(names: readonly string[], options: StartOptions = {}): Promise<FleetWorld> {
  const redis = await startRedis();
  const servers: ChannelProcess[] = [];
  const backend = backendOn(redis.port);
  const clients: PhoenixClient[] = [];
  const started = new Map<ChannelProcess, string>();
  const nameOf = (server: ChannelProcess): string => started.get(server) ?? "";
  const world: FleetWorld = {
    redis,
    servers,
    backend,
    async start(name, { toml = options.toml ?? TOML, redisUrl = options.redisUrl ?? redis.url } = {}) {
      const server = await startChannel({
        args: ["--redis-url", redisUrl],
        toml: `node_name = "${name}"\n${toml}`,
      });
      servers.push(server);
      started.set(server, name);
      return server;
    },
    async connect(server) {
      const client = await connectPhoenix(server.url);
      clients.push(client);
      return client;
    },
    async join(server, topic, id, claims = {}) {
      const client = await world.connect(server);
      await client.join(topic, { token: mint({ id, channel: topic, ...claims }, SECRET) });
      return client;
    },
    async stop() {
      for (const client of clients) client.socket.cut();
      backend.stop();
      for (const server of servers) server.kill("SIGCONT");
      await Promise.all(servers.map((server) => server.stop()));
      await redis.stop();
    },
  };
  try {
    await Promise.all(names.map((name) => world.start(name)));
    // They start at once, and end up in any order.
    const order = (server: ChannelProcess): number => names.indexOf(nameOf(server));
    servers.sort((one, other) => order(one) - order(other));
    await Promise.all(servers.map((server) => untilServers(server, (rows) => rows.length === names.length)));
  } catch (error) {
    await world.stop();
    throw error;
  }
  return world;
}

/** `GET /api/servers`. */
export async function listServers({ url }: ChannelProcess): Promise<ServerRow[]> {
  const { body } = await call(url, "/api/servers");
  return body.servers;
}

/** Polls `GET /api/servers` until it is as wanted. */
export async function untilServers(
  server: ChannelProcess,
  wanted: (rows: readonly ServerRow[]) => boolean,
  ms = 30_000,
): Promise<ServerRow[]> {
  return until(() => listServers(server), wanted, ms);
}

/** Polls until a value is as wanted. */
export async function until<T>(
  read: () => Promise<T>,
  wanted: (value: T) => boolean,
  ms = 30_000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await read();
    if (wanted(value)) return value;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${JSON.stringify(value)}`);
    await Bun.sleep(50);
  }
}

/** `name state` of each row, in order. */
export function states(rows: readonly ServerRow[]): string[] {
  return rows.map(({ name, state }) => `${name} ${state}`);
}
