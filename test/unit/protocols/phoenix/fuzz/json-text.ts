import type { Random } from "./random.ts";

const SPACES = ["", "", "", "", " ", "\n", "\t", "\r\n", "  "] as const;
const NUMBERS = [
  "0",
  "-0",
  "1",
  "-12.50",
  "9007199254740993",
  "1e999",
  "-1E-7",
  "0.1e+2",
  "123456789012345678901234567890",
] as const;
const PIECES = [
  "a",
  "payload",
  "token",
  "]",
  "}",
  "{",
  "[",
  ",",
  ":",
  " ",
  "é",
  "😀",
  "\u2028",
  "\ufeff",
  "\ud800",
  "\udc00",
  '\\"',
  "\\\\",
  "\\/",
  "\\n",
  "\\u0000",
  "\\u005d",
  "\\ud83d",
  "\\uDE00",
  "\\u006c",
] as const;

/** White space, or none. */
export function space(random: Random): string {
  return random.pick(SPACES);
}

/** A string literal that holds what confuses those who look for brackets and quotes. */
export function stringText(random: Random): string {
  return `"${random.times(6, () => random.pick(PIECES)).join("")}"`;
}

/** Valid JSON as no printer would write it: any white space, any escapes, keys twice, numbers beyond doubles. */
export function jsonText(random: Random, depth = 4): string {
  const kind = random.next(depth > 0 ? 10 : 6);
  if (kind < 2) return random.pick(NUMBERS);
  if (kind < 4) return stringText(random);
  if (kind < 6) return random.pick(["true", "false", "null", "{}", "[]", "[ ]", "{\n}"]);
  const value = () => `${space(random)}${jsonText(random, depth - 1)}${space(random)}`;
  if (kind < 8) return `[${value()}${random.times(3, () => `,${value()}`).join("")}]`;
  const member = () => `${space(random)}${stringText(random)}${space(random)}:${value()}`;
  return `{${member()}${random.times(3, () => `,${member()}`).join("")}}`;
}
