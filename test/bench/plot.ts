/**
 * Draws `growth.svg` from `growth.json`, what `npm run --silent bench -- --growth --json` printed: CPU and the longest wait against the
 * number of channels, of members and of names. `npx bun test/bench/plot.ts`
 */
import { join } from "node:path";
import { drawChart, type Panel } from "./chart.ts";
import { CHANNEL_SIZES, MEMBER_SIZES, MOST_MEMBERS } from "./scenes/growth.ts";
import { NAMES } from "./scenes/names.ts";
import type { Summary } from "./table.ts";

const SOURCE = join(import.meta.dir, "growth.json");
const TARGET = join(import.meta.dir, "growth.svg");

const { summaries }: { summaries: readonly Summary[] } = await Bun.file(SOURCE).json();
const servers = [...new Set(summaries.map(({ server }) => server))];

type Kind = "channels" | "members";
const SIZES: Readonly<Record<Kind, readonly number[]>> = {
  channels: CHANNEL_SIZES,
  members: [...MEMBER_SIZES, MOST_MEMBERS],
};

const cpu = (summary: Summary) => summary.cpuUs;
const joining = (summary: Summary) => summary.joinUs;
const stall = (summary: Summary) => summary.stallMs;

const chart = drawChart({
  label:
    "Server CPU for each delivery, join and name, and the longest wait, against the number of channels, members and names",
  note: "server CPU in us, waits in ms; axes logarithmic",
  panels: [
    panel("A delivery, us, by channels of one member", "channels", "us", cpu),
    panel("A delivery, us, by members of one channel", "members", "us", cpu),
    panel("A join of a new channel, us, by channels", "channels", "us", joining),
    panel("A join of the channel, us, by its members", "members", "us", joining),
    panel("Longest wait, ms, by channels", "channels", "ms", stall),
    panel("Longest wait, ms, by members", "members", "ms", stall),
    steps("A message to a new name, us, by names seen", "us", ({ us }) => us),
    steps("Memory, MB, by names seen", "MB", ({ bytes }) => bytes / 1e6),
  ].filter(({ lines }) => lines.some(({ points }) => points.length > 0)),
});
await Bun.write(TARGET, chart);
console.log(TARGET);

function panel(
  title: string,
  kind: Kind,
  unit: string,
  figureOf: (summary: Summary) => number | null,
): Panel {
  const sizes = SIZES[kind];
  const lines = servers.map((server) => ({
    name: server,
    points: sizes.flatMap((size) => {
      const summary = summaries.find((each) => each.server === server && each.scene === `${kind}-${size}`);
      // A file of before has not all of them.
      const value = summary === undefined ? 0 : (figureOf(summary) ?? 0);
      return value <= 0 ? [] : [{ x: size, y: value }];
    }),
  }));
  const ticks = sizes.filter(
    (size) => size <= Math.max(...lines.flatMap(({ points }) => points.map(({ x }) => x))),
  );
  return { title, lines, ticks, unit };
}

function steps(
  title: string,
  unit: string,
  figureOf: (step: NonNullable<Summary["steps"]>[number]) => number,
): Panel {
  const lines = servers.map((server) => {
    const found = summaries.find((each) => each.server === server && each.steps !== undefined)?.steps ?? [];
    return {
      name: server,
      points: found.map((step, i) => ({ x: ((i + 1) * NAMES) / found.length, y: figureOf(step) })),
    };
  });
  return { title, lines, ticks: [NAMES / 10, NAMES / 2, NAMES], unit };
}
