import { ago, amount, bytes, compact, duration } from "../shared/format.ts";
import { container, element, setText, textElement } from "../shared/page.ts";
import { call, type Snapshot, type Stats } from "./api.ts";
import { Chart, type Line } from "./chart.ts";

/** Snapshots kept: 10 min at one per 2 s, as on the server. */
const MAX_SNAPSHOTS = 300;

/** Maximum lines per chart. */
const MAX_LINES = 5;

type Counters = Readonly<Record<string, number>>;

/** Intervals in the bus state strip. */
const STRIP_INTERVALS = 50;

/** The overview page: live counters and charts. */
export class Overview {
  readonly #tiles = new Map<
    string,
    { readonly value: HTMLElement; readonly note: HTMLElement; readonly tile: HTMLElement }
  >();
  readonly #charts: Record<"connections" | "messages" | "bytes" | "errors" | "delay" | "memory", Chart>;
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
    const charts = element("charts", HTMLElement);
    const chart = (title: string, format: (value: number) => string): Chart => {
      const host = container("section", "chart");
      charts.append(host);
      return new Chart(host, title, format);
    };
    this.#charts = {
      connections: chart("Connections", compact),
      messages: chart("Messages per second", compact),
      bytes: chart("Bytes per second", bytes),
      errors: chart("Rejected, dropped and closed per second", compact),
      delay: chart("Event loop delay", (value) => `${compact(value)} ms`),
      memory: chart("Memory", bytes),
    };
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
    this.#renderCharts();
    this.#renderReasons();
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
    this.#tile("Memory", bytes(stats.memory), `loop delay ${stats.loop_delay} ms`);
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

  #renderCharts(): void {
    const { connections, messages, bytes: traffic, errors, delay, memory } = this.#charts;
    const snapshots = this.#snapshots;
    const times = snapshots.map(({ at }) => at / 1000);
    const rates = (of: (snapshot: Snapshot) => number): (number | null)[] =>
      snapshots.map((snapshot, index) => {
        const before = snapshots[index - 1];
        return before === undefined || !isComparable(before, snapshot)
          ? null
          : perSecond(of(snapshot) - of(before), snapshot.at - before.at);
      });
    const last = snapshots.at(-1);
    if (last === undefined) return;
    connections.update(
      times,
      Object.keys(last.connections).map((name) => ({
        name,
        values: snapshots.map((snapshot) => snapshot.connections[name] ?? 0),
      })),
    );
    messages.update(times, [
      { name: "from the bus", values: rates((each) => each.received.messages) },
      { name: "delivered", values: rates((each) => each.delivered.messages) },
      { name: "pushed", values: rates((each) => each.pushed.messages) },
    ]);
    traffic.update(times, [
      { name: "from the bus", values: rates((each) => each.received.bytes) },
      { name: "delivered", values: rates((each) => each.delivered.bytes) },
      { name: "pushed", values: rates((each) => each.pushed.bytes) },
    ]);
    errors.update(times, errorLines(snapshots, rates));
    delay.update(times, [{ name: "maximum", values: snapshots.map((each) => each.loop_delay) }]);
    memory.update(times, [
      { name: "resident", values: snapshots.map((each) => each.memory) },
      { name: "buffered for clients", values: snapshots.map((each) => each.buffered) },
    ]);
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

/** Whether two snapshots are sums of the same servers. */
function isComparable(one: Snapshot, other: Snapshot): boolean {
  return (one.servers ?? []).join() === (other.servers ?? []).join();
}

function perSecond(difference: number, ms: number): number {
  // A smaller counter: the server was restarted.
  return ms <= 0 || difference < 0 ? 0 : (difference * 1000) / ms;
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

/** Lines of the most frequent reasons in the time shown; the other reasons form one line. */
function errorLines(
  snapshots: readonly Snapshot[],
  rates: (of: (snapshot: Snapshot) => number) => (number | null)[],
): Line[] {
  const last = snapshots.at(-1);
  const first = snapshots[0];
  if (last === undefined || first === undefined) return [];
  const reasons: { readonly name: string; readonly of: (snapshot: Snapshot) => number }[] = [];
  // Not errors: messages without subscribers, and echoes of our own messages.
  for (const [word, kind] of [
    ["rejected", "refused"],
    ["dropped", "dropped"],
    ["closed", "closed"],
  ] as const) {
    for (const reason of Object.keys(last[kind])) {
      if (kind === "dropped" && (reason === "unheard" || reason === "own")) continue;
      const name = `${word}: ${reason.replaceAll("_", " ")}`;
      reasons.push({ name, of: (snapshot) => snapshot[kind][reason] ?? 0 });
    }
  }
  const recent = reasons
    .map((reason) => ({ ...reason, count: reason.of(last) - reason.of(first) }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count);
  const shown = recent.slice(0, MAX_LINES).map(({ name, of }) => ({ name, values: rates(of) }));
  const others = recent.slice(MAX_LINES);
  if (others.length > 0) {
    shown.push({
      name: "others",
      values: rates((snapshot) => others.reduce((all, { of }) => all + of(snapshot), 0)),
    });
  }
  return shown.length > 0 ? shown : [{ name: "none", values: snapshots.map(() => 0) }];
}
