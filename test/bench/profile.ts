import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

interface Node {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface CpuProfile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  /** us since the sample before, the first since `startTime`. */
  readonly timeDeltas: readonly number[];
  /** Unix time in us. */
  readonly startTime: number;
}

const SHOWN = 20;

/**
 * The functions of a `.cpuprofile` that were running most often between two times (Unix, in ms), as lines of text. What
 * the runtime does itself stands under the function of ours that asked for it. Samples are counted, and not the time
 * between them, since an idle process is not sampled.
 */
export function hottest(folder: string, from: number, until: number): string[] {
  const file = readdirSync(folder).find((name) => name.endsWith(".cpuprofile"));
  if (file === undefined) return [`no profile was written into ${folder}`];
  const profile: CpuProfile = JSON.parse(readFileSync(join(folder, file), "utf8"));
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children } of profile.nodes) for (const child of children ?? []) parents.set(child, id);

  const nameOf = (id: number): string => {
    const node = nodes.get(id);
    if (node === undefined) return "?";
    const { functionName, url, lineNumber } = node.callFrame;
    const name = functionName || "(anonymous)";
    if (url !== "") return `${name} ${basename(url)}:${lineNumber}`;
    const parent = parents.get(id);
    return parent === undefined ? name : `${name} < ${nameOf(parent)}`;
  };

  const samples = new Map<string, number>();
  let total = 0;
  let at = profile.startTime;
  profile.samples.forEach((id, i) => {
    at += profile.timeDeltas[i] ?? 0;
    if (at / 1000 < from || at / 1000 > until) return;
    const name = nameOf(id);
    samples.set(name, (samples.get(name) ?? 0) + 1);
    total++;
  });
  const lines = [...samples]
    .sort((a, b) => b[1] - a[1])
    .slice(0, SHOWN)
    .map(([name, count]) => `${((count / total) * 100).toFixed(1).padStart(6)} %  ${name}`);
  return [`${total} samples while it was measured`, ...lines];
}
