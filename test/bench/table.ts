import type { Figures, Scene } from "./scene.ts";

/** What one run found, with the server that it was against. */
export interface Run {
  readonly scene: Scene;
  readonly server: string;
  readonly round: number;
  readonly figures: Figures;
}

/** Medians over the rounds of one server in one scene. */
export interface Summary {
  readonly scene: string;
  readonly server: string;
  readonly unit: Scene["unit"];
  readonly rounds: number;
  /** The server's CPU, user and system, for each delivery, join or push, in us. */
  readonly cpuUs: number;
  /** `cpuUs` over that of the limit; `null` when the limit did not run. */
  readonly ratio: number | null;
  readonly perSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly connectUs: number | null;
  readonly againUs: number | null;
  readonly joinUs: number | null;
  /** The worst of all rounds. */
  readonly stallMs: number | null;
  readonly bytesEach: number | null;
  /** Of the last round. */
  readonly steps: Figures["steps"];
  /** The generator's CPU, in cores: near 1 it is what is measured. */
  readonly loadCores: number;
  /** The worst of all rounds, as a share of what was expected. */
  readonly arrived: number;
  readonly closed: number;
  /** What did not come, of how many, in all rounds together. */
  readonly lost: number;
  readonly expected: number;
}

export function summarize(runs: readonly Run[], reference: string): Summary[] {
  const summaries: Summary[] = [];
  for (const scene of new Set(runs.map((run) => run.scene))) {
    const ofScene = runs.filter((run) => run.scene === scene);
    const base = medianOf(cpuEach(ofScene.filter((run) => run.server === reference)));
    for (const server of new Set(ofScene.map((run) => run.server))) {
      const mine = ofScene.filter((run) => run.server === server).map((run) => run.figures);
      const cpuUs = median(cpuEach(ofScene.filter((run) => run.server === server)));
      summaries.push({
        scene: scene.name,
        server,
        unit: scene.unit,
        rounds: mine.length,
        cpuUs,
        ratio: base === null ? null : cpuUs / base,
        perSecond: median(mine.map((each) => each.arrived / each.seconds)),
        p50Ms: medianOf(mine.map((each) => each.p50Ms)),
        p99Ms: medianOf(mine.map((each) => each.p99Ms)),
        connectUs: medianOf(mine.map((each) => each.connectUs)),
        againUs: medianOf(mine.map((each) => each.againUs)),
        joinUs: medianOf(mine.map((each) => each.joinUs ?? null)),
        stallMs: mostOf(mine.map((each) => each.stallMs)),
        steps: mine.at(-1)?.steps,
        bytesEach: medianOf(mine.map((each) => each.bytesEach)),
        loadCores: median(mine.map((each) => each.loadMs / 1000 / each.seconds)),
        arrived: Math.min(...mine.map((each) => each.arrived / each.expected)),
        closed: mine.reduce((sum, each) => sum + each.closed, 0),
        lost: mine.reduce((sum, each) => sum + each.expected - each.arrived, 0),
        expected: mine.reduce((sum, each) => sum + each.expected, 0),
      });
    }
  }
  return summaries;
}

function cpuEach(runs: readonly Run[]): number[] {
  // A round in which nothing came tells nothing but that.
  const some = runs.filter(({ figures }) => figures.arrived > 0);
  return some.map(({ figures }) => (figures.serverMs * 1000) / figures.arrived);
}

/** `null` where nothing was measured. */
function medianOf(values: readonly (number | null | undefined)[]): number | null {
  const measured = values.filter((value) => typeof value === "number");
  return measured.length === 0 ? null : median(measured);
}

function mostOf(values: readonly (number | undefined)[]): number | null {
  const measured = values.filter((value) => value !== undefined);
  return measured.length === 0 ? null : Math.max(...measured);
}

/** `NaN` of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  return (lower + upper) / 2;
}

const HEAD = [
  "",
  "CPU us",
  "ratio",
  "per s",
  "p50 ms",
  "p99 ms",
  "came",
  "load",
  "connect us",
  "again us",
  "join us",
  "stall ms",
  "KB each",
];

/** A table for people, one block for each scene. */
export function table(summaries: readonly Summary[], scenes: readonly Scene[]): string {
  const lines: string[] = [];
  for (const scene of scenes) {
    const rows = summaries.filter((summary) => summary.scene === scene.name);
    if (rows.length === 0) continue;
    const cells = [[...HEAD], ...rows.map(row)];
    const used = HEAD.map((_, column) => cells.slice(1).some((line) => line[column] !== ""));
    const widths = HEAD.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
    lines.push("", `${scene.name}: ${scene.title}; CPU for each ${scene.unit}`);
    for (const line of cells) {
      const shown = line.map((text, i) =>
        i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0),
      );
      lines.push(`  ${shown.filter((_, i) => used[i]).join("   ")}`);
    }
    const most = Math.max(...rows.map(({ rounds }) => rounds));
    for (const { server, closed, lost, expected, unit, rounds } of rows) {
      if (lost > 0)
        lines.push(
          `  ${server} LOST ${count(lost)} of ${count(expected)}: its CPU is for each ${unit} that came`,
        );
      if (rounds < most) lines.push(`  ${server} played ${rounds} of ${most} rounds`);
      if (closed > 0) lines.push(`  ${server} closed ${closed} connections`);
    }
  }
  return lines.join("\n");
}

function row(summary: Summary): string[] {
  return [
    summary.server,
    number(summary.cpuUs),
    summary.ratio === null ? "" : summary.ratio.toFixed(2),
    Math.round(summary.perSecond).toLocaleString("en"),
    number(summary.p50Ms),
    number(summary.p99Ms),
    `${(Math.floor(summary.arrived * 10_000) / 100).toFixed(summary.arrived === 1 ? 0 : 2)} %`,
    summary.loadCores.toFixed(2),
    number(summary.connectUs),
    number(summary.againUs),
    number(summary.joinUs),
    number(summary.stallMs),
    number(summary.bytesEach === null ? null : summary.bytesEach / 1024),
  ];
}

function count(value: number): string {
  return value.toLocaleString("en");
}

function number(value: number | null): string {
  if (value === null) return "";
  if (!Number.isFinite(value)) return "-";
  return value.toFixed(value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0);
}
