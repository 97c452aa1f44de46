/**
 * Draws `growth.svg` from `growth.json`, what `npm run --silent bench -- --growth --json` printed: CPU for each delivery and each join
 * against the number of channels and of members. `npx bun test/bench/plot.ts`
 */
import { join } from "node:path";

interface Point {
  readonly size: number;
  readonly value: number;
}

interface Line {
  readonly server: string;
  readonly points: readonly Point[];
}

interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
}

interface Summary {
  readonly scene: string;
  readonly server: string;
  readonly cpuUs: number;
  readonly joinUs: number | null;
}

const SOURCE = join(import.meta.dir, "growth.json");
const TARGET = join(import.meta.dir, "growth.svg");

const SIZES = [10, 100, 1000, 10_000, 100_000];
const DECADES = SIZES.length - 1;
const COLORS: Readonly<Record<string, string>> = {
  limit: "#7a7a7a",
  ours: "#0b62c4",
  tangram: "#c2410c",
  "socket.io": "#15803d",
};
const SPARE_COLORS = ["#7e22ce", "#a16207", "#be123c"];

const WIDTH = 380;
const HEIGHT = 250;
const LEFT = 58;
const TOP = 34;
const BOTTOM = 40;
const RIGHT = 26;
const LEGEND = 34;

const { summaries }: { summaries: readonly Summary[] } = await Bun.file(SOURCE).json();
const panels: readonly Panel[] = [
  panel("A delivery, by channels of one member", "channels", (summary) => summary.cpuUs),
  panel("A delivery, by members of one channel", "members", (summary) => summary.cpuUs),
  panel("A join of a new channel, by channels", "channels", (summary) => summary.joinUs),
  panel("A join of the channel, by its members", "members", (summary) => summary.joinUs),
];
await Bun.write(TARGET, draw());
console.log(TARGET);

function panel(title: string, kind: string, figureOf: (summary: Summary) => number | null): Panel {
  const servers = [...new Set(summaries.map(({ server }) => server))];
  const lines = servers.map((server) => ({
    server,
    points: SIZES.flatMap((size) => {
      const summary = summaries.find((each) => each.server === server && each.scene === `${kind}-${size}`);
      const value = summary === undefined ? null : figureOf(summary);
      return value === null || value <= 0 ? [] : [{ size, value }];
    }),
  }));
  return { title, lines };
}

function colorOf(server: string): string {
  const strangers = [...new Set(summaries.map((each) => each.server))].filter((name) => !(name in COLORS));
  return COLORS[server] ?? SPARE_COLORS[strangers.indexOf(server) % SPARE_COLORS.length] ?? "#000000";
}

function draw(): string {
  const width = WIDTH * 2;
  const height = HEIGHT * 2 + LEGEND;
  const body = panels.map((each, index) => {
    return `<g transform="translate(${(index % 2) * WIDTH} ${LEGEND + Math.floor(index / 2) * HEIGHT})">${drawPanel(each)}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Server CPU for each delivery and each join against the number of channels and members">
<rect width="${width}" height="${height}" fill="#ffffff"/>
${legend()}
${body.join("\n")}
</svg>
`;
}

function legend(): string {
  const servers = [...new Set(summaries.map(({ server }) => server))];
  const entries = servers.map((server, index) => {
    const x = LEFT + index * 88;
    return `<line x1="${x}" y1="18" x2="${x + 22}" y2="18" stroke="${colorOf(server)}" stroke-width="2.5"/><text x="${x + 28}" y="22" fill="#222222">${server}</text>`;
  });
  return `<g>${entries.join("")}<text x="${WIDTH * 2 - RIGHT}" y="22" text-anchor="end" fill="#555555">us of server CPU; both axes logarithmic</text></g>`;
}

function drawPanel({ title, lines }: Panel): string {
  const values = lines.flatMap(({ points }) => points.map(({ value }) => value));
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
  const x = (size: number) => LEFT + ((Math.log10(size) - 1) / DECADES) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => TOP + ((high - Math.log10(value)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const at = (number: number) => number.toFixed(1);

  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const grid = decades.map((value) => {
    const line = `<line x1="${LEFT}" y1="${at(y(value))}" x2="${WIDTH - RIGHT}" y2="${at(y(value))}" stroke="#dddddd"/>`;
    return `${line}<text x="${LEFT - 6}" y="${at(y(value) + 4)}" text-anchor="end" fill="#555555">${label(value)}</text>`;
  });
  const ticks = SIZES.map((size) => {
    return `<text x="${at(x(size))}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#555555">${size.toLocaleString("en")}</text>`;
  });
  const drawn = lines.map(({ server, points }) => {
    const color = colorOf(server);
    const path = points.map(({ size, value }) => `${at(x(size))},${at(y(value))}`).join(" ");
    const dots = points.map(({ size, value }) => {
      const name = `${server}, ${size.toLocaleString("en")}: ${value.toPrecision(3)} us`;
      return `<circle cx="${at(x(size))}" cy="${at(y(value))}" r="3" fill="${color}"><title>${name}</title></circle>`;
    });
    return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>${dots.join("")}`;
  });
  return `<text x="${LEFT}" y="${TOP - 12}" font-weight="600" fill="#222222">${title}</text>${grid.join("")}${ticks.join("")}${drawn.join("")}`;
}

function label(value: number): string {
  return value >= 1 ? value.toLocaleString("en") : String(value);
}
