import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";

/** Cleanup functions for the end of a test, called last first. */
type Ends = (() => unknown)[];

async function redisProcess(ends: Ends, ...args: string[]): Promise<RedisProcess> {
  const redis = await startRedis(args);
  ends.push(() => redis.stop());
  return redis;
}

/** A master with a Sentinel that monitors it. Returns the `redis_url`. */
export async function startSentinel(ends: Ends): Promise<string> {
  const master = await redisProcess(ends);
  const folder = mkdtempSync(join(tmpdir(), "channel-sentinel-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, "sentinel.conf");
  const port = freePort();
  writeFileSync(config, `port ${port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 ${master.port} 1\n`);
  const sentinel = Bun.spawn(["redis-server", config, "--sentinel"], { stdout: "ignore", stderr: "ignore" });
  ends.push(async () => {
    sentinel.kill("SIGKILL");
    await sentinel.exited;
  });
  const asker = new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: null });
  asker.on("error", () => {});
  await asker.ping();
  asker.disconnect();
  return `redis+sentinel://127.0.0.1:${port}/main`;
}

/** A master and two replicas with three Sentinels. */
export interface Sentinels {
  /** The `redis_url`. */
  readonly url: string;
  /** Port of the current master, as the first Sentinel says. */
  masterPort(): Promise<number>;
  /** Makes a replica the master, without a failure; resolves when the first Sentinel says so. */
  failover(): Promise<void>;
  /** Kills the master; resolves when the first Sentinel names another. */
  crash(): Promise<void>;
}

/** Starts a master, two replicas and three Sentinels, of which two must agree that the master is down. */
export async function startSentinels(ends: Ends): Promise<Sentinels> {
  const master = await redisProcess(ends);
  const following = ["--replicaof", `127.0.0.1 ${master.port}`];
  const replicas = await Promise.all([0, 1].map(() => redisProcess(ends, ...following)));
  const ports = [freePort(), freePort(), freePort()];
  for (const port of ports) launchSentinel(ends, port, master.port);
  const askers = ports.map((port) => {
    const asker = new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: null });
    asker.on("error", () => {});
    ends.push(() => asker.disconnect());
    return asker;
  });
  for (const asker of askers) {
    await untilSays(asker, "master", "num-other-sentinels,2");
    for (const { port } of replicas) await untilSays(asker, "replicas", `127.0.0.1:${port},`);
  }
  const [first] = askers;
  if (first === undefined) throw new Error("no Sentinel");
  const masterPort = async (): Promise<number> => {
    const address = await first.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main");
    return Number(Array.isArray(address) ? address[1] : 0);
  };
  const failover = async (): Promise<void> => {
    const before = await masterPort();
    while ((await masterPort()) === before) {
      // Refused while another failover runs, or no replica is ready.
      await first.call("SENTINEL", "FAILOVER", "main").catch(() => {});
      await Bun.sleep(100);
    }
  };
  const crash = async (): Promise<void> => {
    const before = await masterPort();
    [master, ...replicas].find(({ port }) => port === before)?.kill("SIGKILL");
    while ((await masterPort()) === before) await Bun.sleep(50);
  };
  return {
    url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(",")}/main`,
    masterPort,
    failover,
    crash,
  };
}

async function untilSays(asker: Redis, question: string, words: string): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!String(await asker.call("SENTINEL", question, "main")).includes(words)) {
    if (performance.now() > deadline) throw new Error(`the Sentinel does not say ${words}`);
    await Bun.sleep(50);
  }
}

function launchSentinel(ends: Ends, port: number, master: number): void {
  const folder = mkdtempSync(join(tmpdir(), "channel-sentinel-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, "sentinel.conf");
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `sentinel monitor main 127.0.0.1 ${master} 2`,
    "sentinel down-after-milliseconds main 500",
    "sentinel failover-timeout main 2000",
  ];
  writeFileSync(config, lines.join("\n"));
  const sentinel = Bun.spawn(["redis-server", config, "--sentinel"], { stdout: "ignore", stderr: "ignore" });
  ends.push(async () => {
    sentinel.kill("SIGKILL");
    await sentinel.exited;
  });
}

/** A cluster of three nodes. Returns the `redis_url`, which names one of them. */
export async function startCluster(ends: Ends): Promise<string> {
  const [first] = await startClusterNodes(ends);
  return `redis+cluster://127.0.0.1:${first}`;
}

/** A cluster of three nodes. Returns their ports. */
export async function startClusterNodes(ends: Ends): Promise<readonly number[]> {
  const nodes = await Promise.all([0, 1, 2].map(() => redisProcess(ends, "--cluster-enabled", "yes")));
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const made = Bun.spawn(["redis-cli", "--cluster", "create", ...addresses, "--cluster-yes"], {
    stdout: "ignore",
  });
  if ((await made.exited) !== 0) throw new Error("no cluster could be made");
  return nodes.map(({ port }) => port);
}
