/**
 * `npm run bench:latency`: how late messages come at 25, 50 and 75 % of what one core takes, beside the limit and the peers, and what
 * else the server does in between. README.md says more. `--draw` draws the SVG of a result that `--json` printed.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fineCpuMs, pidListeningOn } from "../../src/bench/process-times.ts";
import { startRedis } from "../integration/redis-process.ts";
import { drawChart, ticksBetween } from "./chart.ts";
import { type Crowd, merged, openCrowds, received } from "./crowds.ts";
import type { Place } from "./parts/crowd.ts";
import { type Pauses, pausesIn } from "./pauses.ts";
import { peers } from "./peers.ts";
import { pin, processors } from "./pinning.ts";
import {
  type Contender,
  limit,
  ours,
  parseStranger,
  type RunningServer,
  SECRET,
  startOurs,
} from "./servers.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    only: { type: "string" },
    server: { type: "string", multiple: true, default: [] },
    "redis-url": { type: "string" },
    "jwt-secret": { type: "string", default: SECRET },
    short: { type: "boolean", default: false },
    tails: { type: "boolean", default: true },
    json: { type: "boolean", default: false },
    draw: { type: "string" },
  },
  allowNegative: true,
});

const CHANNELS = 100;
const MEMBERS = 10;
const BYTES = 100;
/** Messages on their way while the server is kept busy: some ms of its work. */
const IN_FLIGHT = 400;
const SHARES = [0.25, 0.5, 0.75] as const;
const WARM_SECONDS = values.short ? 1 : 2;
const FLOOD_SECONDS = values.short ? 1 : 2;
const SECONDS = values.short ? 3 : 5;
/** Some polls, scrapes and large messages. */
const TAIL_SECONDS = 6;
const TAIL_SHARE = 0.5;
const POLL_MS = 2000;
const SCRAPE_MS = 1000;
const LARGE_MS = 1000;
const LARGE_BYTES = 4 * 1024 * 1024 - 1024;
const ADMIN = "bench-admin-secret";

interface Level {
  readonly share: number;
  /** Deliveries a second that were asked for. */
  readonly perSecond: number;
  /** CPU of server and generator, in cores. */
  readonly serverCores: number;
  readonly loadCores: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly worstMs: number;
  readonly lost: number;
}

interface Curve {
  readonly server: string;
  /** Deliveries for each second of the server's CPU, at full speed. */
  readonly capacity: number;
  readonly levels: readonly Level[];
}

interface Tail extends Level {
  readonly beside: string;
  readonly pauses: Pauses;
}

if (values.draw !== undefined) {
  await draw(await Bun.file(values.draw).json());
  process.exit(0);
}

const cpus = processors();
const redis = values["redis-url"] === undefined ? await startRedis() : null;
const redisUrl = values["redis-url"] ?? redis?.url ?? "";
if (cpus === null) console.error("servers are not bound to a core: one core, or no taskset");
else {
  pin(process.pid, cpus.others);
  pin(redis?.pid ?? pidListeningOn(Number(new URL(redisUrl).port || 6379)), cpus.others);
}
const all = [limit, ours, ...peers, ...values.server.map((text) => parseStranger(text))];
const named = values.only?.split(",");
const contenders = all.filter((each) => {
  if (named !== undefined) return named.includes(each.name);
  const peer = peers.find(({ name }) => name === each.name);
  return peer === undefined || (peer.lacks() === null && !each.name.endsWith("+presence"));
});
const curves: Curve[] = [];
let tails: Tail[] = [];
try {
  for (const contender of contenders) {
    try {
      curves.push(await curveOf(contender));
    } catch (error) {
      if (contender === limit || contender === ours) throw error;
      console.error(`${contender.name} did not finish: ${error}`);
    }
  }
  const own = curves.find(({ server }) => server === ours.name);
  if (values.tails && own !== undefined) tails = await tailsOf(own.capacity);
} finally {
  await redis?.stop();
}
if (values.json) console.log(JSON.stringify({ pinned: cpus !== null, curves, tails }, null, 2));
else print();
process.exit(0);

/** A server with its crowd, joined and warm. */
async function onStage<T>(
  contender: Contender,
  start: () => Promise<RunningServer>,
  run: (server: RunningServer, crowd: Crowd, place: Place) => Promise<T>,
): Promise<T> {
  const server = await start();
  if (cpus !== null) pin(server.pid, cpus.server);
  const place: Place = {
    ...{ url: server.url, dialect: contender.dialect.name, secret: values["jwt-secret"] },
    ...{ redisUrl, epochMs: Date.now() },
  };
  let crowds: readonly Crowd[] = [];
  try {
    crowds = await openCrowds(place, CHANNELS * MEMBERS, 1, { yields: false });
    const [crowd] = crowds;
    if (crowd === undefined) throw new Error("no crowd");
    await crowd.ask("join", { prefix: "room-", channels: CHANNELS, joins: 1, stride: 1 });
    await crowd.ask("quiet", null);
    return await run(server, crowd, place);
  } finally {
    for (const crowd of crowds) await crowd.stop();
    await server.stop();
  }
}

function curveOf(contender: Contender): Promise<Curve> {
  const start = () => contender.start({ redisUrl, env: {}, profileInto: null });
  return onStage(contender, start, async (server, crowd) => {
    await flood(crowd, WARM_SECONDS);
    const cpu = fineCpuMs(server.pid);
    const arrived = await flood(crowd, FLOOD_SECONDS);
    const capacity = arrived / ((fineCpuMs(server.pid) - cpu) / 1000);
    console.error(
      `${contender.name}: ${Math.round(capacity).toLocaleString("en")} deliveries a second of CPU`,
    );
    const levels: Level[] = [];
    for (const share of SHARES) levels.push(await level(server, crowd, capacity, share));
    return { server: contender.name, capacity, levels };
  });
}

function flood(crowd: Crowd, seconds: number): Promise<number> {
  return crowd.ask("flood", {
    ...{ prefix: "room-", channels: CHANNELS, each: MEMBERS, bytes: BYTES, inFlight: IN_FLIGHT, seconds },
  });
}

async function level(
  server: RunningServer,
  crowd: Crowd,
  capacity: number,
  share: number,
  seconds = SECONDS,
): Promise<Level> {
  const perSecond = capacity * share;
  const traffic = {
    prefix: "room-",
    first: 0,
    channels: CHANNELS,
    perSecond: perSecond / MEMBERS,
    bytes: BYTES,
  };
  const send = async (time: number): Promise<{ expected: number; arrived: number }> => {
    await crowd.ask("count", { stampEvery: 1 });
    const expected = (await crowd.ask("publish", { ...traffic, seconds: time })) * MEMBERS;
    return { expected, arrived: await received([crowd], expected) };
  };
  await send(1);
  const cpu = fineCpuMs(server.pid);
  const load = await crowd.ask("cpu", null);
  const began = performance.now();
  const { expected, arrived } = await send(seconds);
  const ms = performance.now() - began;
  const serverCores = (fineCpuMs(server.pid) - cpu) / ms;
  const loadCores = ((await crowd.ask("cpu", null)) - load) / ms;
  const latency = merged([await crowd.ask("figures", null)]);
  const quantile = (of: number): number => latency.quantileMs(of) ?? Number.NaN;
  const found = {
    ...{ share, perSecond, serverCores, loadCores, p50Ms: quantile(0.5), p99Ms: quantile(0.99) },
    ...{ p999Ms: quantile(0.999), worstMs: quantile(1), lost: expected - arrived },
  };
  console.error(JSON.stringify(found));
  return found;
}

/** Half of a core, and beside it what a server has to do besides. */
function tailsOf(capacity: number): Promise<Tail[]> {
  let log = "";
  const start = () =>
    startOurs(
      {
        redisUrl,
        env: { BUN_JSC_logGC: "1", ADMIN_SECRET: ADMIN },
        profileInto: null,
        onLog: (text) => (log += text),
      },
      [],
    );
  return onStage(ours, start, async (server, crowd, place) => {
    const [large] = await openCrowds(place, MEMBERS, 1, { first: CHANNELS * MEMBERS });
    if (large === undefined) throw new Error("no crowd");
    await large.ask("join", { prefix: "large-", channels: 1, joins: 1, stride: 0 });
    await flood(crowd, WARM_SECONDS);
    const found: Tail[] = [];
    for (const [beside, begin] of Object.entries(disturbances(server, place))) {
      log = "";
      const end = await begin();
      const began = performance.now();
      const figures = await level(server, crowd, capacity, TAIL_SHARE, TAIL_SECONDS);
      const ms = performance.now() - began;
      end();
      found.push({ ...figures, beside, pauses: pausesIn(log, ms) });
    }
    await large.stop();
    return found;
  });
}

type Disturbance = () => Promise<() => void>;

function disturbances({ url }: RunningServer, { redisUrl }: Place): Readonly<Record<string, Disturbance>> {
  const base = url.replace(/^ws/, "http");
  const get = async (path: string): Promise<void> => {
    const answer = await fetch(new URL(path, base), { headers: { authorization: `Bearer ${ADMIN}` } });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    await answer.arrayBuffer();
  };
  const every = (ms: number, work: () => Promise<void>): (() => void) => {
    const timer = setInterval(() => void work(), ms);
    return () => clearInterval(timer);
  };
  const nothing: Disturbance = async () => () => {};
  return {
    nothing,
    // As the page does: what it draws first, then the figures and the list that is open.
    "administration page": async () => {
      await get("/api/history?server=*");
      return every(POLL_MS, async () => {
        await get("/api/stats?server=*");
        await Promise.all([get("/api/servers"), get("/api/channels?limit=50")]);
      });
    },
    "/metrics each second": async () => every(SCRAPE_MS, () => get("/metrics")),
    "4 MiB to 10 members each second": async () => {
      const publisher = new Bun.RedisClient(redisUrl);
      const message = JSON.stringify({ text: "x".repeat(LARGE_BYTES) });
      const stop = every(LARGE_MS, async () => void (await publisher.publish("to:large-0:message", message)));
      return () => {
        stop();
        publisher.close();
      };
    },
    "nothing, again": nothing,
  };
}

function print(): void {
  const ms = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
  const cells = (level: Level): string[] => [
    ...[Math.round(level.perSecond).toLocaleString("en"), level.serverCores.toFixed(2)],
    ...[level.loadCores.toFixed(2), ms(level.p50Ms), ms(level.p99Ms), ms(level.p999Ms), ms(level.worstMs)],
    level.lost === 0 ? "none" : level.lost.toLocaleString("en"),
  ];
  const head = [
    "deliveries a second",
    "server, cores",
    "generator, cores",
    "p50, ms",
    "p99, ms",
    "p99.9, ms",
    "longest, ms",
    "lost",
  ];
  row(["server", "of a core", ...head]);
  row(Array.from({ length: head.length + 2 }, () => "---"));
  for (const { server, levels } of curves) {
    for (const level of levels) row([server, `${level.share * 100} %`, ...cells(level)]);
  }
  if (tails.length === 0) return;
  console.log("");
  row(["beside it", ...head, "GC pauses a second", "of the time", "longest pause, ms"]);
  row(Array.from({ length: head.length + 4 }, () => "---"));
  for (const tail of tails) {
    const { perSecond, share, longestMs } = tail.pauses;
    row([tail.beside, ...cells(tail), perSecond.toFixed(1), `${(share * 100).toFixed(2)} %`, ms(longestMs)]);
  }
}

function row(cells: readonly string[]): void {
  console.log(`| ${cells.join(" | ")} |`);
}

async function draw({ curves }: { readonly curves: readonly Curve[] }): Promise<void> {
  const rates = curves.flatMap(({ levels }) => levels.map(({ perSecond }) => perSecond));
  const panel = (title: string, of: (level: Level) => number) => ({
    title,
    unit: "ms",
    ticks: ticksBetween(Math.min(...rates), Math.max(...rates)),
    lines: curves.map(({ server, levels }) => ({
      name: server,
      points: levels.map((level) => ({ x: level.perSecond, y: of(level) })),
    })),
  });
  const target = join(import.meta.dir, "latency.svg");
  const chart = drawChart({
    label: "Latency against deliveries a second, at 25, 50 and 75 % of what one core of each server takes",
    note: "by deliveries a second; axes logarithmic",
    panels: [
      panel("p50, ms", ({ p50Ms }) => p50Ms),
      panel("p99, ms", ({ p99Ms }) => p99Ms),
      panel("p99.9, ms", ({ p999Ms }) => p999Ms),
      panel("CPU of the server, cores", ({ serverCores }) => serverCores),
    ],
  });
  await Bun.write(target, chart);
  console.log(target);
}
