import { expect, test } from "bun:test";
import { infoOfJoin, MAX_INFO_BYTES, nextMeta, parseInfo } from "../../../src/hub/presence/presence-info.ts";

test.each([
  ["{}", ""],
  ['{"a":1}', '"a":1'],
  [' { "a" : [1, {"b": "}"}] , "c":null } ', '"a" : [1, {"b": "}"}],"c":null'],
  ['{"phx_ref":"x","a":1,"phx_ref_prev":2,"online_at":{}}', '"a":1'],
  ['{"phx\\u005fref":"x"}', ""],
  ['{"n":12345678901234567890}', '"n":12345678901234567890'],
])("%j is kept as %j", (text, info) => {
  expect(parseInfo(text)).toBe(info);
});

test.each(["null", "1", "[]", '"{}"', "true"])("%s is no metadata", (text) => {
  expect(parseInfo(text)).toBeNull();
});

test("metadata has at most 1 KiB, in bytes", () => {
  const text = (length: number, char = "x") => `{"a":"${char.repeat(length)}"}`;
  expect(parseInfo(text(MAX_INFO_BYTES - 8))).not.toBeNull();
  expect(parseInfo(text(MAX_INFO_BYTES - 7))).toBeNull();
  expect(parseInfo(text(MAX_INFO_BYTES / 2, "é"))).toBeNull();
});

test.each([
  ['{"token":"t"}', ""],
  ['{"presence":{"a":1}}', '"a":1'],
  ['{"presence":{"a":1},"presence":{"b":2}}', '"b":2'],
  ['{"presence":7}', null],
  ['{"note":"\\"presence\\""}', ""],
  ['["presence"]', ""],
])("the metadata of a join with payload %s is %j", (payload, info) => {
  expect(infoOfJoin(payload)).toBe(info);
});

test("refs that replace one another are all different, and begin with the first", () => {
  const original = { user: "alice", ref: "abc.7", onlineAt: 1 };
  const second = nextMeta(original, original, "");
  const third = nextMeta(original, second, "");
  expect([second.ref, second.previous, third.ref, third.previous]).toEqual([
    "abc.7.1",
    "abc.7",
    "abc.7.2",
    "abc.7.1",
  ]);
});
