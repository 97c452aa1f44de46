import { bytes, compact, delay } from "../shared/format.ts";
import { container, element, setText } from "../shared/page.ts";
import { call, type Series, type Snapshot } from "./api.ts";
import { Chart, type Line } from "./chart.ts";
import { createRangeSwitch, currentRange, lineOf, sinceNote, spanOf } from "./range.ts";

/** Maximum lines per chart. */
const MAX_LINES = 5;

/** Time between two requests for the long ranges, in ms: half of the interval of their values. */
const PAUSE = 30_000;

/** The charts of the overview: of the snapshots of the last minutes, or of a longer time from the server. */
export class OverviewCharts {
  readonly #charts: Record<"connections" | "messages" | "bytes" | "errors" | "delay" | "memory", Chart>;
  readonly #note = element("charts-note", HTMLElement);
  #snapshots: readonly Snapshot[] = [];
  #loadedAt = Number.NEGATIVE_INFINITY;

  constructor() {
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
      delay: chart("Event loop delay", delay),
      memory: chart("Memory", bytes),
    };
    createRangeSwitch("charts-range", () => {
      this.#loadedAt = Number.NEGATIVE_INFINITY;
      this.#render();
    });
  }

  /** @param snapshots those of the last ten minutes, the newest last */
  update(snapshots: readonly Snapshot[]): void {
    this.#snapshots = snapshots;
    this.#render();
  }

  #render(): void {
    if (currentRange() === "10m") {
      setText(this.#note, "");
      this.#renderLive();
    } else if (performance.now() - this.#loadedAt >= PAUSE) void this.#load();
  }

  async #load(): Promise<void> {
    this.#loadedAt = performance.now();
    const range = currentRange();
    const answer = await call("GET api/series", { query: { range } });
    if (range !== currentRange()) return;
    if (answer.ok) this.#renderSeries(answer.value, spanOf(range));
    else {
      setText(this.#note, answer.error);
      this.#loadedAt = Number.NEGATIVE_INFINITY;
    }
  }

  #renderSeries(series: Series, span: string): void {
    const { connections, messages, bytes: traffic, errors, delay, memory } = this.#charts;
    const times = series.at.map((ms) => ms / 1000);
    const directions = (end: string): Line[] => [
      lineOf(series, `received${end}`, "from the bus"),
      lineOf(series, `delivered${end}`, "delivered"),
      lineOf(series, `pushed${end}`, "pushed"),
    ];
    connections.update(times, [lineOf(series, "connections", "open"), lineOf(series, "memberships")], span);
    messages.update(times, directions(""), span);
    traffic.update(times, directions("_bytes"), span);
    errors.update(
      times,
      ["rejected", "dropped", "closed"].map((name) => lineOf(series, name)),
      span,
    );
    delay.update(times, [lineOf(series, "loop_delay", "maximum")], span);
    const buffered = lineOf(series, "buffered", "buffered for clients");
    memory.update(times, [lineOf(series, "memory", "resident"), buffered], span);
    setText(this.#note, sinceNote(series, "servers"));
  }

  #renderLive(): void {
    const { connections, messages, bytes: traffic, errors, delay, memory } = this.#charts;
    const snapshots = this.#snapshots;
    const span = spanOf("10m");
    const times = snapshots.map(({ at }) => at / 1000);
    const rates = (of: (snapshot: Snapshot) => number): (number | null)[] =>
      snapshots.map((snapshot, index) => {
        const before = snapshots[index - 1];
        return before === undefined || !isComparable(before, snapshot)
          ? null
          : perSecond(of(snapshot) - of(before), snapshot.at - before.at);
      });
    if (snapshots.length === 0) return;
    connections.update(
      times,
      usedProtocols(snapshots).map((name) => ({
        name,
        values: snapshots.map((snapshot) => snapshot.connections[name] ?? 0),
      })),
      span,
    );
    messages.update(
      times,
      [
        { name: "from the bus", values: rates((each) => each.received.messages) },
        { name: "delivered", values: rates((each) => each.delivered.messages) },
        { name: "pushed", values: rates((each) => each.pushed.messages) },
      ],
      span,
    );
    traffic.update(
      times,
      [
        { name: "from the bus", values: rates((each) => each.received.bytes) },
        { name: "delivered", values: rates((each) => each.delivered.bytes) },
        { name: "pushed", values: rates((each) => each.pushed.bytes) },
      ],
      span,
    );
    errors.update(times, errorLines(snapshots, rates), span);
    delay.update(times, [{ name: "maximum", values: snapshots.map((each) => each.loop_delay) }], span);
    memory.update(
      times,
      [
        { name: "resident", values: snapshots.map((each) => each.memory) },
        { name: "buffered for clients", values: snapshots.map((each) => each.buffered) },
      ],
      span,
    );
  }
}

/** Protocols with connections in that time; without any, the first one. */
function usedProtocols(snapshots: readonly Snapshot[]): string[] {
  const names = Object.keys(snapshots.at(-1)?.connections ?? {});
  const used = names.filter((name) => snapshots.some(({ connections }) => (connections[name] ?? 0) > 0));
  return used.length > 0 ? used : names.slice(0, 1);
}

/** Whether two snapshots are sums of the same servers. */
export function isComparable(one: Snapshot, other: Snapshot): boolean {
  return (one.servers ?? []).join() === (other.servers ?? []).join();
}

export function perSecond(difference: number, ms: number): number {
  // A smaller counter: the server was restarted.
  return ms <= 0 || difference < 0 ? 0 : (difference * 1000) / ms;
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
