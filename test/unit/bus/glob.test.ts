import { describe, expect, test } from "bun:test";
import { globMatches } from "../../../src/bus/embedded/glob.ts";

const matches = (pattern: string, name: string): boolean =>
  globMatches(Buffer.from(pattern, "latin1"), Buffer.from(name, "latin1"));

/** test/integration/glob.test.ts compares thousands of patterns with Redis. */
describe("patterns", () => {
  test.each([
    ["to:*", "to:a:b", "to"],
    ["*", "x", ""],
    ["**", "x", ""],
    ["", "", "x"],
    ["a*c", "abc", "abcd"],
    ["a*b*c", "axxbxxbxc", "axxbxx"],
    ["*a*a*a", "aaaa", "aa"],
    ["h?llo", "hello", "hllo"],
    ["h[ae]llo", "hallo", "hillo"],
    ["h[^e]llo", "hallo", "hello"],
    ["h[a-c]llo", "hbllo", "hdllo"],
    ["h[c-a]llo", "hbllo", "hdllo"],
    ["h[a-]llo", "ho", "hallo"],
    ["\\*", "*", "x"],
    ["\\a", "a", "\\a"],
    ["a\\", "a\\", "a"],
    ["[\\]]", "]", "\\"],
    ["[\\^a]", "^", "b"],
    ["[^]", "a", ""],
    ["[a", "a", "b"],
    ["[]a", "", "a"],
    ["a[bc", "ac", "a"],
    ["?", "\xff", ""],
    ["[\xc3]", "\xc3", "\xc4"],
  ])("%p matches %p and not %p", (pattern, yes, no) => {
    if (yes !== "" || pattern === "") expect(matches(pattern, yes)).toBe(true);
    expect(matches(pattern, no)).toBe(false);
  });

  test("a pattern made to be slow is not", () => {
    const begin = performance.now();
    expect(matches(`${"a*".repeat(1000)}b`, "a".repeat(10_000))).toBe(false);
    expect(matches(`${"*?".repeat(500)}b`, "a".repeat(5000))).toBe(false);
    expect(performance.now() - begin).toBeLessThan(20_000);
  });
});
