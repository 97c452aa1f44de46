import { expect, test } from "bun:test";
import { isJson } from "../../../src/hub/json.ts";

const encoder = new TextEncoder();

test("values of every kind are JSON, with white space around them", () => {
  for (const text of ["{}", "[]", "1", '"a"', "true", "false", "null", " \t\r\n[1, 2] \n"]) {
    expect(isJson(encoder.encode(text))).toBe(true);
  }
});

test("what JSON.parse refuses is not JSON", () => {
  for (const text of ["", " ", "NaN", "01", "[1,]", '"\n"', "\ufeff1", "{'a':1}", "1 2"]) {
    expect(isJson(encoder.encode(text))).toBe(false);
  }
});

test("a string that is not valid UTF-8 is not JSON", () => {
  expect(isJson(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).toBe(false);
});
