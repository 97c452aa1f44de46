/** What the server says of its process and of Redis, with a Redis that answers, is stopped, is gone, or permits little. */
import { afterEach, describe, expect, test } from "bun:test";
import { RedisFigures } from "../../src/bus/redis/redis-figures.ts";
import { RedisFleetConnection } from "../../src/bus/redis/redis-fleet-connection.ts";
import { call } from "./api-client.ts";
import { recordingLog } from "./bus-rig.ts";
import { eventually } from "./phoenix-client.ts";
import { startRedis } from "./redis-process.ts";
import { startWorld, type World } from "./world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const SCOPED = "the key of a dashboard for rooms";
const TOML = `[[api_keys]]\nkey = "${SCOPED}"\ncan = ["read"]\nchannels = ["room:*"]\n`;

async function started(bus: "redis" | "embedded"): Promise<World> {
  const world = await startWorld(bus, { toml: TOML });
  ends.push(() => world.stop());
  return world;
}

describe("with Redis", () => {
  test("shows this process and Redis, to those who may read all channels", async () => {
    const { channel, redis } = await started("redis");
    const { body } = await call(channel.url, "/api/processes");
    const [own] = body.processes;
    expect(body.processes).toHaveLength(1);
    expect(own).toMatchObject({ pid: channel.pid, bus: { kind: "redis", live: true } });
    expect(own.memory.rss).toBeGreaterThan(10_000_000);
    expect(own.descriptors.open).toBeGreaterThan(3);
    expect(own.descriptors.open).toBeLessThan(own.descriptors.limit);
    // Figures are missing where Redis does not answer in time.
    const bus = await eventually(
      async () => {
        const seen = (await call(channel.url, "/api/bus")).body;
        return seen.nodes.length > 0 && seen;
      },
      "figures",
      30_000,
    );
    expect(bus).toMatchObject({ kind: "redis", live: true, reason: null });
    expect(bus.nodes).toHaveLength(1);
    const [node] = bus.nodes;
    expect(node).toMatchObject({ where: `127.0.0.1:${redis?.port}`, ping_ms: expect.any(Number) });
    expect(node.info).toMatchObject({ role: "master", evicted_keys: "0", redis_version: expect.any(String) });
    expect(node.output_buffer_limit).toEqual(expect.any(Number));
    for (const path of ["/api/processes", "/api/bus"]) {
      expect((await call(channel.url, path, { secret: SCOPED })).body.code).toBe("all_channels_needed");
      expect((await call(channel.url, path, { secret: null })).status).toBe(401);
    }
  }, 90_000);

  test("says so while Redis is stopped or gone, and shows it again afterwards", async () => {
    const { channel, redis } = await started("redis");
    const bus = async () => (await call(channel.url, "/api/bus")).body;
    await eventually(async () => (await bus()).nodes.length === 1, "figures", 30_000);
    redis?.kill("SIGSTOP");
    await eventually(async () => (await bus()).reason !== null, "no figures of a stopped Redis", 30_000);
    expect((await bus()).nodes).toEqual([]);
    redis?.kill("SIGCONT");
    await eventually(async () => (await bus()).nodes.length === 1, "figures again", 30_000);
    await redis?.down();
    // Figures may be up to 1 s old.
    const isLost = async () => {
      const { live, nodes, reason } = await bus();
      return !live && nodes.length === 0 && reason.includes("Redis");
    };
    await eventually(isLost, "the loss", 30_000);
    expect((await call(channel.url, "/api/processes")).body.processes[0].bus.live).toBe(false);
    await redis?.restart();
    await eventually(async () => (await bus()).nodes.length === 1, "figures after the restart", 30_000);
  }, 90_000);
});

test("what the access list does not permit is unknown, without a warning in the log", async () => {
  const redis = await startRedis(["--user", "limited", "on", ">x", "+ping", "+client|setname"]);
  ends.push(() => redis.stop());
  const { log, entries } = recordingLog();
  const url = `redis://limited:x@127.0.0.1:${redis.port}`;
  const figures = new RedisFigures(new RedisFleetConnection({ url, log }));
  ends.push(() => figures.stop());
  const [one, other] = await Promise.all([figures.read(), figures.read()]);
  expect(one).toEqual([
    { where: `127.0.0.1:${redis.port}`, ping: expect.any(Number), info: null, bufferLimit: null },
  ]);
  // Asked once.
  expect(other).toBe(one);
  expect(entries.filter(({ level }) => level === "warn")).toEqual([]);
}, 90_000);

test("the embedded bus has no figures of its own, and says so", async () => {
  const { channel } = await started("embedded");
  const { body } = await call(channel.url, "/api/bus");
  expect(body).toMatchObject({ kind: "embedded", live: true, nodes: [], reason: expect.any(String) });
  expect((await call(channel.url, "/api/processes")).body.processes[0].pid).toBe(channel.pid);
}, 90_000);
