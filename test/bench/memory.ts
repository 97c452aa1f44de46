/** `npm run bench:memory`: what connections weigh, and whether all of it comes back. README.md says more. */
import { parseArgs } from "node:util";
import { connectAll, joinAll, quiet } from "../../src/bench/clients.ts";
import { pssBytes } from "../../src/bench/process-times.ts";
import type { Client } from "../../src/bench/websocket-client.ts";
import { startRedis } from "../integration/redis-process.ts";
import { peers } from "./peers.ts";
import { type Contender, limit, ours, type RunningServer, SECRET } from "./servers.ts";
import { mint } from "./tokens.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: { only: { type: "string" }, waves: { type: "string", default: "20" } },
});
const waves = Number(values.waves);
const named = values.only?.split(",");
const contenders = [limit, ours, ...peers.filter(({ lacks }) => lacks() === null)].filter(
  ({ name }) => named?.includes(name) ?? true,
);

/** They come first and stay, so that what a server allocates once is no weight of a connection. */
const FIRST = 1000;
const CROWD = 5000;
const SETTLE_MS = 3000;
const BETWEEN_MS = 1500;
const REST_MS = 40_000;
const PAUSE_MS = 15_000;

const redis = await startRedis();
try {
  for (const contender of contenders) {
    await played(contender, "weights", weigh);
    if (waves > 0) await played(contender, `${waves * CROWD} connections that come and go`, comeAndGo);
  }
} finally {
  await redis.stop();
}
process.exit(0);

type Play = (contender: Contender, server: RunningServer) => Promise<readonly string[]>;

async function played(contender: Contender, what: string, play: Play): Promise<void> {
  const server = await contender.start({ redisUrl: redis.url, env: {}, profileInto: null });
  try {
    console.log([`${contender.name}, ${what}`, ...(await play(contender, server))].join("\n  "));
  } catch (error) {
    if (contender === limit || contender === ours) throw error;
    console.log(`${contender.name}, ${what}: did not finish: ${error}`);
  } finally {
    await server.stop();
  }
}

async function join(
  { dialect }: Contender,
  clients: readonly Client[],
  topic: (index: number) => string,
): Promise<void> {
  await joinAll(dialect, clients, ({ index }) => {
    return { topic: topic(index), token: mint(SECRET, `user-${index}`, topic(index)) };
  });
  await quiet(clients);
}

async function settled({ pid }: RunningServer, ms = SETTLE_MS): Promise<number> {
  await Bun.sleep(ms);
  return pssBytes(pid);
}

/** The least within the time that the runtime takes to collect garbage while it idles. */
async function atRest(server: RunningServer, ms = REST_MS): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (const until = performance.now() + ms; performance.now() < until; ) {
    least = Math.min(least, await settled(server, 1000));
  }
  return least;
}

/** Connections first, then one membership each in channels of a hundred, then one each in a channel of its own. */
async function weigh(contender: Contender, server: RunningServer): Promise<readonly string[]> {
  const { dialect } = contender;
  const url = dialect.socketUrl(server.url);
  const early = await connectAll(dialect, url, FIRST);
  await join(contender, early, (index) => `early-${index % 10}`);
  await join(contender, early, (index) => `early-own-${index}`);
  const empty = await atRest(server, PAUSE_MS);
  const clients = await connectAll(dialect, url, CROWD, FIRST);
  const connected = await atRest(server, PAUSE_MS);
  await join(contender, clients, (index) => `hall-${index % (CROWD / 100)}`);
  const joined = await atRest(server, PAUSE_MS);
  await join(contender, clients, (index) => `own-${index}`);
  const owning = await atRest(server, PAUSE_MS);
  for (const client of clients) client.end();
  await quiet(early);
  const after = await atRest(server);
  const each = (from: number, to: number) => `${((to - from) / CROWD / 1024).toFixed(2)} KB`;
  return [
    `a connection                     ${each(empty, connected)}`,
    `a membership (100 to a channel)  ${each(connected, joined)}`,
    `a channel, its one member in it  ${each(joined, owning)}`,
    `came back when they left         ${(((owning - after) / (owning - empty)) * 100).toFixed(0)} % of ${megabytes(owning - empty)}`,
  ];
}

/** The same crowd over and over: connect, join, vanish. What stays after a wave must not grow from wave to wave. */
async function comeAndGo(contender: Contender, server: RunningServer): Promise<readonly string[]> {
  const { dialect } = contender;
  const url = dialect.socketUrl(server.url);
  const early = await connectAll(dialect, url, 10);
  await join(contender, early, () => "early");
  const start = await settled(server, 4 * SETTLE_MS);
  const after: number[] = [];
  let full = 0;
  for (let wave = 0; wave < waves; wave++) {
    const clients = await connectAll(dialect, url, CROWD, FIRST + wave * CROWD);
    await join(contender, clients, (index) => `wave-${wave % 2}-${index % 500}`);
    full = Math.max(full, pssBytes(server.pid));
    for (const client of clients) client.end();
    await quiet(early);
    after.push(await settled(server, BETWEEN_MS));
    console.error(`${contender.name} wave ${wave + 1}/${waves}: ${megabytes(after.at(-1) ?? 0)}`);
  }
  const end = await atRest(server);
  const half = Math.floor(waves / 2);
  const growth = (mean(after.slice(half)) - mean(after.slice(0, half))) / (CROWD * half);
  return [
    `before                           ${megabytes(start)}`,
    `at most, with ${CROWD} there        ${megabytes(full)}`,
    `after wave 1, 5, 10, ... ${waves}      ${after
      .filter((_, i) => i === 0 || (i + 1) % 5 === 0)
      .map(megabytes)
      .join(", ")}`,
    `at rest, within 40 s             ${megabytes(end)}`,
    `second half over first           ${growth.toFixed(0)} bytes for each connection gone`,
    ...(await left(contender, server)),
  ];
}

/** What our own figures say is still there: the ten that stayed. */
async function left(contender: Contender, { url }: RunningServer): Promise<readonly string[]> {
  if (contender !== ours) return [];
  const metrics = await (await fetch(new URL("/metrics", url.replace(/^ws/, "http")))).text();
  return metrics
    .split("\n")
    .filter((line) =>
      /^channel_(connections|channels|members|memberships|joins_total|leaves_total)\b/.test(line),
    );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
