/**
 * What it costs to receive 100 messages of 200 KB a second that nobody listens to, with one worker and with several: CPU of all processes of
 * the server for each message, less what they take at rest. `npx bun test/bench/intake.bench.ts [seconds] [executable]`
 */
import { Deliveries, pace } from "../../src/bench/deliveries.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { fineCpuMs, withChildren } from "../../src/bench/process-times.ts";
import { Publisher } from "../../src/bench/publisher.ts";
import { startChannel } from "../integration/channel-process.ts";
import { startRedis } from "../integration/redis-process.ts";
import { aircraftPayload } from "./payloads.ts";

const COUNTS = [1, 2, 4, 10, 10, 4, 2, 1];
const CHANNELS = 100;
const PER_SECOND = 100;
const BYTES = 200_000;
/** Until one worker receives for all, and in which the code is compiled, in seconds. */
const SETTLED = 5;
const WARM_UP = 3;

const [secs = "5", binary] = Bun.argv.slice(2);
const seconds = Number(secs);
const messages = Array.from({ length: CHANNELS }, (_, i) =>
  phoenix.publication(`streaming-${i}`, "message", aircraftPayload(BYTES, i)),
);

console.log(`workers  server, us a message  at rest, % of a core  Redis, us a message  (${seconds} s each)`);
for (const count of COUNTS) {
  const { server, atRest, redis } = await measure(count);
  const columns = [
    server.toFixed(0).padStart(20),
    (atRest / 10).toFixed(1).padStart(22),
    redis.toFixed(0).padStart(20),
  ];
  console.log(`${String(count).padStart(7)}${columns.join("")}`);
}
process.exit(0);

interface Cost {
  /** us of CPU for each message. */
  readonly server: number;
  readonly redis: number;
  /** ms of CPU a second. */
  readonly atRest: number;
}

async function measure(workers: number): Promise<Cost> {
  const redis = await startRedis();
  const channel = await startChannel({
    args: ["--redis-url", redis.url, "--workers", String(workers)],
    ...(binary === undefined ? {} : { binary }),
  });
  const publisher = await Publisher.connect(redis.url);
  try {
    await Bun.sleep(SETTLED * 1000);
    const processes = withChildren(channel.pid);
    const serverMs = () => processes.map(fineCpuMs).reduce((sum, ms) => sum + ms, 0);
    const during = async (run: () => Promise<unknown>) => {
      const before = [serverMs(), fineCpuMs(redis.pid)] as const;
      await run();
      return [serverMs() - before[0], fineCpuMs(redis.pid) - before[1]] as const;
    };
    const send = (time: number) =>
      pace(new Deliveries(phoenix, [], 1), publisher, messages, PER_SECOND, 1, time);
    const [atRest] = await during(() => Bun.sleep(seconds * 1000));
    await send(WARM_UP);
    const [busy, redisMs] = await during(() => send(seconds));
    const us = 1000 / (PER_SECOND * seconds);
    return { server: (busy - atRest) * us, redis: redisMs * us, atRest: atRest / seconds };
  } finally {
    publisher.end();
    await channel.stop();
    await redis.stop();
  }
}
