/**
 * `npm run bench:workers`: the same traffic with one worker and with two, and as many connections as ten workers hold. README.md says
 * more.
 */
import { parseArgs } from "node:util";
import { withChildren } from "../../src/bench/process-times.ts";
import { startRedis } from "../integration/redis-process.ts";
import { holdConnections } from "./many-connections.ts";
import { playOnce } from "./play.ts";
import type { Figures, Scene } from "./scene.ts";
import { fanOut } from "./scenes/fan-out.ts";
import { joined } from "./scenes/joined.ts";
import { steady } from "./scenes/paced.ts";
import { pages } from "./scenes/pages.ts";
import { type Contender, ours, startOurs } from "./servers.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    only: { type: "string" },
    rounds: { type: "string", default: "3" },
    short: { type: "boolean", default: false },
    connections: { type: "string", default: "190000" },
    workers: { type: "string", default: "10" },
  },
});
const rounds = Number(values.rounds);

/** Each worker has a core of its own, also where there is only one worker: the generator and Redis then have the other. */
const CORES = ["0", "1"];

const parts: Readonly<Record<string, () => Promise<void>>> = {
  "fan-out": () => compare(fanOut),
  intake: () => compare(pages),
  steady: () => compare(steady, true),
  joined: () => compare(joined, true),
  connections: () => holdConnections(Number(values.connections), Number(values.workers)),
};
const chosen = values.only?.split(",") ?? Object.keys(parts);
for (const name of chosen) {
  const part = parts[name];
  if (part === undefined) throw new Error(`--only: ${Object.keys(parts).join(", ")}`);
  await part();
}
process.exit(0);

/** @param pinned whether processes keep to their cores */
async function compare(scene: Scene, pinned = false): Promise<void> {
  const found: Record<number, Figures[]> = { 1: [], 2: [] };
  for (let round = 0; round < rounds; round++) {
    for (const count of round % 2 === 0 ? [1, 2] : [2, 1])
      found[count]?.push(await play(scene, count, pinned));
  }
  console.log(`${scene.name}: ${scene.title}${pinned ? ", pinned to cores" : ""}; medians of ${rounds}`);
  for (const [count, figures] of Object.entries(found))
    console.log(`  workers ${count}  ${row(scene, figures)}`);
  const sum = (count: number) => median(found[count], costOf);
  console.log(`  CPU of two, all together, over that of one: ${(sum(2) / sum(1)).toFixed(2)}`);
}

async function play(scene: Scene, workers: number, pinned: boolean): Promise<Figures> {
  const redis = await startRedis();
  const contender: Contender = {
    ...ours,
    async start(options) {
      const server = await startOurs(options, ["--workers", String(workers)]);
      if (pinned)
        withChildren(server.pid)
          .slice(workers === 1 ? 0 : 1)
          .forEach(pin);
      return server;
    },
  };
  try {
    const apart = pinned && workers === 1;
    if (apart) pin(redis.pid, 1);
    const { figures } = await playOnce(scene, contender, {
      ...{ redisUrl: redis.url, form: values.short ? "short" : "full" },
      under: apart ? ["taskset", "-c", CORES[1] ?? ""] : [],
    });
    return figures;
  } finally {
    await redis.stop();
  }
}

function pin(pid: number, core: number): void {
  const { exitCode, stderr } = Bun.spawnSync(["taskset", "-a", "-c", "-p", CORES[core] ?? "", String(pid)]);
  if (exitCode !== 0) throw new Error(`taskset: ${stderr.toString()}`);
}

function costOf({ serverMs, arrived }: Figures): number {
  return (serverMs * 1000) / arrived;
}

function row({ unit }: Scene, figures: readonly Figures[]): string {
  const of = (pick: (each: Figures) => number | null) => median(figures, (each) => pick(each) ?? Number.NaN);
  const percent = of(({ busiestMs, seconds }) => busiestMs / seconds / 10).toFixed(0);
  const missing = of(({ arrived, expected }) => expected - arrived);
  return [
    `${of(costOf).toFixed(2)} us a ${unit}`,
    `busiest ${percent} % of a core`,
    `${of(({ arrived, seconds }) => arrived / seconds).toFixed(0)} a second`,
    `p50 ${of(({ p50Ms }) => p50Ms).toFixed(1)} ms`,
    `p99 ${of(({ p99Ms }) => p99Ms).toFixed(1)} ms`,
    `missing ${missing}`,
  ].join(", ");
}

function median(figures: readonly Figures[] = [], pick: (each: Figures) => number): number {
  return figures.map(pick).sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN;
}
