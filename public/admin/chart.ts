import uPlot from "uplot";
import { textElement } from "../shared/page.ts";

/** Height of the plot in px. */
const HEIGHT = 130;

const COLORS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4", "--chart-5", "--chart-6"];

export interface Line {
  readonly name: string;
  /** `null`: no value at that time. */
  readonly values: readonly (number | null)[];
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** A chart of the last minutes. Lines may be added and removed. */
export class Chart {
  readonly #host: HTMLElement;
  readonly #format: (value: number) => string;
  readonly #legend: HTMLElement;
  readonly #plotHost: HTMLElement;
  #plot: uPlot | null = null;
  #names = "";
  #times: readonly number[] = [];
  #lines: readonly Line[] = [];

  constructor(host: HTMLElement, title: string, format: (value: number) => string) {
    this.#host = host;
    this.#format = format;
    this.#legend = textElement("p", "", "legend");
    this.#plotHost = textElement("div", "", "drawing");
    this.#plotHost.setAttribute("role", "img");
    this.#plotHost.setAttribute("aria-label", `${title}, over the last minutes`);
    host.append(textElement("h3", title), this.#legend, this.#plotHost);
    new ResizeObserver(() => this.#resize()).observe(host);
    dark.addEventListener("change", () => this.#createPlot());
  }

  /** @param times unix seconds, one for each value */
  update(times: readonly number[], lines: readonly Line[]): void {
    this.#times = times;
    this.#lines = lines;
    const names = lines.map(({ name }) => name).join("\n");
    if (this.#plot === null || names !== this.#names) {
      this.#names = names;
      this.#createPlot();
    } else this.#plot.setData(this.#data());
    this.#renderLegend();
  }

  #data(): uPlot.AlignedData {
    return [[...this.#times], ...this.#lines.map(({ values }) => [...values])];
  }

  #resize(): void {
    const width = this.#plotHost.clientWidth;
    if (width === 0) return;
    if (this.#plot === null) this.#createPlot();
    else this.#plot.setSize({ width, height: HEIGHT });
  }

  #createPlot(): void {
    const width = this.#plotHost.clientWidth;
    if (width === 0 || this.#lines.length === 0) return;
    this.#plot?.destroy();
    const style = getComputedStyle(this.#host);
    const color = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: color("--quiet"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    this.#plot = new uPlot(
      {
        width,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
        padding: [8, 14, 0, 0],
        scales: { y: { range: (_plot, _min, max) => [0, max <= 0 || max == null ? 1 : max * 1.1] } },
        axes: [
          { ...axis, size: 24, space: 70, values: (_plot, splits) => splits.map(clockOf) },
          {
            ...axis,
            size: 52,
            space: 32,
            values: (_plot, splits) => splits.map((value) => this.#format(value)),
          },
        ],
        series: [
          {},
          ...this.#lines.map((_line, index) => ({
            stroke: color(COLORS[index % COLORS.length] ?? ""),
            width: 1.5,
            points: { show: false },
            ...(index === 0 && this.#lines.length === 1
              ? { fill: `color-mix(in srgb, ${color("--chart-1")} 14%, transparent)` }
              : {}),
          })),
        ],
        hooks: { setCursor: [() => this.#renderLegend()] },
      },
      this.#data(),
      this.#plotHost,
    );
    this.#renderLegend();
  }

  /** The legend shows the values under the pointer, otherwise the newest. */
  #renderLegend(): void {
    const at = this.#plot?.cursor.idx ?? this.#times.length - 1;
    const items = this.#lines.map(({ name, values }, index) => {
      const item = textElement("span", "", "item");
      const mark = textElement("span", "", "mark");
      mark.style.background = `var(${COLORS[index % COLORS.length]})`;
      item.append(mark, `${name} `, textElement("b", this.#format(values[at] ?? 0)));
      return item;
    });
    const time = this.#times[at];
    const when = this.#plot?.cursor.idx == null || time === undefined ? "" : clockOf(time);
    this.#legend.replaceChildren(...items, textElement("span", when, "quiet when"));
  }
}

function clockOf(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
