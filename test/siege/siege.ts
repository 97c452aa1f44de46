/**
 * `npm run siege`: what one attacker costs 100 honest clients, for every attack. Bounded in count and time, on loopback
 * only. Prints the table of docs/security.md; exits with 1 if a target is missed.
 */
import { parseArgs } from "node:util";
import { type Attack, attacks } from "./attacks.ts";
import { BASELINE, type Siege, startSiege } from "./run.ts";

const USAGE = `npm run siege -- [options]
  --seconds N    of each attack (60)
  --only a,b     only these: none, ${attacks.map(({ name }) => name).join(", ")}
  --json         every figure, and the server's log where a target is missed`;

/** The targets of every attack. */
const MAX_P99_MS = 10;
const MAX_PEAK_BYTES = 150e6;

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    seconds: { type: "string", default: "60" },
    only: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const seconds = Number(values.seconds);
const all: readonly (Attack | typeof BASELINE)[] = [BASELINE, ...attacks];
const names = values.only?.split(",");
const chosen = names === undefined ? all : all.filter(({ name }) => names.includes(name));
if (values.help || !(seconds > 0) || chosen.length < (names?.length ?? 1)) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}

const done: Siege[] = [];
for (const attack of chosen) {
  const siege = await startSiege(attack, seconds);
  done.push(siege);
  console.error(`${siege.name}: ${row(siege).slice(1).join(", ")}${missed(siege) ? "  MISSED" : ""}`);
}
const HEAD = ["attack", "CPU", "peak memory", "p99", "gaps", "lost", "into Redis"];
if (values.json) console.log(JSON.stringify(done, null, 2));
else {
  console.log(`\n| ${HEAD.join(" | ")} |\n|${" --- |".repeat(HEAD.length)}`);
  for (const siege of done) console.log(`| ${[siege.title, ...row(siege).slice(1)].join(" | ")} |`);
}
process.exit(done.some(missed) ? 1 : 0);

function missed({ gaps, lost, p99Ms, peakBytes, exitCode }: Siege): boolean {
  const slow = (p99Ms ?? Number.POSITIVE_INFINITY) > MAX_P99_MS;
  return gaps > 0 || lost > 0 || exitCode !== 0 || slow || peakBytes > MAX_PEAK_BYTES;
}

function row({ name, cpuPercent, peakBytes, p99Ms, gaps, lost, redisBytes }: Siege): string[] {
  return [
    name,
    `${cpuPercent.toFixed(0)} %`,
    `${(peakBytes / 1e6).toFixed(0)} MB`,
    p99Ms === null ? "none" : `${p99Ms.toFixed(1)} ms`,
    String(gaps),
    String(lost),
    redisBytes === null ? "" : `${(redisBytes / 1e6).toFixed(1)} MB`,
  ];
}
