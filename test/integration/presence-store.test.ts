/** The contract of presence stores over real Redis: a single server, a Sentinel and a cluster. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Cluster, Redis } from "ioredis";
import { createRedisPresence } from "../../src/bus/redis/redis-presence.ts";
import type { PresenceDatabase } from "../../src/hub/presence/presence-database.ts";
import { SharedPresenceStore } from "../../src/hub/presence/shared-store.ts";
import type { OtherServer, Servers, ServersObserver } from "../../src/hub/servers.ts";
import { createLog } from "../../src/log.ts";
import { testContract } from "../unit/hub/presence-contract.ts";
import { startRedis } from "./redis-process.ts";
import { startCluster, startSentinel } from "./redis-topologies.ts";

const ends: (() => unknown)[] = [];
const urls = new Map<string, string>();
let serial = 0;

beforeAll(async () => {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  urls.set("redis", redis.url);
  urls.set("sentinel", await startSentinel(ends));
  urls.set("cluster", await startCluster(ends));
}, 60_000);

afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

/** Servers that know each other from the start. */
class KnownServers implements Servers {
  readonly isAlone = false;
  readonly incarnation: string;
  readonly others = new Map<string, OtherServer>();
  readonly #observers: ServersObserver[] = [];

  constructor(incarnation: string) {
    this.incarnation = incarnation;
  }

  isLiving(incarnation: string): boolean {
    return incarnation === this.incarnation || this.others.has(incarnation);
  }

  observe(observer: ServersObserver): void {
    this.#observers.push(observer);
    for (const server of this.others.values()) observer.joined?.(server);
  }
}

/** Messages of stores in this process over a real Redis, without signatures. */
function createStores(url: string, count: number, prefix: string): SharedPresenceStore[] {
  const all = Array.from({ length: count }, () => new KnownServers(`inc${++serial}`));
  return all.map((servers) => {
    for (const other of all) {
      const { incarnation } = other;
      if (other !== servers)
        servers.others.set(incarnation, { incarnation, name: incarnation, previous: [] });
    }
    const log = createLog({ level: "warn", format: "text" });
    return new SharedPresenceStore({
      servers: () => servers,
      database: createRedisPresence({ url, prefix, log }),
      messages: {
        on: (kind, handler) => subscribe(url, `${prefix}hub:${kind}`, handler),
        sign: (_kind, body) => body,
      },
      window: 20,
      maxMessage: 64 * 1024,
    });
  });
}

const subscribed: Promise<unknown>[] = [];

function subscribe(url: string, name: string, handler: (body: Buffer) => void): void {
  const { hostname, port } = new URL(url.replace("redis+", ""));
  const options = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
  const client = url.startsWith("redis+cluster")
    ? new Cluster([options])
    : url.startsWith("redis+sentinel")
      ? new Redis({ sentinels: [options], name: "main" })
      : new Redis(options);
  client.on("error", () => {});
  client.on("messageBuffer", (_name: Buffer, payload: Buffer) => handler(payload));
  subscribed.push(client.subscribe(name));
  ends.push(() => client.disconnect());
}

for (const topology of ["redis", "sentinel", "cluster"]) {
  const stores = (count: number) => createStores(urls.get(topology) ?? "", count, `p${++serial}:`);
  testContract({
    name: `shared over ${topology}`,
    create: () => {
      const [store] = stores(1);
      if (store === undefined) throw new Error("one store");
      ends.push(() => store.stop());
      return store;
    },
    connect: async (count) => {
      const all = stores(count);
      await Promise.all(subscribed);
      return all;
    },
    exportsItself: true,
  });

  describe(`open channels over ${topology}`, () => {
    function database(prefix: string): PresenceDatabase {
      const log = createLog({ level: "warn", format: "text" });
      const made = createRedisPresence({ url: urls.get(topology) ?? "", prefix, log });
      ends.push(() => made.stop());
      return made;
    }

    /** Two servers that share their members, connected. */
    async function two(): Promise<[PresenceDatabase, PresenceDatabase]> {
      const prefix = `p${++serial}:`;
      const both: [PresenceDatabase, PresenceDatabase] = [database(prefix), database(prefix)];
      await Promise.all(both.map((each) => new Promise<void>((resolve) => each.start(resolve))));
      return both;
    }

    const names = async (from: PresenceDatabase, closed: readonly string[] = []) =>
      (await from.listOpen(closed, 10))?.names;

    test("are listed until none has members", async () => {
      const [one, other] = await two();
      await one.occupy("one", [
        { channel: "a", members: 1 },
        { channel: "b", members: 2 },
      ]);
      expect(await names(other)).toEqual(["a", "b"]);
      await one.occupy("one", [{ channel: "a", members: 0 }]);
      expect(await names(one, ["a"])).toEqual(["b"]);
    });

    test("stay listed where another server opens one that is being closed", async () => {
      const [one, other] = await two();
      await one.occupy("one", [{ channel: "a", members: 1 }]);
      await one.occupy("one", [{ channel: "a", members: 0 }]);
      await other.occupy("other", [{ channel: "a", members: 1 }]);
      expect(await names(one, ["a", "b"])).toEqual(["a"]);
    });
  });
}

test("open channels are listed again when Redis lost them", async () => {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const control = new Redis(redis.port, "127.0.0.1");
  ends.push(() => control.disconnect());
  const database = createRedisPresence({ url: redis.url, log: createLog({ level: "warn", format: "text" }) });
  ends.push(() => database.stop());
  await new Promise<void>((resolve) => database.start(resolve));
  await database.occupy("one", [{ channel: "a", members: 1 }]);
  await control.flushall();
  await database.occupy("one", [{ channel: "a", members: 1 }]);
  expect(await database.listOpen([], 10)).toEqual({ names: ["a"], total: 1 });
});
