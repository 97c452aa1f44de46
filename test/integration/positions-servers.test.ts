import { afterEach, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { HistoryReader } from "./history-reader.ts";
import { killSubscribers, Publishing } from "./positions-rig.ts";
import { startRedis } from "./redis-process.ts";
import { startRedisProxy } from "./redis-proxy.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

/** Subscriptions lost and messages after which the run ends, and ms after which it ends in any case. */
const RUN = { losses: 200, messages: 200_000, most: 120_000 };

const TOML = `
jwt_secret = "${SECRET}"
admin_secret = "${ADMIN_SECRET}"
[channels."room:1"]
history = 1000000
history_bytes = "512MiB"
[limits]
history_bytes = "512MiB"
`;

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

async function startServer(redisPort: number): Promise<ChannelProcess> {
  const channel = await startChannel({ args: ["--redis-url", `redis://127.0.0.1:${redisPort}`], toml: TOML });
  ends.push(() => channel.stop());
  return channel;
}

/** Subscriptions that a server lost. */
async function lossesOf({ url }: ChannelProcess): Promise<number> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_SECRET}` } });
  return Number(/^channel_bus_gaps_total (\d+)$/m.exec(await response.text())?.[1] ?? Number.NaN);
}

/** Reads the histories until it is stopped; what follows a position of one server is asked of the other too. */
class Reading {
  /** Messages that followed the same position on both servers. */
  followed = 0;
  readonly differing: string[] = [];
  readonly #readers: readonly HistoryReader[];
  readonly #ended: Promise<unknown>;
  #stopped = false;

  constructor(readers: readonly HistoryReader[]) {
    this.#readers = readers;
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
    for (const reader of this.#readers) await reader.read();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      for (const [i, reader] of this.#readers.entries()) {
        await reader.read();
        const other = this.#readers[1 - i];
        if (reader.last !== null && other !== undefined) await this.#compareNext(reader.last, reader, other);
      }
      await Bun.sleep(50);
    }
  }

  async #compareNext(position: string, one: HistoryReader, other: HistoryReader): Promise<void> {
    const [here, there] = await Promise.all([one.next(position), other.next(position)]);
    if (here === null || there === null) return;
    this.followed++;
    if (here !== there) this.differing.push(`after ${position}: ${here} and ${there}`);
  }
}

test("two servers on one Redis keep the same messages at the same positions, however often their subscriptions are lost", async () => {
  const redis = await startRedis(["--enable-debug-command", "yes"]);
  ends.push(() => redis.stop());
  const proxies = await Promise.all([0, 1].map(() => startRedisProxy(redis.port)));
  for (const proxy of proxies) ends.push(() => proxy.stop());
  const servers = await Promise.all(proxies.map(({ port }) => startServer(port)));
  const readers = servers.map(({ url }) => new HistoryReader(url, "room:1"));
  const control = connect(redis.port);
  const publisher = connect(redis.port);
  const publishing = new Publishing(() => publisher, { perSecond: 5000 });
  const reading = new Reading(readers);
  const end = performance.now() + RUN.most;
  let losses: readonly number[] = [];
  const sum = (): number => losses.reduce((all, each) => all + each, 0);
  let slept = false;
  while (performance.now() < end && !(sum() >= RUN.losses && publishing.sent >= RUN.messages)) {
    await Bun.sleep(50 + Math.random() * 150);
    const dice = Math.random();
    if (dice < 0.4) await killSubscribers(control);
    else if (dice < 0.5) await killSubscribers(control, true);
    else if (dice < 0.94) proxies[Math.random() < 0.5 ? 0 : 1]?.cutSubscribers();
    else if (dice < 0.99 || slept) await control.call("DEBUG", "SLEEP", String(Math.random() / 5));
    else {
      // Longer than a server waits for an answer.
      slept = true;
      await control.call("DEBUG", "SLEEP", "3");
    }
    losses = await Promise.all(servers.map(lossesOf));
  }
  await publishing.stop();
  await reading.stop();
  const [one, other] = readers.map(({ byPosition }) => byPosition);
  if (one === undefined || other === undefined) throw new Error("two servers");
  const both = [...one].filter(([position]) => other.has(position));
  const differing = both.filter(([position, message]) => other.get(position) !== message);
  expect(differing).toEqual([]);
  expect(reading.differing).toEqual([]);
  expect(sum()).toBeGreaterThanOrEqual(RUN.losses);
  expect(publishing.sent).toBeGreaterThanOrEqual(RUN.messages);
  expect(both.length).toBeGreaterThan(RUN.messages / 20);
  expect(reading.followed).toBeGreaterThan(10);
}, 240_000);
