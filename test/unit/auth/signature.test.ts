import { expect, test } from "bun:test";
import { sign, verifySigned } from "../../../src/auth/signature.ts";

const NOW = 1_700_000_000_000;
const SECRET = "secret";

/** What `TimestampSigner("secret").sign("/connect")` of itsdangerous 1.1.0 gives at 1,700,000,000 seconds. */
const BY_PYTHON = "/connect.ZVPxAA.LGgz2XYmQrtshS37benqptPevTY";

test("what itsdangerous signed is good, and what is signed here is the same", () => {
  expect(verifySigned(BY_PYTHON, SECRET, NOW)).toBe(true);
  expect(sign("/connect", SECRET, NOW)).toBe(BY_PYTHON);
});

test("it is good for sixty seconds, and not before its time", () => {
  const signed = sign("x", SECRET, NOW);
  expect(verifySigned(signed, SECRET, NOW + 60_999)).toBe(true);
  expect(verifySigned(signed, SECRET, NOW + 61_000)).toBe(false);
  expect(verifySigned(signed, SECRET, NOW - 5_000)).toBe(true);
  expect(verifySigned(signed, SECRET, NOW - 6_000)).toBe(false);
  for (const now of [0, NOW + 1e12]) expect(verifySigned(signed, SECRET, now, null)).toBe(true);
});

test("one that is cut, padded, changed or for another secret is not", () => {
  const signed = sign("x", SECRET, NOW);
  const [text = "", time = "", mac = ""] = signed.split(".");
  for (const bad of [
    "",
    ".",
    "..",
    "x",
    `${text}.${mac}`,
    `${text}.${time}.`,
    `${text}.${time}.${mac}=`,
    `${text}.${time}=.${mac}`,
    `${text}.${time}.${mac.slice(1)}`,
    `${text}.${time}.${mac}a`,
    `${text}.${time}.${mac.toUpperCase()}`,
    `y.${time}.${mac}`,
    sign("x", "other", NOW),
    ` ${signed}`,
    `${signed}\n`,
    `${"x".repeat(9000)}.${time}.${mac}`,
  ]) {
    expect(verifySigned(bad, SECRET, NOW)).toBe(false);
    expect(verifySigned(bad, SECRET, NOW, null)).toBe(false);
  }
});

test("a text that is no ASCII, or holds dots, is signed like any other", () => {
  for (const text of ["", "a.b", "é", "日本"])
    expect(verifySigned(sign(text, SECRET, NOW), SECRET, NOW)).toBe(true);
});
