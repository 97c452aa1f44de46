import { expect, test } from "bun:test";
import { Latency } from "../../src/bench/latency.ts";
import { paddedPayload } from "../../src/bench/payload.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { inOne } from "../../src/bench/publisher.ts";
import { readStamp } from "../../src/bench/stamp.ts";
import { decadesOf, drawChart, ticksBetween } from "./chart.ts";
import { topicOf } from "./parts/crowd.ts";
import { pausesIn } from "./pauses.ts";
import { compare } from "./roster.ts";

test("histograms of several processes add up to that of one", () => {
  const [one, first, second, sum] = [new Latency(), new Latency(), new Latency(), new Latency()];
  for (let us = 1; us < 100_000; us += 7) {
    one.record(us);
    (us % 2 === 0 ? first : second).record(us);
  }
  sum.add(first.entries());
  sum.add(second.entries());
  expect(sum.total).toBe(one.total);
  for (const share of [0, 0.5, 0.99, 0.999, 1]) expect(sum.quantileMs(share)).toBe(one.quantileMs(share));
});

test("clients that join several channels join each channel once", () => {
  const layout = { prefix: "own-", channels: 1000, joins: 10, stride: 100 };
  const topics = new Set<string>();
  for (let index = 0; index < 100; index++) {
    for (let nth = 0; nth < layout.joins; nth++) topics.add(topicOf(layout, index, nth));
  }
  expect(topics.size).toBe(1000);
});

test("publications in one write keep a stamp each", () => {
  const several = inOne(
    ["a", "channel"].map((topic) => phoenix.publication(topic, "message", paddedPayload(80))),
  );
  expect(several.stampEnds.map((end) => readStamp(several.bytes, end))).toEqual([1e11, 1e11]);
});

test("presence is exact only if each member is there once", () => {
  const expected = new Map([["a", new Set(["1", "2", "3"])]]);
  const found = (...members: [string, number][]) => compare(expected, new Map([["a", new Map(members)]]));
  expect(found(["1", 1], ["2", 1], ["3", 1])).toEqual({ expected: 3, present: 3, missing: 0, extra: 0 });
  expect(found(["1", 1], ["2", 2], ["9", 1])).toEqual({ expected: 3, present: 2, missing: 1, extra: 2 });
  expect(compare(expected, new Map([["a", 5]]))).toEqual({ expected: 3, present: 3, missing: 0, extra: 2 });
  expect(compare(expected, new Map())).toEqual({ expected: 3, present: 0, missing: 3, extra: 0 });
});

test("pauses are read from the runtime's log", () => {
  const log = `[GC<0x2a>: START M 5365kb => EdenCollection, a=0kb mu=0.6 i#1:N<Cs> 205+0 p=1.5ms (max 1.5)...]
[GC<0x2a>: M a=68kb => 5952kb, p=2.5ms (max 2.5), cycle 8.03ms END]`;
  expect(pausesIn(log, 2000)).toEqual({ perSecond: 1, share: 0.002, longestMs: 2.5 });
  expect(pausesIn("", 2000)).toEqual({ perSecond: 0, share: 0, longestMs: 0 });
});

test("a chart encloses what it draws", () => {
  expect(decadesOf([0.3, 40])).toEqual({ low: -1, high: 2 });
  expect(decadesOf([10, 10])).toEqual({ low: 1, high: 2 });
  expect(ticksBetween(1500, 30_000)).toEqual([1000, 2000, 5000, 10_000, 20_000, 50_000]);
  const lines = [{ name: "ours", points: [{ x: 10, y: 1 }] }];
  const svg = drawChart({
    label: "l",
    note: "n",
    panels: [{ title: "t", lines, ticks: [10, 100], unit: "us" }],
  });
  expect(svg).toContain("<title>ours, 10: 1.00 us</title>");
});
