import { expect, test } from "bun:test";
import { isDeeper } from "../../../src/hub/json/depth.ts";

const fill = JSON.stringify("x".repeat(2000));

test("lists and objects count, also in turn, and what stands beside each other does not", () => {
  expect(isDeeper(`[${fill},[{"a":{}}]]`, 4)).toBe(false);
  expect(isDeeper(`[${fill},[{"a":{}}]]`, 3)).toBe(true);
  expect(isDeeper(`[${fill},${"[],{},".repeat(100)}0]`, 2)).toBe(false);
});

test("brackets in texts do not count, behind escapes either", () => {
  expect(isDeeper(JSON.stringify([fill, '[[[{{"[[[\\"[[[\\\\']), 1)).toBe(false);
  expect(isDeeper(`["\\\\",[${fill}]]`, 1)).toBe(true);
});

test("what is no JSON ends, and short text is not looked at", () => {
  expect(isDeeper(`"${"[".repeat(5000)}`, 1)).toBe(false);
  expect(isDeeper("[".repeat(5000), 64)).toBe(true);
  expect(isDeeper("[".repeat(500), 64)).toBe(false);
});
