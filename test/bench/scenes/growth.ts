import { fineCpuMs, pssBytes, withChildren } from "../../../src/bench/process-times.ts";
import { loopDelayMs, merged, openCrowds, openObserver, received } from "../crowds.ts";
import type { Layout } from "../parts/crowd.ts";
import type { Figures, Scene, Stage } from "../scene.ts";
import { names } from "./names.ts";

export const MEMBER_SIZES = [10, 100, 1000, 10_000] as const;
export const CHANNEL_SIZES = [...MEMBER_SIZES, 100_000] as const;
/** So many sockets are more than one process may open, of the generator and of the server. */
export const MOST_MEMBERS = 50_000;

/** Beyond so many channels each client joins several. */
const MOST_CLIENTS = 10_000;
const PROCESSES = 2;

/** Deliveries a second, whatever the size: what grows is what there is, not what is done. */
const CHANNELS_PER_SECOND = 4000;
const MEMBERS_PER_SECOND = 20_000;

/**
 * Traffic before what is measured, in s: in it the runtime compiles, and once collects the garbage of all joins, which takes a second
 * of CPU with 100,000 of them.
 */
const WARM_SECONDS = { short: 5, full: 10 } as const;

/** Those whose joining is measured, when the others have joined. */
const JOINERS = 500;

interface Size {
  readonly members: number;
  readonly sockets: number;
  readonly layout: Layout;
  readonly perSecond: number;
  readonly processes: number;
  /** Address of the server for a process of the generator: to one address a machine has 28,000 ports. */
  readonly urlOf?: (url: string, process: number) => string;
}

function inChannels(size: number): Size {
  const sockets = Math.min(size, MOST_CLIENTS);
  const layout = { prefix: "own-", channels: size, joins: size / sockets, stride: sockets };
  return { members: size, sockets, layout, perSecond: CHANNELS_PER_SECOND, processes: PROCESSES };
}

function inOne(size: number): Size {
  const layout = { prefix: "hall-", channels: 1, joins: 1, stride: 0 };
  return { members: size, sockets: size, layout, perSecond: MEMBERS_PER_SECOND, processes: PROCESSES };
}

const most: Size = {
  ...inOne(MOST_MEMBERS),
  // Two messages a second to everyone; with 20,000 deliveries there is none in most seconds.
  perSecond: 2 * MOST_MEMBERS,
  processes: 3,
  urlOf: (url, process) => url.replace(/\/\/[^:]+:/, `//127.0.0.${process + 1}:`),
};

/** The same traffic with ever more channels of one member, and with ever more members of one channel. */
export const growth: readonly Scene[] = [
  ...CHANNEL_SIZES.map((size) => ({
    name: `channels-${size}`,
    title: `${size} channels of one member, 100 B, ${CHANNELS_PER_SECOND} messages a second in all; then ${JOINERS} join a new one each`,
    unit: "delivery" as const,
    play: (stage: Stage) => grow(stage, inChannels(size)),
  })),
  ...MEMBER_SIZES.map((size) => ({
    name: `members-${size}`,
    title: `1 channel of ${size} members, 100 B, ${MEMBERS_PER_SECOND} deliveries a second in all; then ${JOINERS} join it`,
    unit: "delivery" as const,
    play: (stage: Stage) => grow(stage, inOne(size)),
  })),
  {
    name: `members-${MOST_MEMBERS}`,
    title: `1 channel of ${MOST_MEMBERS} members with presence = "count" on three workers, 100 B, 2 messages a second; then ${JOINERS} join it`,
    unit: "delivery",
    only: ["ours"],
    config: "crowd.toml",
    play: (stage) => grow(stage, most),
  },
  names,
];

async function grow(stage: Stage, size: Size): Promise<Figures> {
  const { layout, members, perSecond } = size;
  const urlOf = (process: number) => size.urlOf?.(stage.url, process) ?? stage.url;
  const place = { ...stage, url: urlOf(0), dialect: stage.dialect.name, epochMs: Date.now() };
  const pids = withChildren(stage.pid);
  const cpus = (): number[] => pids.map(fineCpuMs);
  const cpu = (): number => cpus().reduce((sum, ms) => sum + ms, 0);
  const observer = await openObserver(place);

  const memory = (): number => pids.reduce((sum, pid) => sum + pssBytes(pid), 0);
  const empty = memory();
  const crowds = await openCrowds(place, size.sockets, size.processes, { urlOf });
  const each = <T>(ask: (crowd: (typeof crowds)[number]) => Promise<T>): Promise<T[]> =>
    Promise.all(crowds.map(ask));
  const generator = async (): Promise<number> =>
    (await each((crowd) => crowd.ask("cpu", null))).reduce((sum, ms) => sum + ms, 0);
  await each((crowd) => crowd.ask("join", layout));
  await each((crowd) => crowd.ask("quiet", null));
  const bytesEach = (memory() - empty) / members;

  /** Each process publishes to its part of the channels; deliveries may be any other's. */
  const send = async (seconds: number) => {
    await each((crowd) => crowd.ask("count", { stampEvery: 1 }));
    const publishers = crowds.slice(0, layout.channels);
    const bounds = publishers.map((_, i) => Math.round((layout.channels * i) / publishers.length));
    const beganAt = Date.now();
    const sent = await Promise.all(
      publishers.map((crowd, i) => {
        const first = bounds[i] ?? 0;
        const channels = (bounds[i + 1] ?? layout.channels) - first;
        // As many messages as make so many deliveries, of which each channel gets its share.
        const messages = (perSecond * layout.channels) / members;
        return crowd.ask("publish", {
          ...{ prefix: layout.prefix, first, channels, bytes: 100, seconds },
          perSecond: (messages * channels) / layout.channels,
        });
      }),
    );
    const expected = sent.reduce((sum, one) => sum + one, 0) * (members / layout.channels);
    const arrived = await received(crowds, expected);
    return { expected, arrived, beganAt, endedAt: Date.now() };
  };
  const short = stage.short ? 2 : 5;
  await send(WARM_SECONDS[stage.short ? "short" : "full"]);
  const before = cpus();
  const load = await generator();
  const sent = await send(short);
  const spent = cpus().map((ms, i) => ms - (before[i] ?? 0));
  const loadMs = (await generator()) - load;
  const figures = await each((crowd) => crowd.ask("figures", null));

  // Observed in the same traffic once more: the observer's own messages would be in the cost.
  await loopDelayMs(place.url);
  await observer.ask("begin", null);
  await send(short);
  const stall = await observer.ask("end", null);
  const loopMs = await loopDelayMs(place.url);

  const [joiners] = await openCrowds(place, JOINERS, 1, { first: members });
  if (joiners === undefined) throw new Error("no one joins");
  const beforeJoins = cpu();
  await joiners.ask("join", { ...layout, channels: layout.channels === 1 ? 1 : members + JOINERS, joins: 1 });
  // The joins are paid for when everyone has been told of them.
  await Promise.all([joiners, ...crowds].map((crowd) => crowd.ask("quiet", null)));
  const joinUs = ((cpu() - beforeJoins) * 1000) / JOINERS;
  await Promise.all([observer, joiners, ...crowds].map((part) => part.stop()));

  const latency = merged(figures);
  return {
    arrived: sent.arrived,
    expected: sent.expected,
    seconds: (sent.endedAt - sent.beganAt) / 1000,
    beganAt: sent.beganAt,
    endedAt: sent.endedAt,
    serverMs: spent.reduce((sum, ms) => sum + ms, 0),
    busiestMs: Math.max(...spent),
    loadMs,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    connectUs: null,
    againUs: null,
    joinUs,
    stallMs: Math.max(stall.worstMs, loopMs ?? 0),
    bytesEach,
    closed: figures.reduce((sum, { closed }) => sum + closed, 0),
  };
}
