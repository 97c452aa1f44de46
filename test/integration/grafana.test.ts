import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startWorld, type World } from "./world.ts";

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
}

interface Panel {
  readonly title: string;
  readonly targets: readonly Target[];
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

const file = join(import.meta.dir, "../../deploy/grafana-dashboard.json");
const dashboard: { readonly panels: readonly Panel[]; readonly templating: unknown } = JSON.parse(
  readFileSync(file, "utf8"),
);

/** Words of PromQL that are not metric names. */
const WORDS = new Set(["sum", "min", "max", "by", "rate", "increase", "time"]);

/** The series of a metric: its labels by name. */
type Series = ReadonlyMap<string, readonly Readonly<Record<string, string>>[]>;

let world: World;
let series: Series;

beforeAll(async () => {
  world = await startWorld("embedded");
  const client = await world.connect();
  await client.join("room", { token: world.token("room") });
  // Trigger each counter that has a reason label, so that its series exists.
  await client.ask({ topic: "elsewhere", event: "x" });
  await world.backend.publish("to:broken", "1");
  const slow = await world.connect();
  for (let i = 0; i < 10; i++) slow.sendText("no frame");
  await slow.socket.closed;
  series = read(await (await fetch(`${world.channel.url}/metrics`)).text());
}, 15_000);
afterAll(() => world?.stop());

function read(text: string): Series {
  const found = new Map<string, Record<string, string>[]>();
  for (const line of text.split("\n")) {
    const [, name, labels = ""] = /^([a-z_]+)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name === undefined) continue;
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]);
    found.set(name, [...(found.get(name) ?? []), Object.fromEntries(pairs)]);
  }
  return found;
}

describe.each(dashboard.panels.map((panel) => [panel.title, panel] as const))("panel %s", (_title, panel) => {
  test.each(panel.targets.map(({ expr, legendFormat }) => [expr, legendFormat] as const))(
    "queries an existing metric and its labels: %s",
    (expr, legend) => {
      expect((expr.match(/[({[]/g) ?? []).length).toBe((expr.match(/[)}\]]/g) ?? []).length);
      const bare = expr.replace(/\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)/g, " ");
      const metrics = (bare.match(/[a-z_]+/g) ?? []).filter((word) => !WORDS.has(word));
      expect(metrics.length).toBe(1);
      const rows = series.get(metrics[0] ?? "") ?? [];
      expect(rows.length).toBeGreaterThan(0);
      // Prometheus itself adds the label `instance`.
      const grouped = /by \(([^)]*)\)/.exec(expr)?.[1]?.split(/, */) ?? [];
      const shown = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label);
      for (const label of [...grouped, ...shown]) {
        if (label !== "instance") for (const row of rows) expect(row).toHaveProperty(label);
      }
      // A counter is shown as a rate, a gauge as it is.
      expect(/rate|increase/.test(expr)).toBe(metrics[0]?.endsWith("_total") ?? false);
    },
  );
});

test("panels do not overlap, and every metric has a panel", () => {
  const { panels } = dashboard;
  for (const [index, { gridPos: a }] of panels.entries()) {
    expect(a.x + a.w).toBeLessThanOrEqual(24);
    for (const { gridPos: b } of panels.slice(index + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      expect(apart).toBe(true);
    }
  }
  const asked = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join(" ");
  expect([...series.keys()].filter((name) => !asked.includes(name))).toEqual([]);
});
