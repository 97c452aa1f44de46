/** `npm run bench`: our server beside the least that the runtime can do, in alternating rounds. README.md says more. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { startRedis } from "../integration/redis-process.ts";
import { dialects } from "./dialects.ts";
import type { Peer } from "./peer.ts";
import { peers } from "./peers.ts";
import { playOnce } from "./play.ts";
import { hottest } from "./profile.ts";
import type { Figures, Scene } from "./scene.ts";
import { growth } from "./scenes/growth.ts";
import { scenes } from "./scenes.ts";
import {
  type Contender,
  fail,
  limit,
  limitWithPresence,
  ours,
  oursHistory,
  oursLatest,
  oursTrusted,
  oursWithoutPresence,
  parseStranger,
  SECRET,
  twin,
} from "./servers.ts";
import { type Run, summarize, table } from "./table.ts";

const USAGE = `npm run bench -- [options]
  --scenes a,b          only these: ${scenes.map(({ name }) => name).join(", ")}
  --rounds N            rounds for each scene (5; with --short 3)
  --short               seconds instead of minutes, small crowds: finds regressions, gives no figure to quote
  --only a,b            only these servers: limit, limit+presence, limit-again, ours, ours-latest, ours-history, ours-trusted, ours-no-presence, ${peers.map(({ name }) => name).join(", ")}, or the name of a --server
  --server name=[dialect+]ws://host:port[/path]   one more server, already running on this machine; dialects:
                        ${dialects.map(({ name }) => name).join(", ")}; without one phoenix
  --redis-url URL       use this Redis, as the servers of --server do, instead of starting one
  --jwt-secret TEXT     secret of the tokens that everyone joins with, where a --server checks them
  --growth              instead of the scenes the same traffic with 10 to 100,000 channels and 50,000 members, and a million names
  --profile             run the servers from source under the CPU profiler and print their hottest functions
  --json                print every run and the medians as JSON instead of the table`;

const { values } = parse({
  args: Bun.argv.slice(2),
  options: {
    scenes: { type: "string" },
    rounds: { type: "string" },
    short: { type: "boolean", default: false },
    only: { type: "string" },
    server: { type: "string", multiple: true, default: [] },
    "redis-url": { type: "string" },
    "jwt-secret": { type: "string", default: SECRET },
    growth: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

const chosen =
  values.scenes === undefined
    ? values.growth
      ? growth
      : scenes
    : pick([...scenes, ...growth], values.scenes, "scene");
const strangers = values.server.map(parseStranger);
const others: readonly Contender[] = [...peers, ...strangers];
const contenders =
  values.only === undefined
    ? [
        limit,
        limitWithPresence,
        ours,
        oursLatest,
        oursHistory,
        oursTrusted,
        oursWithoutPresence,
        ...available(peers),
        ...strangers,
      ]
    : pick(
        [
          limit,
          limitWithPresence,
          twin,
          ours,
          oursLatest,
          oursHistory,
          oursTrusted,
          oursWithoutPresence,
          ...others,
        ],
        values.only,
        "server",
      );
const rounds = Number(values.rounds ?? (values.profile ? 1 : values.short ? 3 : 5));
if (!Number.isInteger(rounds) || rounds < 1)
  fail(`--rounds ${values.rounds}: a whole number from 1 is needed`);

const redis = values["redis-url"] === undefined ? await startRedis() : null;
const redisUrl = values["redis-url"] ?? redis?.url ?? "";
const runs: Run[] = [];
const failed = new Set<string>();
const profiles: string[] = [];
try {
  for (const scene of chosen) {
    for (let round = 1; round <= rounds; round++) {
      // Every other round in reverse, so that whatever drifts does not always meet the same server.
      for (const contender of round % 2 === 1 ? contenders : contenders.toReversed()) {
        if (scene.groups && !contender.groups) continue;
        if (scene.peers === false && others.includes(contender)) continue;
        if (scene.only?.includes(contender.name) === false) continue;
        if (contender.only?.includes(scene.name) === false) continue;
        if (failed.has(`${contender.name} did not finish ${scene.name}`)) continue;
        if (round > (contender.most?.[scene.name] ?? rounds)) continue;
        const figures = await play(scene, contender).catch((error: unknown) => {
          // Whether a peer can do it at all is a finding; whether we can is a condition.
          if (!others.includes(contender)) throw error;
          console.error(error);
          return null;
        });
        if (figures === null) {
          failed.add(`${contender.name} did not finish ${scene.name}`);
          continue;
        }
        runs.push({ scene, server: contender.name, round, figures });
        const each = (figures.serverMs * 1000) / figures.arrived;
        const lost = figures.expected - figures.arrived;
        const lack = lost > 0 ? `, LOST ${lost} of ${figures.expected}` : "";
        console.error(`${scene.name} ${round}/${rounds} ${contender.name}: ${each.toFixed(3)} us${lack}`);
      }
    }
  }
} finally {
  await redis?.stop();
}

const summaries = summarize(runs, limit.name);
if (values.json) {
  const plain = runs.map(({ scene, ...run }) => ({ scene: scene.name, ...run }));
  const measured = { short: values.short, rounds, summaries, failed: [...failed], runs: plain };
  console.log(JSON.stringify(measured, null, 2));
} else {
  console.log(table(summaries, chosen));
  for (const sentence of failed) console.log(`\n${sentence}`);
  for (const text of profiles) console.log(`\n${text}`);
}

async function play(scene: Scene, contender: Contender): Promise<Figures> {
  const { figures, profile } = await playOnce(scene, contender, {
    redisUrl,
    secret: values["jwt-secret"],
    form: values.short ? "short" : "full",
    profile: values.profile,
  });
  if (profile !== null) {
    const lines = hottest(profile, figures.beganAt, figures.endedAt);
    profiles.push([`${scene.name}, ${contender.name} (${profile})`, ...lines].join("\n"));
  }
  return figures;
}

/** Those peers that this machine can run; what the others want is told. */
function available(all: readonly Peer[]): Contender[] {
  return all.filter(({ name, lacks }) => {
    const lacking = lacks();
    if (lacking !== null) console.error(`without ${name}: ${lacking}`);
    return lacking === null;
  });
}

function pick<T extends { readonly name: string }>(
  all: readonly T[],
  names: string | undefined,
  what: string,
): T[] {
  if (names === undefined) return [...all];
  return names.split(",").map((name) => {
    const found = all.find((each) => each.name === name);
    if (found === undefined)
      fail(`no ${what} is called ${name}: there are ${all.map((each) => each.name).join(", ")}`);
    return found;
  });
}

/** An unknown option is one line and no stack trace. */
function parse<const T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}
