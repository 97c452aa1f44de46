import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

interface Node {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
}

interface CpuProfile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const SHOWN = 20;

/** The functions of a `.cpuprofile` in which most time was spent themselves, as lines of text. */
export function hottest(folder: string): string[] {
  const file = readdirSync(folder).find((name) => name.endsWith(".cpuprofile"));
  if (file === undefined) return [`no profile was written into ${folder}`];
  const profile: CpuProfile = JSON.parse(readFileSync(join(folder, file), "utf8"));
  const names = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    const place = callFrame.url === "" ? "" : ` ${basename(callFrame.url)}:${callFrame.lineNumber + 1}`;
    names.set(id, `${callFrame.functionName || "(anonymous)"}${place}`);
  }
  const spent = new Map<string, number>();
  let total = 0;
  profile.samples.forEach((id, i) => {
    const name = names.get(id) ?? "?";
    const us = profile.timeDeltas[i] ?? 0;
    spent.set(name, (spent.get(name) ?? 0) + us);
    total += us;
  });
  return [...spent]
    .sort((a, b) => b[1] - a[1])
    .slice(0, SHOWN)
    .map(([name, us]) => `${((us / total) * 100).toFixed(1).padStart(6)} %  ${name}`);
}
