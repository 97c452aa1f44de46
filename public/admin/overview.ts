import { ago, amount, bytes, compact, delay, duration } from "../shared/format.ts";
import { container, element, setText, textElement } from "../shared/page.ts";
import { call, type Snapshot, type Stats } from "./api.ts";
import { isComparable, OverviewCharts, perSecond } from "./overview-charts.ts";

/** Snapshots kept: 10 min at one per 2 s, as on the server. */
const MAX_SNAPSHOTS = 300;

type Counters = Readonly<Record<string, number>>;

/** Intervals in the bus state strip. */
const STRIP_INTERVALS = 50;

/** The overview page: live counters and charts. */
export class Overview {
  readonly #tiles = new Map<
    string,
    { readonly value: HTMLElement; readonly note: HTMLElement; readonly tile: HTMLElement }
  >();
  readonly #charts = new OverviewCharts();
  readonly #strip = textElement("div", "", "strip");
  #snapshots: Snapshot[] = [];

  constructor() {
    const tiles = element("tiles", HTMLElement);
    for (const name of [
      "Bus",
      "Connections",
      "Channels",
      "From the bus",
      "Delivered",
      "Pushed",
      "Buffered",
      "Memory",
    ]) {
      const value = textElement("dd", "–", "value");
      const note = textElement("dd", "", "note");
      const tile = container("div", "tile", textElement("dt", name), value, note);
      tiles.append(tile);
      if (name === "Bus") tile.append(container("dd", "", this.#strip));
      this.#tiles.set(name, { value, note, tile });
    }
    this.#strip.setAttribute("role", "img");
  }

  /** Loads the snapshots that the server keeps: at first, and when the page becomes visible again. */
  async loadHistory(): Promise<void> {
    const answer = await call("GET api/history", { query: { server: "*" } });
    if (answer.ok) this.#snapshots = [...answer.value.snapshots];
  }

  update(stats: Stats): void {
    this.#snapshots.push(stats);
    if (this.#snapshots.length > MAX_SNAPSHOTS) this.#snapshots = this.#snapshots.slice(-MAX_SNAPSHOTS);
    this.#renderTiles(stats);
    this.#charts.update(this.#snapshots);
    this.#renderReasons();
  }

  /** The server does not answer: whether its bus is up is unknown. */
  lost(): void {
    const last = this.#snapshots.at(-1);
    if (last === undefined) return;
    const was = last.bus.live ? "up" : "down";
    this.#tile("Bus", "unknown", `${was} ${ago(last.at)}, as the server said`, "unknown");
  }

  #renderTiles(stats: Stats): void {
    const before = this.#snapshots.at(-2);
    const rate = (of: (snapshot: Snapshot) => number): number =>
      before === undefined || !isComparable(before, stats)
        ? 0
        : perSecond(of(stats) - of(before), stats.at - before.at);
    const { bus } = stats;
    this.#tile(
      "Bus",
      bus.live ? "up" : "down",
      `${bus.kind === "embedded" ? "embedded bus, for " : "for "}${duration(Date.now() - bus.since)}${bus.gaps > 0 ? `, gaps: ${bus.gaps}` : ""}`,
      bus.live ? "good" : "bad",
    );
    this.#renderStrip();
    setText(element("bus-detail", HTMLElement), bus.detail);
    this.#tile("Connections", amount(sum(stats.connections)), protocols(stats.connections));
    const several = (stats.servers?.length ?? 1) > 1;
    this.#tile(
      "Channels",
      amount(stats.channels),
      `${amount(sum(stats.listeners))} memberships${several ? "; counted on each server" : ""}`,
    );
    this.#tile(
      "From the bus",
      `${compact(rate((each) => each.received.messages))}/s`,
      `${bytes(rate((each) => each.received.bytes))}/s`,
    );
    this.#tile(
      "Delivered",
      `${compact(rate((each) => each.delivered.messages))}/s`,
      `${bytes(rate((each) => each.delivered.bytes))}/s`,
    );
    this.#tile(
      "Pushed",
      `${compact(rate((each) => each.pushed.messages))}/s`,
      `${bytes(rate((each) => each.pushed.bytes))}/s`,
    );
    this.#tile("Buffered", bytes(stats.buffered), "for slow clients");
    this.#tile("Memory", bytes(stats.memory), `loop delay ${delay(stats.loop_delay)}`);
    setText(
      element("about", HTMLElement),
      `Channel ${stats.version}, node ${stats.node}, started ${ago(stats.started)}`,
    );
  }

  /** Bus state over time, oldest interval first. An interval with the bus down or a gap is red. */
  #renderStrip(): void {
    const snapshots = this.#snapshots;
    const intervals = Math.min(STRIP_INTERVALS, snapshots.length);
    let down = 0;
    const shown = Array.from({ length: intervals }, (_interval, index) => {
      const from = Math.floor((index * snapshots.length) / intervals);
      const to = Math.floor(((index + 1) * snapshots.length) / intervals);
      const interval = textElement("span", "");
      const seen = snapshots.slice(Math.max(0, from - 1), to);
      const gaps = new Set(seen.map(({ bus }) => bus.gaps)).size > 1;
      const bad = gaps || snapshots.slice(from, to).some(({ bus }) => !bus.live);
      if (bad) down++;
      interval.className = bad ? "bad" : "good";
      return interval;
    });
    this.#strip.setAttribute(
      "aria-label",
      down === 0 ? "Bus up in all intervals" : `Bus down in ${down} of ${intervals} intervals`,
    );
    this.#strip.replaceChildren(...shown);
  }

  #tile(name: string, value: string, note: string, level = ""): void {
    const tile = this.#tiles.get(name);
    if (tile === undefined) return;
    setText(tile.value, value);
    setText(tile.note, note);
    tile.tile.dataset.state = level;
  }

  /** Rejected, dropped and closed by reason: recent (the time shown) and total. */
  #renderReasons(): void {
    const first = this.#snapshots[0];
    const last = this.#snapshots.at(-1);
    if (first === undefined || last === undefined) return;
    for (const kind of ["refused", "dropped", "closed"] as const) {
      const rows = Object.entries(last[kind])
        .filter(([, count]) => count > 0)
        .sort((a, b) => b[1] - a[1])
        .map(([reason, count]) => {
          const recent = count - (first[kind][reason] ?? 0);
          const name = textElement("th", labelOf(reason));
          name.setAttribute("scope", "row");
          return container(
            "tr",
            "",
            name,
            textElement("td", amount(recent), "number"),
            textElement("td", amount(count), "number"),
          );
        });
      const none = container("tr", "", textElement("td", "none", "quiet"));
      element(`reasons-${kind}`, HTMLTableSectionElement).replaceChildren(
        ...(rows.length === 0 ? [none] : rows),
      );
    }
  }
}

/** Labels of reasons that need an explanation. */
const REASON_LABELS: Readonly<Record<string, string>> = {
  unheard: "no subscribers on this server",
  own: "own messages echoed by Redis",
};

function labelOf(reason: string): string {
  return REASON_LABELS[reason] ?? reason.replaceAll("_", " ");
}

function sum(counts: Counters): number {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}

function protocols(counts: Counters): string {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${compact(count)}`)
    .join(", ");
}
