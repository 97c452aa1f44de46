import { expect, test } from "bun:test";
import { isDeeper } from "../../../src/hub/json/depth.ts";

const fill = JSON.stringify("x".repeat(2000));

test("arrays and objects count, also alternately; siblings do not", () => {
  expect(isDeeper(`[${fill},[{"a":{}}]]`, 4)).toBe(false);
  expect(isDeeper(`[${fill},[{"a":{}}]]`, 3)).toBe(true);
  expect(isDeeper(`[${fill},${"[],{},".repeat(100)}0]`, 2)).toBe(false);
});

test("brackets in strings do not count, also after escapes", () => {
  expect(isDeeper(JSON.stringify([fill, '[[[{{"[[[\\"[[[\\\\']), 1)).toBe(false);
  expect(isDeeper(`["\\\\",[${fill}]]`, 1)).toBe(true);
});

test("invalid JSON ends, and short text is not checked", () => {
  expect(isDeeper(`"${"[".repeat(5000)}`, 1)).toBe(false);
  expect(isDeeper("[".repeat(5000), 64)).toBe(true);
  expect(isDeeper("[".repeat(500), 64)).toBe(false);
});
