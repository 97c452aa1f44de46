/**
 * The fuzzer: `npx bun test/fuzz/run.ts --inputs 10000000 --seed 7`. No handler may throw, no memory may leak, and
 * what clients receive and what the hub stores must match a model. The same seed gives the same inputs.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Date.now() % 1e9) },
    only: { type: "string" },
  },
});
const report = await fuzz({
  inputs: Number(values.inputs),
  seed: Number(values.seed),
  only: values.only ?? null,
  progress: (line) => console.error(line),
});
console.log(JSON.stringify(report, null, 2));
process.exit(report.findings.length === 0 ? 0 : 1);
