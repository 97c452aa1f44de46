/** Line charts as SVG: panels side by side, each with logarithmic axes and a line for each server. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Line {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** Values that the axis names, the least and the greatest included. */
  readonly ticks: readonly number[];
  readonly unit: string;
}

export interface Chart {
  /** For those who do not see it. */
  readonly label: string;
  /** At the right of the legend. */
  readonly note: string;
  readonly panels: readonly Panel[];
}

/** Color of each server, the same in every picture. */
export const COLORS: Readonly<Record<string, string>> = {
  limit: "#7a7a7a",
  ours: "#0b62c4",
  tangram: "#c2410c",
  "socket.io": "#15803d",
  centrifugo: "#7e22ce",
  phoenix: "#a16207",
  nchan: "#0f766e",
};
const SPARE_COLORS = ["#be123c", "#4d7c0f"];

const COLUMNS = 2;
const WIDTH = 380;
const HEIGHT = 250;
const LEFT = 58;
const TOP = 34;
const BOTTOM = 40;
const RIGHT = 26;
const LEGEND = 34;
const ENTRY = 88;

export function drawChart({ label, note, panels }: Chart): string {
  const names = [...new Set(panels.flatMap(({ lines }) => lines.map(({ name }) => name)))];
  const colorOf = (name: string): string => {
    const others = names.filter((each) => !(each in COLORS));
    return COLORS[name] ?? SPARE_COLORS[others.indexOf(name) % SPARE_COLORS.length] ?? "#000000";
  };
  const width = WIDTH * COLUMNS;
  const height = HEIGHT * Math.ceil(panels.length / COLUMNS) + LEGEND;
  const body = panels.map((each, index) => {
    const x = (index % COLUMNS) * WIDTH;
    const y = LEGEND + Math.floor(index / COLUMNS) * HEIGHT;
    return `<g transform="translate(${x} ${y})">${drawPanel(each, colorOf)}</g>`;
  });
  const entries = names.map((name, index) => {
    const x = LEFT + index * ENTRY;
    return `<line x1="${x}" y1="18" x2="${x + 22}" y2="18" stroke="${colorOf(name)}" stroke-width="2.5"/><text x="${x + 28}" y="22" fill="#222222">${name}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${label}">
<rect width="${width}" height="${height}" fill="#ffffff"/>
<g>${entries.join("")}<text x="${width - RIGHT}" y="22" text-anchor="end" fill="#555555">${note}</text></g>
${body.join("\n")}
</svg>
`;
}

/** Powers of ten that enclose all values, as exponents. */
export function decadesOf(values: readonly number[]): { readonly low: number; readonly high: number } {
  const low = Math.floor(Math.log10(Math.min(...values)));
  return { low, high: Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)))) };
}

/** Powers of ten, twice and five times them, that enclose a range of 1,000 to 10,000,000. */
export function ticksBetween(least: number, most: number): number[] {
  const steps = [1, 2, 5]
    .flatMap((step) => [3, 4, 5, 6, 7].map((power) => step * 10 ** power))
    .sort((a, b) => a - b);
  const first = steps.findLast((step) => step <= least) ?? 1000;
  const last = steps.find((step) => step >= most) ?? 1e7;
  return steps.filter((step) => step >= first && step <= last);
}

function drawPanel({ title, lines, ticks, unit }: Panel, colorOf: (name: string) => string): string {
  const { low, high } = decadesOf(lines.flatMap(({ points }) => points.map(({ y }) => y)));
  const from = Math.log10(Math.min(...ticks));
  const to = Math.log10(Math.max(...ticks));
  const left = (x: number) => LEFT + ((Math.log10(x) - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const top = (y: number) => TOP + ((high - Math.log10(y)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const at = (number: number) => number.toFixed(1);

  const grid = Array.from({ length: high - low + 1 }, (_, i) => {
    const y = top(10 ** (low + i));
    const line = `<line x1="${LEFT}" y1="${at(y)}" x2="${WIDTH - RIGHT}" y2="${at(y)}" stroke="#dddddd"/>`;
    return `${line}<text x="${LEFT - 6}" y="${at(y + 4)}" text-anchor="end" fill="#555555">${amount(10 ** (low + i))}</text>`;
  });
  const scale = ticks.map((value) => {
    return `<text x="${at(left(value))}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#555555">${amount(value)}</text>`;
  });
  const drawn = lines.map(({ name, points }) => {
    const color = colorOf(name);
    const path = points.map(({ x, y }) => `${at(left(x))},${at(top(y))}`).join(" ");
    const dots = points.map(({ x, y }) => {
      const tip = `${name}, ${amount(x)}: ${y.toPrecision(3)} ${unit}`;
      return `<circle cx="${at(left(x))}" cy="${at(top(y))}" r="3" fill="${color}"><title>${tip}</title></circle>`;
    });
    return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>${dots.join("")}`;
  });
  return `<text x="${LEFT}" y="${TOP - 12}" font-weight="600" fill="#222222">${title}</text>${grid.join("")}${scale.join("")}${drawn.join("")}`;
}

function amount(value: number): string {
  return value >= 1 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}
