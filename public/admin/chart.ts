import uPlot from "uplot";
import { line } from "../shared/page.ts";

/** Height of the drawing, in px. */
const HEIGHT = 130;

const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4", "--chart-5", "--chart-6"];

export interface Line {
  readonly name: string;
  /** `null` where there is none. */
  readonly values: readonly (number | null)[];
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** A chart of the last minutes. Its lines may come and go. */
export class Chart {
  readonly #host: HTMLElement;
  readonly #format: (value: number) => string;
  readonly #legend: HTMLElement;
  readonly #drawing: HTMLElement;
  #plot: uPlot | null = null;
  #names = "";
  #times: readonly number[] = [];
  #lines: readonly Line[] = [];

  constructor(host: HTMLElement, title: string, format: (value: number) => string) {
    this.#host = host;
    this.#format = format;
    this.#legend = line("p", "", "legend");
    this.#drawing = line("div", "", "drawing");
    this.#drawing.setAttribute("role", "img");
    this.#drawing.setAttribute("aria-label", `${title}, over the last minutes`);
    host.append(line("h3", title), this.#legend, this.#drawing);
    new ResizeObserver(() => this.#fit()).observe(host);
    dark.addEventListener("change", () => this.#make());
  }

  /** @param times unix seconds, one for each value */
  show(times: readonly number[], lines: readonly Line[]): void {
    this.#times = times;
    this.#lines = lines;
    const names = lines.map(({ name }) => name).join("\n");
    if (this.#plot === null || names !== this.#names) {
      this.#names = names;
      this.#make();
    } else this.#plot.setData(this.#data());
    this.#tell();
  }

  #data(): uPlot.AlignedData {
    return [[...this.#times], ...this.#lines.map(({ values }) => [...values])];
  }

  #fit(): void {
    const width = this.#drawing.clientWidth;
    if (width === 0) return;
    if (this.#plot === null) this.#make();
    else this.#plot.setSize({ width, height: HEIGHT });
  }

  #make(): void {
    const width = this.#drawing.clientWidth;
    if (width === 0 || this.#lines.length === 0) return;
    this.#plot?.destroy();
    const style = getComputedStyle(this.#host);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--quiet"),
      grid: { stroke: colour("--line"), width: 1 },
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
            stroke: colour(COLOURS[index % COLOURS.length] ?? ""),
            width: 1.5,
            points: { show: false },
            ...(index === 0 && this.#lines.length === 1
              ? { fill: `color-mix(in srgb, ${colour("--chart-1")} 14%, transparent)` }
              : {}),
          })),
        ],
        hooks: { setCursor: [() => this.#tell()] },
      },
      this.#data(),
      this.#drawing,
    );
    this.#tell();
  }

  /** The legend says the values under the pointer, else the newest. */
  #tell(): void {
    const at = this.#plot?.cursor.idx ?? this.#times.length - 1;
    const items = this.#lines.map(({ name, values }, index) => {
      const item = line("span", "", "item");
      const mark = line("span", "", "mark");
      mark.style.background = `var(${COLOURS[index % COLOURS.length]})`;
      item.append(mark, `${name} `, line("b", this.#format(values[at] ?? 0)));
      return item;
    });
    const time = this.#times[at];
    const when = this.#plot?.cursor.idx == null || time === undefined ? "" : clockOf(time);
    this.#legend.replaceChildren(...items, line("span", when, "quiet when"));
  }
}

function clockOf(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
