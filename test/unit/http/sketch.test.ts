import { expect, test } from "bun:test";
import { distinct, Sketch } from "../../../src/http/api/sketch.ts";

function sketchOf(from: number, to: number): readonly number[] {
  const sketch = new Sketch();
  for (let i = from; i < to; i++) sketch.add(`room:${i}`);
  return sketch.values;
}

test("few names are counted exactly, those of several servers once", () => {
  expect(distinct([sketchOf(0, 300), sketchOf(200, 500)])).toBe(500);
  expect(distinct([[], []])).toBe(0);
});

test("many names are estimated", () => {
  const estimate = distinct([sketchOf(0, 60_000), sketchOf(40_000, 100_000)]);
  expect(estimate).toBeGreaterThan(85_000);
  expect(estimate).toBeLessThan(115_000);
});
