import { afterEach, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { Signer } from "../../src/fleet/signer.ts";
import { printMarker } from "../../src/hub/history/positions.ts";
import { eventually } from "./phoenix-client.ts";
import { PositionServer, SECRET } from "./position-server.ts";
import { type Agreement, compare, killSubscribers, Publishing, resolveElsewhere } from "./positions-rig.ts";
import { startRedis } from "./redis-process.ts";
import { startRedisProxy } from "./redis-proxy.ts";
import { startClusterNodes, startSentinels } from "./redis-topologies.ts";
import { RelayMachine } from "./relay-machine.ts";

/** Losses and messages after which a run ends, and ms after which it ends in any case. */
const RUN = { losses: 200, messages: 200_000, most: 120_000 };

const SHORT_RUN = { losses: 60, messages: 60_000, most: 120_000 };

/** Each fault waits until workers share a subscription again. */
const RELAYED_RUN = { faults: 8, losses: 8, messages: 20_000, most: 90_000 };

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function connect(port: number): Redis {
  const redis = new Redis({ host: "127.0.0.1", port });
  redis.on("error", () => {});
  ends.push(() => redis.disconnect());
  return redis;
}

/** A connection whose commands fail while it is not open, those under way too, so that a publisher never waits for a server that is gone. */
async function openPublisher(port: number): Promise<Redis> {
  const redis = new Redis({
    host: "127.0.0.1",
    port,
    lazyConnect: true,
    enableOfflineQueue: false,
    // Commands kept for the next connection are never settled if there is none.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  });
  redis.on("error", () => {});
  ends.push(() => redis.disconnect());
  await redis.connect();
  return redis;
}

function startServers(...urls: readonly string[]): PositionServer[] {
  return urls.map((url) => {
    const server = new PositionServer(url);
    ends.push(() => server.stop());
    return server;
  });
}

interface Run {
  /** Faults that are made at least. */
  readonly faults?: number;
  readonly losses: number;
  readonly messages: number;
  readonly most: number;
}

/** Runs under load with a fault now and then, and holds each server's positions against each other's. */
async function run(
  servers: readonly PositionServer[],
  publishing: Publishing,
  { faults = 0, losses, messages, most }: Run,
  fault: () => Promise<unknown>,
): Promise<Agreement> {
  const agreement: Agreement = { both: 0, resolved: 0, differing: [] };
  const pairs = servers.flatMap((one) =>
    servers.filter((each) => each !== one).map((other) => [one, other] as const),
  );
  const sampling = setInterval(() => {
    for (const [one, other] of pairs) resolveElsewhere(one, other, agreement);
  }, 5);
  const end = performance.now() + most;
  const lost = (): number => servers.reduce((sum, server) => sum + server.losses, 0);
  let made = 0;
  while (performance.now() < end && (made < faults || lost() < losses || publishing.sent < messages)) {
    await Bun.sleep(50 + Math.random() * 250);
    await fault();
    made++;
  }
  await publishing.stop();
  clearInterval(sampling);
  for (const [one, other] of pairs)
    if (servers.indexOf(one) < servers.indexOf(other)) compare(one, other, agreement);
  return agreement;
}

test.each([
  ["", false],
  [" without RESP3", true],
])(
  "two servers on one Redis%s agree on every position, however often their subscriptions are lost",
  async (_kind, resp2) => {
    const redis = await startRedis(["--enable-debug-command", "yes"]);
    ends.push(() => redis.stop());
    const proxies = await Promise.all([0, 1].map(() => startRedisProxy(redis.port, { resp2 })));
    const servers = startServers(...proxies.map(({ port }) => `redis://127.0.0.1:${port}`));
    for (const proxy of proxies) ends.push(() => proxy.stop());
    const control = connect(redis.port);
    const publisher = connect(redis.port);
    const publishing = new Publishing(() => publisher);
    let long = 0;
    const agreement = await run(servers, publishing, RUN, async () => {
      const dice = Math.random();
      if (dice < 0.35) await killSubscribers(control);
      else if (dice < 0.5) await killSubscribers(control, true);
      else if (dice < 0.9) proxies[Math.random() < 0.5 ? 0 : 1]?.cutSubscribers();
      else if (dice < 0.98 || long === 2) await control.call("DEBUG", "SLEEP", String(Math.random() / 5));
      else {
        // Longer than a server waits for an answer.
        long++;
        await control.call("DEBUG", "SLEEP", "3");
      }
    });
    expect(agreement.differing).toEqual([]);
    const losses = servers.map((server) => server.losses);
    expect(Math.min(...losses)).toBeGreaterThan(RUN.losses / 10);
    expect(publishing.sent).toBeGreaterThanOrEqual(RUN.messages);
    expect(agreement.both).toBeGreaterThan(RUN.messages / 20);
    expect(agreement.resolved).toBeGreaterThan(100);
  },
  240_000,
);

test("over Sentinels, two servers agree on every position across the crash of a master and a failover", async () => {
  const sentinels = await startSentinels(ends);
  const servers = startServers(sentinels.url, sentinels.url);
  let master = await openPublisher(await sentinels.masterPort());
  // Messages are published at the old master until the new one is known.
  const publishing = new Publishing(() => master);
  let faults = 0;
  // Each failover that a busy machine causes by itself loses both subscriptions: the losses are reached with fewer faults.
  const agreement = await run(servers, publishing, { ...SHORT_RUN, faults: 31 }, async () => {
    faults++;
    if (faults === 15) await sentinels.crash();
    else if (faults === 30) await sentinels.failover();
    // Refused while this connection is not open: a failover closes all.
    else await killSubscribers(master, Math.random() < 0.2).catch(() => 0);
    // The Sentinels may choose another one at any time: a busy machine can seem down for half a second.
    const port = await sentinels.masterPort();
    if (port !== master.options.port) {
      master.disconnect();
      master = await openPublisher(port);
    }
  });
  expect(agreement.differing).toEqual([]);
  expect(faults).toBeGreaterThan(30);
  expect(agreement.both).toBeGreaterThan(10_000);
  expect(agreement.resolved).toBeGreaterThan(100);
}, 240_000);

test("in a cluster, servers agree on every position that they share, which only those on one node do", async () => {
  const ports = await startClusterNodes(ends);
  const url = (port: number | undefined): string => `redis+cluster://127.0.0.1:${port}`;
  const servers = startServers(...[ports[0], ports[0], ports[1]].map(url));
  const nodes = ports.map(connect);
  const publishers = nodes.slice(0, 2);
  let turn = 0;
  const publishing = new Publishing(() => publishers[turn++ % 2] ?? nodes[0] ?? connect(0), {
    perSecond: 3000,
  });
  const agreement = await run(servers, publishing, SHORT_RUN, async () => {
    await killSubscribers(nodes[Math.floor(Math.random() * nodes.length)] ?? connect(0));
  });
  expect(agreement.differing).toEqual([]);
  expect(agreement.both).toBeGreaterThan(1000);
  const ids = await Promise.all(nodes.map((node) => node.cluster("MYID")));
  for (const server of servers) for (const node of server.nodes) expect(ids).toContain(node);
}, 240_000);

test("workers, one of which receives for the others, and a server beside them agree on every position", async () => {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const machine = new RelayMachine();
  ends.push(() => machine.remove());
  const servers = startServers(redis.url);
  for (const worker of [1, 2, 3]) {
    const server = new PositionServer(redis.url, machine.place(worker));
    servers.push(server);
    ends.push(() => server.stop());
  }
  const control = connect(redis.port);
  const publisher = connect(redis.port);
  const publishing = new Publishing(() => publisher);
  let relayed = 0;
  const agreement = await run(servers, publishing, RELAYED_RUN, async () => {
    // The server beside them, and the worker that receives, are all that is subscribed.
    await eventually(async () => (await control.publish("hub:none", "0")) === 4, "all subscriptions");
    await eventually(
      async () => (await control.publish("to:none", "0")) === 2,
      "one subscription for workers",
    );
    relayed++;
    await killSubscribers(control, Math.random() < 0.3);
  });
  expect(agreement.differing).toEqual([]);
  expect(relayed).toBeGreaterThanOrEqual(RELAYED_RUN.faults);
  expect(agreement.both).toBeGreaterThan(10_000);
  expect(agreement.resolved).toBeGreaterThan(100);
}, 240_000);

test("a marker that servers ignore, because it is older than one before it, is followed by one that all accept", async () => {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const servers = startServers(redis.url, redis.url, redis.url);
  const current = (): (string | null)[] => servers.map(({ hub }) => hub.positions.current);
  await eventually(() => new Set(current()).size === 1 && current()[0] !== null, "one position of all");
  const [before] = current();
  const payload = new Signer([SECRET], "").sign("hub:marker", `${printMarker(1, "a")} `);
  await connect(redis.port).publish("hub:marker", payload);
  await eventually(() => !current().includes(before ?? null), "a new marker");
  await eventually(() => new Set(current()).size === 1, "one position of all");
});
