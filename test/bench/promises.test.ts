import { afterAll, beforeAll, expect, test } from "bun:test";
import { verifyHs256 } from "../../src/auth/hs256.ts";
import { channelBinary, startChannel } from "../integration/channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "../integration/phoenix-client.ts";
import { type RedisProcess, startRedis } from "../integration/redis-process.ts";

/*
 * What the documents promise in seconds. Each is tried until it was as quick as promised, a few times: what else the
 * machine does only adds to a time, and what is slow by itself is slow each time.
 */

const SECRET = "a-secret-for-the-benchmarks-that-is-long";
const TRIES = 8;

let redis: RedisProcess;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis?.stop());

/** The least of some tries, in ms; no more of them than it takes. */
async function least(promised: number, measure: () => Promise<number> | number): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < TRIES && best > promised; i++) best = Math.min(best, await measure());
  return best;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

test("the server listens within 100 ms", async () => {
  const start = async () => {
    const begin = performance.now();
    const child = await startChannel({ args: ["--redis-url", redis.url] });
    const took = performance.now() - begin;
    await child.stop();
    return took;
  };
  expect(await least(100, start)).toBeLessThan(100);
});

test("the version is there within 100 ms", async () => {
  const version = () => timed(() => Bun.spawn([channelBinary(), "--version"], { stdout: "ignore" }).exited);
  expect(await least(100, version)).toBeLessThan(100);
});

test("a verification of a token costs microseconds", async () => {
  const token = mint({ id: "alice", channel: "room" }, SECRET);
  const keys = [new TextEncoder().encode(SECRET)];
  const rules = { issuer: null, audience: null };
  const each = await least(0.05, () => {
    const start = performance.now();
    for (let i = 0; i < 2000; i++) verifyHs256(token, keys, rules, Date.now());
    return (performance.now() - start) / 2000;
  });
  // About 2 us by itself; the bound only catches a change of kind.
  expect(each).toBeLessThan(0.05);
});

async function withClient(
  work: (client: PhoenixClient, own: RedisProcess, url: string) => Promise<void>,
): Promise<void> {
  const own = await startRedis();
  const channel = await startChannel({ args: ["--redis-url", own.url, "--jwt-secret", SECRET] });
  try {
    const client = await connectPhoenix(channel.url);
    await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
    await work(client, own, channel.url);
  } finally {
    await channel.stop();
    await own.stop();
  }
}

const ready = async (url: string) => (await fetch(`${url}/ready`)).status === 200;

test(
  "the subscription is back within 2 s after Redis is",
  () =>
    withClient(async (client, own, url) => {
      const back = await least(2000, async () => {
        await own.down();
        await eventually(async () => !(await ready(url)), "/ready 503");
        await own.restart();
        return timed(() => eventually(() => ready(url), "/ready 200"));
      });
      expect(back).toBeLessThan(2000);
      expect((await client.ask({ topic: "room", event: "said" })).status).toBe("ok");
    }),
  120_000,
);

test(
  "a push is answered within 2 s and a sweep where Redis hangs, and at once where it is known to be away",
  () =>
    withClient(async (client, own, url) => {
      const push = () => timed(() => client.ask({ topic: "room", event: "said" }));
      const hanging = await least(2500, async () => {
        await eventually(() => ready(url), "/ready 200");
        own.kill("SIGSTOP");
        const took = await push();
        expect(await least(100, push)).toBeLessThan(100);
        own.kill("SIGCONT");
        return took;
      });
      expect(hanging).toBeLessThan(2500);
    }),
  120_000,
);

test("a list of 10,000 channels answers a page of it within 100 ms", async () => {
  const channel = await startChannel({
    args: ["--redis-url", redis.url],
    toml: `jwt_secret = "${SECRET}"\nadmin_secret = "${SECRET}"\n[limits]\nmax_channels = 10000\nframes_per_second = 1000\n`,
  });
  try {
    const client = await connectPhoenix(channel.url);
    const token = mint({ id: "alice", channel: "row-*" }, SECRET);
    const payload = JSON.stringify({ token });
    const topics = Array.from({ length: 10_000 }, (_, i) => `row-${i}`);
    client.sendTogether(
      topics.map((topic) => ({ joinRef: topic, ref: topic, topic, event: "phx_join", payload })),
    );
    await client.reply("row-9999");
    const headers = { authorization: `Bearer ${SECRET}` };
    const list = () =>
      timed(async () => {
        const answer = await fetch(`${channel.url}/api/channels?sort=rate&limit=100`, { headers });
        expect((await answer.json()).total).toBeGreaterThanOrEqual(10_000);
      });
    expect(await least(100, list)).toBeLessThan(100);
    client.socket.cut();
  } finally {
    await channel.stop();
  }
}, 60_000);
