/**
 * `npm run bench:storm`: thousands of clients lose their connections at once and come back at once, each with its token. Prints how
 * long that takes, how long the server stalls, what it costs, what Redis carries, and whether presence is exact. README.md says more.
 */
import { parseArgs } from "node:util";
import { cpuMs, withChildren } from "../../src/bench/process-times.ts";
import { startRedis } from "../integration/redis-process.ts";
import { type Crowd, loopDelayMs, merged, openCrowds, openObserver } from "./crowds.ts";
import { type Layout, topicOf, userOf } from "./parts/crowd.ts";
import { peers } from "./peers.ts";
import { type Compared, compare, readRosters } from "./roster.ts";
import { type Contender, limitWithPresence, ours, oursWorkers, parseStranger, SECRET } from "./servers.ts";
import { median } from "./table.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    only: { type: "string" },
    server: { type: "string", multiple: true, default: [] },
    "redis-url": { type: "string" },
    "jwt-secret": { type: "string", default: SECRET },
    rounds: { type: "string" },
    short: { type: "boolean", default: false },
    "at-once": { type: "string", default: "500" },
  },
});

/**
 * One process takes 20,000 descriptors. While all come back it may hold some of the old connections still, so that a server of one
 * process gets fewer; the one of two workers gets the whole crowd.
 */
const ONE_PROCESS = values.short ? 1800 : 18_000;
const SEVERAL = values.short ? 2000 : 20_000;
const MEMBERS = 20;
const PROCESSES = 2;
const SETTLE_MS = values.short ? 500 : 2000;
const READS = 3;
const rounds = Number(values.rounds ?? (values.short ? 1 : 3));
/** Connects that are under way: a server's queue of connections is 512 long, beyond which the kernel waits for a second. */
const atOnce = Number(values["at-once"]);

const workers = oursWorkers(2);
const all: readonly Contender[] = [
  limitWithPresence,
  ours,
  workers,
  ...peers,
  ...values.server.map((text) => parseStranger(text)),
];
/** Those that keep presence. */
const usual = [
  ...[limitWithPresence, ours, workers],
  ...peers.filter(({ name, lacks }) => name.endsWith("+presence") && lacks() === null),
];
const wanted = values.only?.split(",") ?? usual.map(({ name }) => name);
/** A client may ask there who is in its channel. */
const env = {
  CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_PRESENCE_FOR_SUBSCRIBER: "true",
  CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_PRESENCE_FOR_ANONYMOUS: "true",
};
const contenders = all.filter(
  ({ name }) => wanted.includes(name) || values.server.some((text) => text.startsWith(`${name}=`)),
);

interface Measured {
  readonly server: string;
  readonly clients: number;
  readonly joinedS: number;
  readonly connectedS: number;
  readonly p50S: number;
  readonly usEach: number;
  readonly stallMs: number;
  /** By how much the observer itself was late at most. */
  readonly observerMs: number;
  readonly loopMs: number | null;
  readonly redisIn: number;
  readonly redisOut: number;
  readonly retries: number;
  /** `null`: the server tells no presence. */
  readonly presence: Compared | null;
}

const redis = values["redis-url"] === undefined ? await startRedis() : null;
const redisUrl = values["redis-url"] ?? redis?.url ?? "";
const found: Measured[] = [];
try {
  for (let round = 1; round <= rounds; round++) {
    for (const contender of round % 2 === 1 ? contenders : contenders.toReversed()) {
      try {
        const measured = await storm(contender, contender === workers ? SEVERAL : ONE_PROCESS);
        found.push(measured);
        console.error(JSON.stringify(measured));
      } catch (error) {
        console.error(`${contender.name} did not finish: ${error}`);
      }
    }
  }
} finally {
  await redis?.stop();
}
print();
process.exit(0);

async function storm(contender: Contender, clients: number): Promise<Measured> {
  const server = await contender.start({ redisUrl, env, profileInto: null });
  const secret = values["jwt-secret"];
  const place = { url: server.url, dialect: contender.dialect.name, secret, redisUrl, epochMs: Date.now() };
  const layout: Layout = { prefix: "room-", channels: clients / MEMBERS, joins: 1, stride: 1 };
  const observer = await openObserver(place);
  let crowds: readonly Crowd[] = [];
  const info = new Bun.RedisClient(redisUrl);
  try {
    crowds = await openCrowds(place, clients, PROCESSES);
    const each = <T>(ask: (crowd: Crowd) => Promise<T>): Promise<T[]> => Promise.all(crowds.map(ask));
    await each((crowd) => crowd.ask("join", layout));
    await each((crowd) => crowd.ask("quiet", null));
    await Bun.sleep(SETTLE_MS);

    // What the observer alone makes Redis carry, to be taken off below.
    await observer.ask("begin", null);
    const idle = await redisBytes(info);
    await Bun.sleep(SETTLE_MS);
    const base = await redisBytes(info);
    const observed = (await observer.ask("end", null)).sent;

    const pids = withChildren(server.pid);
    await loopDelayMs(server.url);
    const cpu = (): number => pids.reduce((sum, pid) => sum + cpuMs(pid), 0);
    const cpuBefore = cpu();
    await observer.ask("begin", null);
    const before = await redisBytes(info);
    const storms = await each((crowd) =>
      crowd.ask("storm", { layout, atOnce: Math.ceil(atOnce / PROCESSES) }),
    );
    // It is over when all have been sent who is there.
    await each((crowd) => crowd.ask("quiet", null));
    const after = await redisBytes(info);
    const stall = await observer.ask("end", null);
    const usEach = ((cpu() - cpuBefore) * 1000) / clients;
    const loopMs = await loopDelayMs(server.url);

    const share = stall.sent / Math.max(1, observed);
    const back = merged(storms);
    return {
      server: contender.name,
      clients,
      joinedS: Math.max(...storms.map(({ joinedMs }) => joinedMs)) / 1000,
      connectedS: Math.max(...storms.map(({ connectedMs }) => connectedMs)) / 1000,
      p50S: (back.quantileMs(0.5) ?? Number.NaN) / 1000,
      usEach,
      stallMs: stall.worstMs,
      observerMs: stall.ownMs,
      loopMs,
      redisIn: Math.max(0, after.input - before.input - (base.input - idle.input) * share),
      redisOut: Math.max(0, after.output - before.output - (base.output - idle.output) * share),
      retries: storms.reduce((sum, { retries }) => sum + retries, 0),
      presence: await presenceOf(contender, server.url, layout, clients),
    };
  } finally {
    info.close();
    await Promise.all([observer.stop(), ...crowds.map((crowd) => crowd.stop())]);
    await server.stop();
  }
}

async function presenceOf(
  { dialect }: Contender,
  url: string,
  layout: Layout,
  clients: number,
): Promise<Compared | null> {
  const expected = new Map<string, Set<string>>();
  for (let index = 0; index < clients; index++) {
    const topic = topicOf(layout, index, 0);
    const users = expected.get(topic) ?? new Set();
    expected.set(topic, users.add(userOf(index)));
  }
  const socket = dialect.socketUrl(url);
  for (let reads = 1; ; reads++) {
    const rosters = await readRosters(dialect.name, socket, values["jwt-secret"], [...expected.keys()]);
    if (rosters.size === 0) return null;
    const compared = compare(expected, rosters);
    // Who answers a join before it has written it down is given some time.
    if (compared.missing + compared.extra === 0 || reads === READS) return compared;
    await Bun.sleep(SETTLE_MS);
  }
}

/** What Redis has received and sent since it started. */
async function redisBytes(
  redis: Bun.RedisClient,
): Promise<{ readonly input: number; readonly output: number }> {
  const info = String(await redis.send("INFO", ["stats"]));
  const read = (name: string): number =>
    Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? Number.NaN);
  return { input: read("total_net_input_bytes"), output: read("total_net_output_bytes") };
}

/** The medians as a table that a document can take, but for the stall and what was wrong: the worst. */
function print(): void {
  const head = [
    ...["", "clients", "all back, s", "half back, s", "CPU each, us", "worst stall, ms", "loop delay, ms"],
    ...["observer late, ms", "Redis in, MB", "Redis out, MB", "retries", "presence"],
  ];
  console.log(`| ${head.join(" | ")} |\n| ${head.map(() => "---").join(" | ")} |`);
  for (const { name } of contenders) {
    const mine = found.filter(({ server }) => server === name);
    const first = mine[0];
    if (first === undefined) continue;
    const of = (pick: (one: Measured) => number | null): number =>
      median(mine.map((one) => pick(one) ?? Number.NaN));
    const worst = (pick: (one: Measured) => number | null): number =>
      Math.max(...mine.map((one) => pick(one) ?? 0));
    const cells = [
      ...[name, first.clients.toLocaleString("en"), of(({ joinedS }) => joinedS).toFixed(1)],
      ...[of(({ p50S }) => p50S).toFixed(1), of(({ usEach }) => usEach).toFixed(0)],
      ...[
        worst(({ stallMs }) => stallMs).toFixed(0),
        first.loopMs === null ? "" : worst(({ loopMs }) => loopMs).toFixed(0),
      ],
      ...[worst(({ observerMs }) => observerMs).toFixed(0)],
      ...[(of(({ redisIn }) => redisIn) / 1e6).toFixed(1), (of(({ redisOut }) => redisOut) / 1e6).toFixed(1)],
      ...[worst(({ retries }) => retries).toFixed(0), presenceText(mine)],
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

function presenceText(mine: readonly Measured[]): string {
  const compared = mine.map(({ presence }) => presence).filter((presence) => presence !== null);
  if (compared.length === 0) return "none";
  const wrong = compared.filter(({ missing, extra }) => missing + extra > 0);
  if (wrong.length === 0) return "exact";
  return wrong
    .map(({ missing, extra, expected }) => `${missing} missing and ${extra} too many of ${expected}`)
    .join("; ");
}
