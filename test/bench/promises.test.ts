import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { verifyHs256 } from "../../src/auth/hs256.ts";
import { channelBinary, startChannel } from "../integration/channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "../integration/phoenix-client.ts";
import { type RedisProcess, startRedis } from "../integration/redis-process.ts";

/*
 * What the documents promise in seconds. Each is tried until it was as quick as promised, a few times: what else the
 * machine does only adds to a time, and what is slow by itself is slow each time. The time for which a process waited for a
 * processor that others had does not count.
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

/** How long the main thread of a process has waited for a processor, in ms; 0 where the system does not say. */
function waited(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** The time that `work` takes, in ms, without what this process and another one wait for a processor meanwhile. */
async function timed(work: () => Promise<unknown>, pid?: number): Promise<number> {
  const waits = () => waited(process.pid) + (pid === undefined ? 0 : waited(pid));
  const before = waits();
  const start = performance.now();
  await work();
  return performance.now() - start - (waits() - before);
}

test("the server listens within 100 ms", async () => {
  const start = async () => {
    let pid = 0;
    let stop = async (): Promise<number> => 0;
    const took = await timed(async () => {
      ({ pid, stop } = await startChannel({ args: ["--redis-url", redis.url] }));
    });
    const own = took - waited(pid);
    await stop();
    return own;
  };
  expect(await least(100, start)).toBeLessThan(100);
});

test("the version is there within 100 ms", async () => {
  const version = async () => {
    const child = Bun.spawn([channelBinary(), "--version"], { stdout: "ignore" });
    await child.exited;
    return Number(child.resourceUsage()?.cpuTime.total ?? Number.NaN) / 1000;
  };
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
  work: (client: PhoenixClient, own: RedisProcess, url: string, pid: number) => Promise<void>,
): Promise<void> {
  const own = await startRedis();
  const channel = await startChannel({ args: ["--redis-url", own.url, "--jwt-secret", SECRET] });
  try {
    const client = await connectPhoenix(channel.url);
    await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
    await work(client, own, channel.url, channel.pid);
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
    withClient(async (client, own, url, pid) => {
      const push = () => timed(() => client.ask({ topic: "room", event: "said" }), pid);
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
    await client.frames.until(({ ref }) => ref === "row-9999", "the last reply", 60_000);
    const headers = { authorization: `Bearer ${SECRET}` };
    const list = () =>
      timed(async () => {
        const answer = await fetch(`${channel.url}/api/channels?sort=rate&limit=100`, { headers });
        expect((await answer.json()).total).toBeGreaterThanOrEqual(10_000);
      }, channel.pid);
    expect(await least(100, list)).toBeLessThan(100);
    client.socket.cut();
  } finally {
    await channel.stop();
  }
}, 120_000);
