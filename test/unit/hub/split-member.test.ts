import { describe, expect, test } from "bun:test";
import { parseAround, RawJson } from "../../../src/hub/json/split-member.ts";
import { jsonDocument, type Random } from "./json-documents.ts";

const KEY = "payload";

/** The same sequence each time. */
function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** What was parsed, with the raw text in place of its wrapper. */
function split(text: string | Uint8Array): { readonly raw: string | null; readonly value: unknown } {
  const value = parseAround(typeof text === "string" ? Buffer.from(text) : text, KEY);
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, KEY)) return { raw: null, value };
  const { payload, ...rest } = value as Record<string, unknown>;
  if (!(payload instanceof RawJson)) throw new Error("not raw");
  return { raw: payload.bytes.toString(), value: rest };
}

describe("a member is found as it was sent", () => {
  test.each([
    ['{"payload":1}', "1"],
    ['{"payload":12345678901234567890,"channel":"a"}', "12345678901234567890"],
    ['{"channel":"a","payload": 1E400 }', "1E400"],
    [
      ' \r\n{ "a":[1,{"payload":2}] ,\t"payload" : { "b" : [ 1 ,\n 2 ] } , "c":{} } ',
      '{ "b" : [ 1 ,\n 2 ] }',
    ],
    ['{"payload":1,"payload":2}', "2"],
    ['{"payload":1,"x":0,"p\\u0061yload":"last","y":"payload"}', '"last"'],
    ['{"\\u0070\\u0061\\u0079\\u006c\\u006f\\u0061\\u0064":null}', "null"],
    ['{"payload":"}\\"]{,\\\\"}', '"}\\"]{,\\\\"'],
    [
      '{"payload":{"__proto__":{"a":1},"__proto__":2,"a":1.0,"a":1}}',
      '{"__proto__":{"a":1},"__proto__":2,"a":1.0,"a":1}',
    ],
    [
      `{"payload":"${"x".repeat(100)}\\\\\\"${"y".repeat(100)}"}`,
      `"${"x".repeat(100)}\\\\\\"${"y".repeat(100)}"`,
    ],
    ['{"payload":"é😀\\ud800"}', '"é😀\\ud800"'],
    ['{"payload":-0.0e-0}', "-0.0e-0"],
    ['{"payload":[]}', "[]"],
  ])("%s", (text, raw) => {
    expect(split(text).raw).toBe(raw);
    const { payload: _, ...rest } = JSON.parse(text);
    expect(split(text).value).toEqual(rest);
  });

  test("of any depth and up to 4 MiB, first and last", () => {
    const deep = `${"[".repeat(500_000)}${"]".repeat(500_000)}`;
    const long = `"${"\\\\".repeat(2 << 20)}"`;
    for (const raw of [deep, long]) {
      expect(split(`{"payload":${raw},"channel":"a"}`)).toEqual({ raw, value: { channel: "a" } });
      expect(split(`{"channel":"a","payload":${raw}}`)).toEqual({ raw, value: { channel: "a" } });
    }
  });

  test("or it is absent", () => {
    expect(split('{"a":{"payload":1},"Payload":2,"payload ":3,"":4}')).toEqual({
      raw: null,
      value: { a: { payload: 1 }, Payload: 2, "payload ": 3, "": 4 },
    });
    expect(split("{}")).toEqual({ raw: null, value: {} });
    for (const text of ["[1]", '"payload"', "1", " null "])
      expect(split(text)).toEqual({ raw: null, value: JSON.parse(text) });
  });

  test("a name as of a prototype is a member like any other", () => {
    const { value } = split('{"__proto__":{"polluted":1},"payload":2}');
    expect(Object.getOwnPropertyNames(value)).toEqual(["__proto__"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

test.each(
  [
    [
      "",
      "{",
      '{"payload":}',
      '{"payload":1',
      '{"payload":01}',
      '{"payload":1,}',
      "{'payload':1}",
      '{"payload":1}}',
      '{"payload":NaN}',
      '{"payload":"\n"}',
      '{"a":1 "payload":2}',
    ],
  ].flat(),
)("is a SyntaxError: %s", (text) => {
  expect(() => split(text)).toThrow(SyntaxError);
});

test("invalid UTF-8, a byte order mark, and deep nesting around it are a SyntaxError", () => {
  expect(() => split(Buffer.from('{"payload":"\xff"}', "latin1"))).toThrow(SyntaxError);
  expect(() => split('\ufeff{"payload":1}')).toThrow(SyntaxError);
  expect(() => split(`{"payload":1,"a":${"[".repeat(2000)}${"]".repeat(2000)}}`)).toThrow(SyntaxError);
});

test("agrees with JSON.parse on random objects", () => {
  const random = randomFrom(20261129);
  const names = [
    '"payload"',
    '"p\\u0061yload"',
    '"channel"',
    '"__proto__"',
    '""',
    '"payloads"',
    `"${"n".repeat(60)}"`,
  ];
  for (let n = 0; n < 5000; n++) {
    const members = Array.from({ length: random(6) }, () => {
      const name = names[random(names.length)] ?? '""';
      return { name, value: jsonDocument(random, 3) };
    });
    const text = `{${members.map(({ name, value }) => `${random(4) === 0 ? " \n" : ""}${name}:${value}`).join(",")}}`;
    const last = members.findLast(({ name }) => JSON.parse(name) === KEY);
    const { raw, value } = split(text);
    expect([text, raw]).toEqual([text, last?.value.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "") ?? null]);
    const expected: Record<string, unknown> = JSON.parse(text);
    delete expected.payload;
    expect(JSON.stringify(value)).toBe(JSON.stringify(expected));
  }
});
