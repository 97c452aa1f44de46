/**
 * The soak: mixed traffic (Phoenix V1 and V2 over WebSocket, long polling, event groups) with clients that connect and disconnect
 * and a Redis that is restarted, for as long as asked. Then memory and descriptors must be where they were, and what
 * the server counted must add up with what was sent and received here.
 *
 *     npx bun test/soak/soak.ts --minutes 60 --out /tmp/soak
 *
 * writes samples.csv and report.json there and exits with 1 if a check fails.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Check, judge } from "./checks.ts";
import { runSoak } from "./run.ts";
import { toCsv } from "./samples.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    clients: { type: "string", default: "120" },
    out: { type: "string", default: "." },
  },
});

const seconds = Number(values.minutes) * 60;
if (!(seconds > 0)) throw new Error("--minutes is a number above 0");
mkdirSync(values.out, { recursive: true });
const soak = await runSoak({
  seconds,
  clients: Number(values.clients),
  pauseBetweenOutages: Math.min(180, Math.max(5, seconds / 4)),
  sampleEvery: Math.min(10, Math.max(1, seconds / 20)),
  progress: (samples) => writeFileSync(join(values.out, "samples.csv"), toCsv(samples)),
});
const checks: Check[] = judge(soak);
const report = { ...soak.report, checks };
writeFileSync(join(values.out, "report.json"), `${JSON.stringify(report, null, 2)}\n`);
writeFileSync(join(values.out, "server.log"), soak.log);
console.log(JSON.stringify(report, null, 2));
process.exit(checks.every(({ holds }) => holds) ? 0 : 1);
