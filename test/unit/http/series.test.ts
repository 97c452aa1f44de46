/** Figures over time: rings of fixed size, filled from counters. */
import { describe, expect, test } from "bun:test";
import { ChannelSeries } from "../../../src/http/api/channel-series.ts";
import { DAY, DaySeries } from "../../../src/http/api/day-series.ts";
import {
  addRows,
  columnsOf,
  completeRows,
  decodeRows,
  encodeRows,
  Series,
} from "../../../src/http/api/series.ts";
import { EXAMPLE_SNAPSHOT } from "../../../src/http/api/snapshot-schema.ts";
import { Traffic } from "../../../src/hub/traffic.ts";

const MINUTE = 60_000;
/** The start of a minute. */
const START = 1_800_000_000_000;
const SHAPE = { interval: MINUTE, slots: 3, rates: ["a"], gauges: ["g"] };

function columns(series: Series, now: number, count: number) {
  const { rates, gauges } = series.shape;
  return columnsOf(series.rows(now, count), [...rates, ...gauges]);
}

describe("a series", () => {
  test("has the rate and the greatest gauge of each interval, and nothing for others", () => {
    const series = new Series(SHAPE);
    series.add(START, 0, [0], [5]);
    series.add(START + 10_000, 10_000, [20], [9]);
    series.add(START + 30_000, 20_000, [40], [7]);
    series.add(START + 2 * MINUTE, 10_000, [5], [1]);
    expect(columns(series, START + 2 * MINUTE, 4)).toEqual({
      a: [null, 2, null, 0.5],
      g: [null, 9, null, 1],
    });
  });

  test("forgets what is older than its ring, at the same size", () => {
    const series = new Series(SHAPE);
    for (let i = 0; i < 100; i++) series.add(START + i * MINUTE, 1000, [i], [i]);
    expect(columns(series, START + 99 * MINUTE, 5).g).toEqual([null, null, 97, 98, 99]);
    // Long after the last sample there is nothing.
    expect(columns(series, START + 500 * MINUTE, 3).g).toEqual([null, null, null]);
  });

  test("goes on after a clock that was set, back or forward", () => {
    const series = new Series(SHAPE);
    series.add(START + 90 * MINUTE, 1000, [1], [1]);
    series.add(START, 1000, [2], [2]);
    expect(columns(series, START, 1)).toEqual({ a: [2], g: [2] });
    series.add(START + MINUTE, 1000, [-7], [3]);
    expect(columns(series, START + MINUTE, 2)).toEqual({ a: [2, 0], g: [2, 3] });
  });

  test("travels as text, and a wrong text is refused", () => {
    const rows = new Float32Array([1.5, Number.NaN, 3e9]);
    expect([...(decodeRows(encodeRows(rows), 3) ?? [])]).toEqual([...rows]);
    for (const wrong of ["", "AAAA", "x".repeat(1000), 7, null, encodeRows(new Float32Array(4))])
      expect(decodeRows(wrong, 3)).toBeNull();
  });
});

describe("rows of several servers", () => {
  const NONE = Number.NaN;

  test("are added, where any has a value", () => {
    const rows = new Float32Array([1, NONE, 3, NONE]);
    addRows(rows, new Float32Array([1, 2, NONE, NONE]));
    expect([...rows]).toEqual([2, 2, 3, NONE]);
  });

  test("complete each other: the row that sums more servers counts", () => {
    const rows = new Float32Array([NONE, NONE, 20, 1, 30, 3, 40, 2]);
    completeRows(rows, new Float32Array([10, 2, 21, 2, 31, 1, NONE, NONE]), 2, 1);
    expect([...rows]).toEqual([10, 2, 21, 2, 30, 3, 40, 2]);
  });
});

describe("the day", () => {
  const snapshot = (at: number, delivered: number, servers = ["a"]) => ({
    ...EXAMPLE_SNAPSHOT,
    ...{ at, servers, delivered: { messages: delivered, bytes: 0 } },
  });
  const seen = (day: DaySeries, now: number) => columns(day.series, now, 2);

  test("sums what the snapshots have", () => {
    const day = new DaySeries();
    day.add(snapshot(START, 1000));
    day.add(snapshot(START + 2000, 1100));
    const now = seen(day, START + 2000);
    expect([now.delivered, now.connections, now.servers, now.bus_down]).toEqual([
      [null, 50],
      [null, 1200],
      [null, 1],
      [null, 0],
    ]);
  });

  test("compares no sums of different servers", () => {
    const day = new DaySeries();
    day.add(snapshot(START, 1000));
    day.add(snapshot(START + 2000, 900_000, ["a", "b"]));
    day.add(snapshot(START + 4000, 900_100, ["a", "b"]));
    expect(seen(day, START + 4000).delivered).toEqual([null, 50]);
  });

  test("marks a minute in which the bus was away, or away for a moment", () => {
    const day = new DaySeries();
    day.add(snapshot(START, 0));
    day.add({ ...snapshot(START + 2000, 0), bus: { ...EXAMPLE_SNAPSHOT.bus, gaps: 1 } });
    day.add({ ...snapshot(START + MINUTE, 0), bus: { ...EXAMPLE_SNAPSHOT.bus, gaps: 1, live: false } });
    expect(seen(day, START + MINUTE).bus_down).toEqual([1, 1]);
  });

  test("fits the answer to another server", () => {
    expect(encodeRows(new DaySeries().series.rows(START, DAY.slots)).length).toBeLessThan(200 * 1024);
  });
});

describe("channels", () => {
  function sampled() {
    let now = START;
    const channels = new Map<string, { name: string; members: Set<never>; traffic: Traffic }>();
    const open = (name: string) => {
      const channel = { name, members: new Set<never>(), traffic: new Traffic() };
      channels.set(name, channel);
      return channel;
    };
    const series = new ChannelSeries(channels, () => now);
    series.stop();
    const wait = (ms: number) => {
      for (let waited = 0; waited < ms; waited += 10_000) {
        now += 10_000;
        series.sample();
      }
    };
    const sent = (name: string, count: number) => {
      const rows = series.rows(name, "coarse", count, now);
      return columnsOf(rows, ["sent", "sent_bytes", "pushed", "pushed_bytes", "members"]).sent;
    };
    return { channels, open, series, wait, sent };
  }

  test("one that is looked at is kept from then on, over closing and opening", () => {
    const { open, channels, wait, sent } = sampled();
    const { traffic } = open("room");
    traffic.sent = 5000;
    expect(sent("room", 1)).toEqual([null]);
    traffic.sent += 300;
    wait(MINUTE);
    channels.delete("room");
    wait(MINUTE);
    open("room").traffic.sent = 60;
    wait(MINUTE);
    // Each interval begins with the sample at its start.
    expect(sent("room", 4)?.reduce<number>((sum, rate) => sum + (rate ?? 0), 0)).toBeGreaterThan(5);
    expect(sent("never opened", 1)).toEqual([null]);
  });

  test("the busiest are kept before anybody looks", () => {
    const { open, wait, sent } = sampled();
    for (let i = 0; i < 200; i++) open(`room:${i}`).traffic.sent = i;
    wait(MINUTE);
    wait(MINUTE);
    expect(sent("room:199", 2)).toEqual([0, 0]);
    expect(sent("room:0", 2)).toEqual([null, null]);
  });

  test("any number of channels that are looked at need bounded memory", () => {
    const { series, wait, sent } = sampled();
    for (let i = 0; i < 300; i++) series.rows(`room:${i}`, "fine", 60, START);
    wait(MINUTE);
    expect(sent("room:299", 1)).toEqual([0]);
    expect(sent("room:0", 1)).toEqual([null]);
  });
});
