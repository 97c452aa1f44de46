import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { freePort, startRedis } from "../redis-process.ts";
import { type ReloadClient, startNumbers, startReloadClient, untilJoined } from "../reload-clients.ts";
import { backendOn, type Heard, SECRET } from "../world.ts";
import { startProxy } from "./proxy.ts";

/*
 * Three servers behind the files of deploy/ are restarted one after the other, under load.
 */

const SERVERS = 3;
const CHANNELS = ["room:0", "room:1", "room:2"];
const CLIENTS = 48;
const PER_SECOND = 200;

let before: string | undefined;

beforeAll(() => {
  before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  // This machine does not trust the certificates here, and phoenix.js has no option for that.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
});

afterAll(() => {
  if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
});

/** Every second client recovers, every third one polls: all combinations are in each channel. */
function startClients(url: string): ReloadClient[] {
  return Array.from({ length: CLIENTS }, (_, i) => {
    const channel = CHANNELS[Math.floor(i / 6) % CHANNELS.length] ?? "";
    const token = mint({ id: `user-${i}`, channel }, SECRET);
    return startReloadClient(url, channel, token, i % 2 === 0, i % 3 === 0 ? "longpoll" : "websocket");
  });
}

describe.each(["nginx", "caddy"] as const)(
  "three servers behind %s, restarted one after the other",
  (name) => {
    test("lose nothing for those who recover, and nobody is seen leaving", async () => {
      const redis = await startRedis();
      const backend = backendOn(redis.port);
      const ports = Array.from({ length: SERVERS }, () => freePort());
      const toml = (port: number): string => `jwt_secret = "${SECRET}"
redis_url = "${redis.url}"
bus = "redis"
trusted_proxies = ["127.0.0.1"]
drain_delay = "3s"
shutdown_grace = "2s"
node_url = "http://127.0.0.1:${port}"
node_urls = ${JSON.stringify(ports.map((each) => `http://127.0.0.1:${each}`))}
[channels."room:*"]
history = 5000
history_bytes = "4MiB"
`;
      const start = (port: number): Promise<ChannelProcess> => startChannel({ port, toml: toml(port) });
      const servers = await Promise.all(ports.map(start));
      const diffs = await backend.listen("to:room:*:presence_diff");
      const proxy = await startProxy(name, ports);
      const clients = startClients(proxy.url);
      try {
        await untilJoined(clients);
        const numbers = startNumbers(
          (topic, payload) => backend.publish(topic, payload),
          CHANNELS,
          PER_SECOND,
        );
        for (const [i, server] of servers.entries()) {
          expect(await server.stop()).toBe(0);
          const again = await start(server.port);
          servers[i] = again;
          await eventually(async () => (await fetch(`${again.url}/ready`)).ok, "/ready", 30_000);
          await untilJoined(clients);
        }
        // Leaves are published 10 s after a client is gone.
        await Bun.sleep(11_000);
        const last = await numbers.stop();
        const recovering = clients.filter(({ joins }) => joins[0] !== "none");
        await eventually(
          () => recovering.every(({ numbers: got, channel }) => got.at(-1) === last.get(channel)),
          "the last message of each channel",
          30_000,
        );
        const faulty = recovering.filter(({ numbers: got }) => got.some((n, at) => n !== at + 1));
        expect(faulty.map(({ channel, joins, numbers: got }) => [channel, joins, got.length])).toEqual([]);
        expect(clients.flatMap(({ leaves }) => leaves)).toEqual([]);
        expect(usersGone(diffs.all)).toEqual([]);
        // All have moved.
        expect(clients.filter(({ joins }) => joins.length === 1)).toEqual([]);
      } finally {
        for (const client of clients) client.disconnect();
        await proxy.stop();
        for (const server of servers) await server.stop();
        backend.stop();
        await redis.stop();
      }
    }, 180_000);
  },
);

/** Users without any connection after one of the diffs that backends received. */
function usersGone(diffs: readonly Heard[]): string[] {
  const refs = new Map<string, Set<string>>();
  const gone: string[] = [];
  for (const { name, payload } of diffs) {
    const { joins, leaves } = Object(JSON.parse(payload.toString()));
    const each = (part: unknown, act: (key: string, held: Set<string>, ref: string) => void): void => {
      for (const [user, { metas }] of Object.entries<{ metas: { phx_ref: string }[] }>(Object(part))) {
        const key = `${name} ${user}`;
        const held = refs.get(key) ?? new Set();
        refs.set(key, held);
        for (const { phx_ref } of metas) act(key, held, phx_ref);
      }
    };
    each(joins, (_, held, ref) => held.add(ref));
    each(leaves, (key, held, ref) => {
      if (held.delete(ref) && held.size === 0) gone.push(key);
    });
  }
  return gone;
}
