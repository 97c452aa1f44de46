import { ago, amount, bytes, compact, duration } from "../shared/format.ts";
import { box, element, line, put } from "../shared/page.ts";
import { call, type Snapshot, type Stats } from "./api.ts";
import { Chart, type Line } from "./chart.ts";

/** Snapshots kept: ten minutes of one every other second, as the server keeps them. */
const KEPT = 300;

/** Lines of one chart. */
const MAX_LINES = 5;

type Counters = Readonly<Record<string, number>>;

/** Parts of the strip that shows the bus over the time of the charts. */
const STRIP = 50;

/** The first page: counters and charts that move. */
export class Overview {
  readonly #tiles = new Map<
    string,
    { readonly value: HTMLElement; readonly note: HTMLElement; readonly tile: HTMLElement }
  >();
  readonly #charts: Record<"connections" | "messages" | "bytes" | "trouble" | "delay" | "memory", Chart>;
  readonly #strip = line("div", "", "strip");
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
      "Waiting",
      "Memory",
    ]) {
      const value = line("dd", "–", "value");
      const note = line("dd", "", "note");
      const tile = box("div", "tile", line("dt", name), value, note);
      tiles.append(tile);
      if (name === "Bus") tile.append(box("dd", "", this.#strip));
      this.#tiles.set(name, { value, note, tile });
    }
    this.#strip.setAttribute("role", "img");
    const charts = element("charts", HTMLElement);
    const chart = (title: string, format: (value: number) => string): Chart => {
      const host = box("section", "chart");
      charts.append(host);
      return new Chart(host, title, format);
    };
    this.#charts = {
      connections: chart("Connections", compact),
      messages: chart("Messages a second", compact),
      bytes: chart("Bytes a second", bytes),
      trouble: chart("Refusals, drops and disconnects a second", compact),
      delay: chart("Event-loop delay", (value) => `${compact(value)} ms`),
      memory: chart("Memory", bytes),
    };
  }

  /** Takes over what the server remembers; at first, and after the page slept. */
  async begin(): Promise<void> {
    const answer = await call("GET api/history");
    if (answer.ok) this.#snapshots = [...answer.value.snapshots];
  }

  show(stats: Stats): void {
    this.#snapshots.push(stats);
    if (this.#snapshots.length > KEPT) this.#snapshots = this.#snapshots.slice(-KEPT);
    this.#drawTiles(stats);
    this.#drawCharts();
    this.#drawReasons();
  }

  #drawTiles(stats: Stats): void {
    const before = this.#snapshots.at(-2);
    const rate = (of: (snapshot: Snapshot) => number): number =>
      before === undefined ? 0 : perSecond(of(stats) - of(before), stats.at - before.at);
    const { bus } = stats;
    this.#tile(
      "Bus",
      bus.live ? "live" : "away",
      `${bus.kind === "embedded" ? "embedded bus, for " : "for "}${duration(Date.now() - bus.since)}${bus.gaps > 0 ? `, lost ${bus.gaps}×` : ""}`,
      bus.live ? "good" : "bad",
    );
    this.#drawStrip();
    put(element("bus-detail", HTMLElement), bus.detail);
    this.#tile("Connections", amount(sum(stats.connections)), protocols(stats.connections));
    this.#tile("Channels", amount(stats.channels), `${amount(sum(stats.listeners))} memberships`);
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
    this.#tile("Waiting", bytes(stats.buffered), "for slow clients");
    this.#tile("Memory", bytes(stats.memory), `loop ${stats.loop_delay} ms late`);
    put(
      element("about", HTMLElement),
      `Channel ${stats.version}, node ${stats.node}, started ${ago(stats.started)}`,
    );
  }

  /** When the bus was live and when away, the oldest to the left: each part is red that saw it away or lost. */
  #drawStrip(): void {
    const snapshots = this.#snapshots;
    const parts = Math.min(STRIP, snapshots.length);
    let away = 0;
    const shown = Array.from({ length: parts }, (_part, index) => {
      const from = Math.floor((index * snapshots.length) / parts);
      const to = Math.floor(((index + 1) * snapshots.length) / parts);
      const part = line("span", "");
      const seen = snapshots.slice(Math.max(0, from - 1), to);
      const gaps = new Set(seen.map(({ bus }) => bus.gaps)).size > 1;
      const bad = gaps || snapshots.slice(from, to).some(({ bus }) => !bus.live);
      if (bad) away++;
      part.className = bad ? "bad" : "good";
      return part;
    });
    this.#strip.setAttribute(
      "aria-label",
      away === 0 ? "Live over the time shown" : `Away in ${away} of ${parts} parts of the time shown`,
    );
    this.#strip.replaceChildren(...shown);
  }

  #tile(name: string, value: string, note: string, mood = ""): void {
    const tile = this.#tiles.get(name);
    if (tile === undefined) return;
    put(tile.value, value);
    put(tile.note, note);
    tile.tile.dataset.state = mood;
  }

  #drawCharts(): void {
    const { connections, messages, bytes: moved, trouble, delay, memory } = this.#charts;
    const snapshots = this.#snapshots;
    const times = snapshots.map(({ at }) => at / 1000);
    const rates = (of: (snapshot: Snapshot) => number): (number | null)[] =>
      snapshots.map((snapshot, index) => {
        const before = snapshots[index - 1];
        return before === undefined ? null : perSecond(of(snapshot) - of(before), snapshot.at - before.at);
      });
    const last = snapshots.at(-1);
    if (last === undefined) return;
    connections.show(
      times,
      Object.keys(last.connections).map((name) => ({
        name,
        values: snapshots.map((snapshot) => snapshot.connections[name] ?? 0),
      })),
    );
    messages.show(times, [
      { name: "from the bus", values: rates((each) => each.received.messages) },
      { name: "delivered", values: rates((each) => each.delivered.messages) },
      { name: "pushed", values: rates((each) => each.pushed.messages) },
    ]);
    moved.show(times, [
      { name: "from the bus", values: rates((each) => each.received.bytes) },
      { name: "delivered", values: rates((each) => each.delivered.bytes) },
      { name: "pushed", values: rates((each) => each.pushed.bytes) },
    ]);
    trouble.show(times, troubles(snapshots, rates));
    delay.show(times, [{ name: "most", values: snapshots.map((each) => each.loop_delay) }]);
    memory.show(times, [
      { name: "resident", values: snapshots.map((each) => each.memory) },
      { name: "waiting for clients", values: snapshots.map((each) => each.buffered) },
    ]);
  }

  /** What was refused, dropped and ended, by reason, over the minutes shown. */
  #drawReasons(): void {
    const first = this.#snapshots[0];
    const last = this.#snapshots.at(-1);
    if (first === undefined || last === undefined) return;
    for (const kind of ["refused", "dropped", "closed"] as const) {
      const rows = Object.entries(last[kind])
        .filter(([, count]) => count > 0)
        .sort((a, b) => b[1] - a[1])
        .map(([reason, count]) => {
          const lately = count - (first[kind][reason] ?? 0);
          const name = line("th", wordsOf(reason));
          name.setAttribute("scope", "row");
          return box(
            "tr",
            "",
            name,
            line("td", amount(lately), "number"),
            line("td", amount(count), "number"),
          );
        });
      const none = box("tr", "", line("td", "none", "quiet"));
      element(`reasons-${kind}`, HTMLTableSectionElement).replaceChildren(
        ...(rows.length === 0 ? [none] : rows),
      );
    }
  }
}

function perSecond(difference: number, ms: number): number {
  // A counter that fell is another run of the server.
  return ms <= 0 || difference < 0 ? 0 : (difference * 1000) / ms;
}

/** Reasons that say too little by themselves. */
const MEANINGS: Readonly<Record<string, string>> = {
  unheard: "unheard: nobody listens here",
  own: "own: sent by this server, come back",
};

function wordsOf(reason: string): string {
  return MEANINGS[reason] ?? reason.replaceAll("_", " ");
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

/** The reasons that happened most over the time shown, each a line of its own, the others together. */
function troubles(
  snapshots: readonly Snapshot[],
  rates: (of: (snapshot: Snapshot) => number) => (number | null)[],
): Line[] {
  const last = snapshots.at(-1);
  const first = snapshots[0];
  if (last === undefined || first === undefined) return [];
  const reasons: { readonly name: string; readonly of: (snapshot: Snapshot) => number }[] = [];
  // What nobody listens to is no trouble, and our own exports come back by design.
  for (const [word, kind] of [
    ["refused", "refused"],
    ["dropped", "dropped"],
    ["ended", "closed"],
  ] as const) {
    for (const reason of Object.keys(last[kind])) {
      if (kind === "dropped" && (reason === "unheard" || reason === "own")) continue;
      const name = `${word}: ${reason.replaceAll("_", " ")}`;
      reasons.push({ name, of: (snapshot) => snapshot[kind][reason] ?? 0 });
    }
  }
  const lately = reasons
    .map((reason) => ({ ...reason, count: reason.of(last) - reason.of(first) }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count);
  const shown = lately.slice(0, MAX_LINES).map(({ name, of }) => ({ name, values: rates(of) }));
  const others = lately.slice(MAX_LINES);
  if (others.length > 0) {
    shown.push({
      name: "others",
      values: rates((snapshot) => others.reduce((all, { of }) => all + of(snapshot), 0)),
    });
  }
  return shown.length > 0 ? shown : [{ name: "none", values: snapshots.map(() => 0) }];
}
