import uPlot from "uplot";
import { textElement } from "../shared/page.ts";

/** Height of the plot of a panel in px, by the number of panels. */
const HEIGHTS: readonly number[] = [0, 106, 66, 54];

/** Height of the time axis in px. */
const AXIS = 24;

/** A line gets a panel of its own if it is smaller than the largest of a panel by this factor; `KEEP` once it shares one. */
const SPLIT = 6;
const KEEP = 15;
const MAX_PANELS = HEIGHTS.length - 1;

/** With fewer values than this, each is a dot: a line needs two beside each other. */
const FEW = 20;

const COLORS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4", "--chart-5", "--chart-6"];

export interface Line {
  readonly name: string;
  /** `null`: no value at that time. */
  readonly values: readonly (number | null)[];
}

const dark = matchMedia("(prefers-color-scheme: dark)");

let charts = 0;

/**
 * A chart over time. Lines may be added and removed. Small ones are drawn in a panel below, with an axis of its own, so that
 * they can be read beside large ones.
 */
export class Chart {
  readonly #host: HTMLElement;
  readonly #title: string;
  readonly #format: (value: number) => string;
  readonly #legend: HTMLElement;
  readonly #drawing: HTMLElement;
  /** Joins the pointers of the panels. */
  readonly #sync = `chart-${++charts}`;
  #plots: uPlot[] = [];
  /** Indices of the lines of each panel. */
  #panels: readonly (readonly number[])[] = [];
  #names = "";
  #times: readonly number[] = [];
  #lines: readonly Line[] = [];
  #pointed: number | null = null;

  constructor(host: HTMLElement, title: string, format: (value: number) => string) {
    this.#host = host;
    this.#title = title;
    this.#format = format;
    this.#legend = textElement("p", "", "legend");
    this.#drawing = textElement("div", "", "drawing");
    this.#drawing.setAttribute("role", "img");
    host.append(textElement("h3", title), this.#legend, this.#drawing);
    new ResizeObserver(() => this.#resize()).observe(host);
    dark.addEventListener("change", () => this.#createPlots());
  }

  /**
   * @param times unix seconds, one for each value
   * @param span for screen readers: `last 10 minutes`
   */
  update(times: readonly number[], lines: readonly Line[], span: string): void {
    this.#times = times;
    this.#lines = lines;
    this.#drawing.setAttribute("aria-label", `${this.#title}, over the ${span}`);
    const names = [span, ...lines.map(({ name }) => name)].join("\n");
    const greatest = lines.map(greatestOf);
    if (this.#plots.length === 0 || names !== this.#names || !areReadable(this.#panels, greatest)) {
      this.#names = names;
      this.#panels = panelsOf(greatest);
      this.#createPlots();
    } else for (const [i, plot] of this.#plots.entries()) plot.setData(this.#data(i));
    this.#renderLegend();
  }

  #data(panel: number): uPlot.AlignedData {
    const lines = (this.#panels[panel] ?? []).map((index) => [...(this.#lines[index]?.values ?? [])]);
    return [[...this.#times], ...lines];
  }

  #heightOf(panel: number): number {
    const plot = HEIGHTS[this.#panels.length] ?? 0;
    return panel === this.#panels.length - 1 ? plot + AXIS : plot;
  }

  #resize(): void {
    const width = this.#drawing.clientWidth;
    if (width === 0) return;
    if (this.#plots.length === 0) this.#createPlots();
    else for (const [i, plot] of this.#plots.entries()) plot.setSize({ width, height: this.#heightOf(i) });
  }

  #createPlots(): void {
    const width = this.#drawing.clientWidth;
    if (width === 0 || this.#lines.length === 0) return;
    for (const plot of this.#plots) plot.destroy();
    this.#pointed = null;
    this.#drawing.style.height = `${this.#panels.reduce((sum, _, i) => sum + this.#heightOf(i), 0)}px`;
    this.#plots = this.#panels.map((indices, panel) => this.#createPlot(indices, panel, width));
    this.#renderLegend();
  }

  #createPlot(indices: readonly number[], panel: number, width: number): uPlot {
    const style = getComputedStyle(this.#host);
    const color = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--quiet"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    const isLast = panel === this.#panels.length - 1;
    return new uPlot(
      {
        width,
        height: this.#heightOf(panel),
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { size: 6 },
          sync: { key: this.#sync },
        },
        padding: [8, 14, isLast ? 0 : 8, 0],
        scales: { y: { range: (_plot, _min, max) => [0, max <= 0 || max == null ? 1 : max * 1.1] } },
        axes: [
          {
            ...axis,
            size: isLast ? AXIS : 0,
            space: 70,
            // Parts of a second have no label: it would be that of the second again.
            values: (_plot, splits) =>
              splits.map((at) => (isLast && Number.isInteger(at) ? clockOf(at, this.#isLong) : "")),
          },
          {
            ...axis,
            size: 52,
            space: this.#panels.length > 1 ? 20 : 32,
            values: (_plot, splits) => splits.map((value) => this.#format(value)),
          },
        ],
        series: [
          {},
          ...indices.map((index) => ({
            stroke: color(COLORS[index % COLORS.length] ?? ""),
            width: 1.5,
            points: { show: valuesOf(this.#lines[index]) < FEW, size: 4 },
            ...(indices.length === 1
              ? { fill: `color-mix(in srgb, ${color(COLORS[index % COLORS.length] ?? "")} 14%, transparent)` }
              : {}),
          })),
        ],
        hooks: {
          setCursor: [
            (plot) => {
              this.#pointed = plot.cursor.idx ?? null;
              this.#renderLegend();
            },
          ],
        },
      },
      this.#data(panel),
      this.#drawing,
    );
  }

  /** More than twenty minutes: seconds are not shown. */
  get #isLong(): boolean {
    return (this.#times.at(-1) ?? 0) - (this.#times[0] ?? 0) > 1200;
  }

  /** The legend shows the values under the pointer, otherwise the newest. */
  #renderLegend(): void {
    const items = this.#lines.map(({ name, values }, index) => {
      const value = this.#pointed === null ? values.findLast((each) => each !== null) : values[this.#pointed];
      const item = textElement("span", "", "item");
      const mark = textElement("span", "", "mark");
      mark.style.background = `var(${COLORS[index % COLORS.length]})`;
      item.append(mark, `${name} `, textElement("b", value == null ? "–" : this.#format(value)));
      return item;
    });
    const time = this.#pointed === null ? undefined : this.#times[this.#pointed];
    const when = time === undefined ? "" : clockOf(time, this.#isLong);
    this.#legend.replaceChildren(...items, textElement("span", when, "quiet when"));
  }
}

function greatestOf({ values }: Line): number {
  return values.reduce<number>((greatest, value) => Math.max(greatest, value ?? 0), 0);
}

function valuesOf(line: Line | undefined): number {
  return line?.values.filter((value) => value !== null).length ?? 0;
}

/** Panels of lines of similar size, the largest first. Lines without values share the last one. */
function panelsOf(greatest: readonly number[]): number[][] {
  const order = [...greatest.keys()].sort((a, b) => (greatest[b] ?? 0) - (greatest[a] ?? 0));
  const panels: number[][] = [];
  let top = 0;
  for (const index of order) {
    const value = greatest[index] ?? 0;
    const panel = panels.at(-1);
    if (panel === undefined || (value > 0 && top / value > SPLIT && panels.length < MAX_PANELS)) {
      panels.push([index]);
      top = value;
    } else panel.push(index);
  }
  return panels;
}

/** Whether the lines of each panel are still of similar size. */
function areReadable(panels: readonly (readonly number[])[], greatest: readonly number[]): boolean {
  if (panels.length === MAX_PANELS) return true;
  return panels.every((panel) => {
    const values = panel.map((index) => greatest[index] ?? 0).filter((value) => value > 0);
    return values.length === 0 || Math.max(...values) / Math.min(...values) <= KEEP;
  });
}

function clockOf(seconds: number, short: boolean): string {
  const clock = new Date(seconds * 1000).toLocaleTimeString("en-GB");
  return short ? clock.slice(0, 5) : clock;
}
