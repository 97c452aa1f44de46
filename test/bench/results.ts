/**
 * Draws `results.svg` from `results.json`, what `npm run --silent bench -- --json` printed: how many times the limit's CPU each server
 * takes in each scene. Prints the rows of the README's table. `npx bun test/bench/results.ts`
 */
import { join } from "node:path";
import { COLORS } from "./chart.ts";
import type { Summary } from "./table.ts";

/** In the order of the table's columns. */
const SERVERS = ["limit", "ours", "nchan", "centrifugo", "phoenix", "socket.io", "tangram"];

const WIDTH = 760;
const LEFT = 110;
const RIGHT = 26;
const TOP = 44;
const ROW = 34;
const BOTTOM = 34;
const ENTRY = 92;
const TICKS = [0.5, 1, 2, 5, 10, 20, 50, 100];

const { summaries }: { summaries: readonly Summary[] } = await Bun.file(
  join(import.meta.dir, "results.json"),
).json();
// Joins are left out: some servers keep presence, which is most of the cost.
const scenes = [...new Set(summaries.filter(({ unit }) => unit !== "join").map(({ scene }) => scene))];
const servers = SERVERS.filter((name) => summaries.some(({ server }) => server === name));

const target = join(import.meta.dir, "results.svg");
await Bun.write(target, draw());
console.log(target);
console.log(`| scene | ${servers.join(" | ")} |`);
for (const scene of scenes) {
  const cells = servers.map((server) =>
    cell(summaries.find((each) => each.scene === scene && each.server === server)),
  );
  console.log(`| \`${scene}\` | ${cells.join(" | ")} |`);
}

function cell(summary: Summary | undefined): string {
  if (summary === undefined) return "";
  const { cpuUs, ratio, server } = summary;
  const cost = cpuUs >= 100 ? Math.round(cpuUs).toLocaleString("en") : cpuUs.toPrecision(3);
  if (ratio === null || server === "limit") return cost;
  return `${cost} (${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(2)})`;
}

function draw(): string {
  const height = TOP + ROW * scenes.length + BOTTOM;
  const end = TOP + ROW * scenes.length;
  const grid = TICKS.map((tick) => {
    const x = left(tick);
    return `<line x1="${x}" y1="${TOP}" x2="${x}" y2="${end}" stroke="${tick === 1 ? "#7a7a7a" : "#dddddd"}"/><text x="${x}" y="${end + 18}" text-anchor="middle" fill="#555555">${tick}</text>`;
  });
  const rows = scenes.map((scene, index) => {
    const y = TOP + ROW * (index + 0.5);
    const dots = servers.map((server) => {
      const ratio = summaries.find((each) => each.scene === scene && each.server === server)?.ratio ?? null;
      if (ratio === null || server === "limit") return "";
      return `<circle cx="${left(ratio)}" cy="${y}" r="5" fill="${COLORS[server]}"><title>${server}, ${scene}: ${ratio.toFixed(2)} times the limit</title></circle>`;
    });
    return `<text x="${LEFT - 10}" y="${y + 4}" text-anchor="end" fill="#222222">${scene}</text><line x1="${LEFT}" y1="${y}" x2="${WIDTH - RIGHT}" y2="${y}" stroke="#eeeeee"/>${dots.join("")}`;
  });
  const legend = servers
    .filter((name) => name !== "limit")
    .map((name, index) => {
      const x = LEFT + index * ENTRY;
      return `<circle cx="${x}" cy="18" r="5" fill="${COLORS[name]}"/><text x="${x + 10}" y="22" fill="#222222">${name}</text>`;
    });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Server CPU of each server in each scene, as a multiple of the limit's">
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
${legend.join("")}<text x="${WIDTH - RIGHT}" y="22" text-anchor="end" fill="#555555">times the limit</text>
${grid.join("")}
${rows.join("\n")}
</svg>
`;
}

/** Position of a ratio; those beyond the axis stand at its ends. */
function left(ratio: number): string {
  const [least = 1] = TICKS;
  const most = TICKS.at(-1) ?? 1;
  const share = Math.log(Math.min(most, Math.max(least, ratio)) / least) / Math.log(most / least);
  return (LEFT + share * (WIDTH - LEFT - RIGHT)).toFixed(1);
}
