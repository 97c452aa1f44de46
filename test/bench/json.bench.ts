import { isJson } from "../../src/hub/json/is-json.ts";
import { aircraftPayload } from "./payloads.ts";

/**
 * What it costs to say whether a payload is JSON, beside decoding and parsing it: `npx bun test/bench/json.bench.ts`.
 * The two take turns, so that what else the machine does falls on both; the ratio is what to look at.
 */
const ROUND_BYTES = 400_000;
const ROUNDS = 61;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

const traffic = aircraftPayload(213_000, 1);
const spaced = traffic.replaceAll(',"', ', "').replaceAll('":', '": ').replaceAll(",{", ", {");
const texts: Readonly<Record<string, string>> = {
  "status, 100 B":
    '{"el":"uptime","value":"12 days, 3:04:05","at":1763730000.123,"ok":true,"note":null,"list":[1,-2.5]}',
  "aircraft, 1 KB": aircraftPayload(1_000, 2),
  "aircraft, 10 KB": aircraftPayload(10_000, 3),
  "aircraft, 213 KB": traffic,
  "the same, spaced": spaced,
  "the same, indented": JSON.stringify(JSON.parse(traffic), null, 2),
  "prose, 200 KB": JSON.stringify({ text: 'She said "so be it", and left.\nÀ demain! '.repeat(4_500) }),
  "aircraft, 2 MB": aircraftPayload(2_000_000, 4),
  "aircraft, 4 MB": aircraftPayload(4_000_000, 5),
};

function parses(bytes: Uint8Array): boolean {
  try {
    JSON.parse(decoder.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

/** Microseconds for one call. */
function timed(check: (bytes: Uint8Array) => boolean, bytes: Uint8Array): number {
  const times = Math.max(1, Math.round(ROUND_BYTES / bytes.length));
  const start = Bun.nanoseconds();
  for (let time = 0; time < times; time++) {
    if (!check(bytes)) throw new Error("a payload of the benchmark is no JSON");
  }
  return (Bun.nanoseconds() - start) / times / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const start = Bun.nanoseconds();
isJson(encoder.encode("{}"));
console.log(`the first call, which makes the scanner: ${((Bun.nanoseconds() - start) / 1e6).toFixed(1)} ms`);
console.log("median us a payload         bytes    isJson   JSON.parse   ratio");
for (const [name, text] of Object.entries(texts)) {
  const bytes = encoder.encode(text);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(timed(isJson, bytes));
    theirs.push(timed(parses, bytes));
  }
  const [mine, parse] = [median(ours), median(theirs)];
  const columns = [
    mine.toFixed(2).padStart(9),
    parse.toFixed(2).padStart(12),
    (parse / mine).toFixed(1).padStart(7),
  ];
  console.log(`${name.padEnd(20)}${String(bytes.length).padStart(13)} ${columns.join(" ")}`);
}
