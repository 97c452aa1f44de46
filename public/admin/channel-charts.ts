import { bytes, compact } from "../shared/format.ts";
import { container, element, setText } from "../shared/page.ts";
import { call } from "./api.ts";
import { Chart } from "./chart.ts";
import { createRangeSwitch, currentRange, lineOf, sinceNote, spanOf } from "./range.ts";

/** Time between two requests, in ms: the interval of the values, or half of it. */
const PAUSE = { "10m": 10_000, "1h": 30_000, "24h": 30_000 } as const;

/** Charts of one channel. */
export class ChannelCharts {
  readonly #note = element("channel-charts-note", HTMLElement);
  readonly #messages: Chart;
  readonly #bytes: Chart;
  readonly #members: Chart;
  #name = "";
  #loadedAt = Number.NEGATIVE_INFINITY;
  /** A rate needs two samples. */
  #hasRates = false;

  constructor() {
    const charts = element("channel-charts", HTMLElement);
    const chart = (title: string, format: (value: number) => string): Chart => {
      const host = container("div", "chart");
      charts.append(host);
      return new Chart(host, title, format);
    };
    this.#messages = chart("Messages per second", compact);
    this.#bytes = chart("Bytes per second", bytes);
    this.#members = chart("Members", compact);
    createRangeSwitch("channel-range", () => this.#reload());
  }

  open(name: string): void {
    if (name === this.#name) return;
    this.#name = name;
    this.#hasRates = false;
    this.#reload();
  }

  close(): void {
    this.#name = "";
  }

  /** Loads what is new, if it is time. */
  refresh(): void {
    const pause = this.#hasRates ? PAUSE[currentRange()] : 0;
    if (performance.now() - this.#loadedAt >= pause) this.#reload();
  }

  #reload(): void {
    if (this.#name !== "") void this.#load(this.#name);
  }

  async #load(name: string): Promise<void> {
    this.#loadedAt = performance.now();
    const range = currentRange();
    const answer = await call("GET api/channels/{name}/series", { path: name, query: { range } });
    if (name !== this.#name || range !== currentRange()) return;
    if (!answer.ok) return setText(this.#note, answer.error);
    const { value } = answer;
    this.#hasRates = value.values.sent?.some((rate) => rate !== null) ?? false;
    const times = value.at.map((ms) => ms / 1000);
    const span = spanOf(range);
    this.#messages.update(times, [lineOf(value, "sent", "to clients"), lineOf(value, "pushed")], span);
    const sizes = [lineOf(value, "sent_bytes", "to clients"), lineOf(value, "pushed_bytes", "pushed")];
    this.#bytes.update(times, sizes, span);
    this.#members.update(times, [lineOf(value, "members")], span);
    setText(this.#note, sinceNote(value, "members"));
  }
}
