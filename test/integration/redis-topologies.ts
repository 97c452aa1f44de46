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

/** A cluster of three nodes. Returns the `redis_url`, which names one of them. */
export async function startCluster(ends: Ends): Promise<string> {
  const nodes = await Promise.all([0, 1, 2].map(() => redisProcess(ends, "--cluster-enabled", "yes")));
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const made = Bun.spawn(["redis-cli", "--cluster", "create", ...addresses, "--cluster-yes"], {
    stdout: "ignore",
  });
  if ((await made.exited) !== 0) throw new Error("no cluster could be made");
  return `redis+cluster://${addresses[0]}`;
}
