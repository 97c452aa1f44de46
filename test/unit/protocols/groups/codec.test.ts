import { describe, expect, test } from "bun:test";
import {
  accepted,
  CLOSED,
  changed,
  dashed,
  decode,
  denied,
  refused,
  type Wanted,
} from "../../../../src/protocols/groups/groups-codec.ts";

function read(text: string, most = 1000): Wanted {
  const message = decode(text, most);
  if ("error" in message) throw new Error(message.error);
  return message;
}

/** What is wanted, as plain lists. */
function wanted(text: string): [string, string[]][] {
  return [...read(text).wanted].map(([group, entries]) => [group, [...entries]]);
}

describe("a message", () => {
  test("names entries by group, each once, in its order", () => {
    expect(wanted('{"groups":{"jobs":["b","a","b"],"job_events":[2,"2",1,2.0]}}')).toEqual([
      ["jobs", ["b", "a"]],
      ["job_events", ["2", "1"]],
    ]);
  });

  test("may be empty, or hold empty groups", () => {
    expect(wanted('{"groups":{}}')).toEqual([]);
    expect(wanted('{"groups":{"jobs":[]}}')).toEqual([]);
  });

  test("keeps names that JavaScript has itself", () => {
    expect(wanted('{"groups":{"__proto__":["constructor"],"toString":["__proto__"]}}')).toEqual([
      ["__proto__", ["constructor"]],
      ["toString", ["__proto__"]],
    ]);
    expect(Object.hasOwn(Object.prototype, "0")).toBe(false);
  });

  test("keeps every digit of an integer", () => {
    const long = ["9007199254740992", "9007199254740993", "-123456789012345678901234567890"];
    expect(wanted(`{"groups":{"job_events":[${long.join()},1000000000000000]}}`)).toEqual([
      ["job_events", [...long, "1000000000000000"]],
    ]);
    expect(wanted(`{"x":1234567890123456789,"groups":{"a":["1234567890123456789"]}}`)).toEqual([
      ["a", ["1234567890123456789"]],
    ]);
  });

  test("with long integers and very long is read as fast as others, and such integers are denied", () => {
    const text = `{"groups":{"a":[9007199254740993,1]},"more":"${"x".repeat(70_000)}"}`;
    expect(read(text).impossible.length).toBe(1);
    expect(wanted(text)).toEqual([["a", ["1"]]]);
  });

  test("repeats the csrftoken as text, or not at all", () => {
    expect(read('{"groups":{},"xrftoken":"abc"}').xrftoken).toBe("abc");
    for (const value of ["null", "1", "[]", '{"a":1}', "true"]) {
      expect(read(`{"groups":{},"xrftoken":${value}}`).xrftoken).toBeNull();
    }
    expect(read('{"groups":{}}').xrftoken).toBeNull();
  });
});

describe("what can be no entry", () => {
  test.each([
    ['""', ""],
    ['"a:b"', "a:b"],
    ['"\\u0000"', "\u0000"],
    ['"\\u007f"', "\u007f"],
    ['"\\u009f"', "\u009f"],
    ['"\\udc00"', "\udc00"],
    [`"${"x".repeat(256)}"`, "x".repeat(255)],
    ["1.5", "1.5"],
    ["1e400", "Infinity"],
    ["1e21", "1e+21"],
    ["null", "null"],
    ["false", "false"],
    ["{}", "{...}"],
    ["[[1]]", "[...]"],
  ])("%s is reported in a printable form, the others are accepted", (entry, shown) => {
    const message = read(`{"groups":{"jobs":["a",${entry},"b"]}}`);
    expect(message.impossible).toEqual([{ group: "jobs", entry: shown }]);
    expect([...(message.wanted.get("jobs") ?? [])]).toEqual(["a", "b"]);
  });

  test("is not what has 255 characters, of whatever size", () => {
    for (const character of ["x", "é", "名", "😀"]) {
      const entry = character.repeat(255);
      expect(wanted(JSON.stringify({ groups: { a: [entry] } }))).toEqual([["a", [entry]]]);
      expect(read(JSON.stringify({ groups: { a: [`${entry}${character}`] } })).impossible.length).toBe(1);
    }
  });

  test("is every entry of a group that can be none", () => {
    for (const group of ["", "a\nb", "x".repeat(256), "é".repeat(128), "\ud800"]) {
      const message = read(JSON.stringify({ groups: { [group]: ["a", 1] } }));
      expect(message.wanted.size).toBe(0);
      expect(message.impossible).toEqual([
        { group: group.slice(0, 255), entry: "a" },
        { group: group.slice(0, 255), entry: "1" },
      ]);
    }
  });
});

describe("is refused whole", () => {
  test.each([
    ["", "not JSON"],
    ["{", "not JSON"],
    ["[".repeat(100), "not JSON"],
    ["null", "no groups"],
    ["[]", "no groups"],
    ['{"__proto__":{"groups":{}}}', "no groups"],
    ['{"groups":[]}', "groups is no object"],
    ['{"groups":null}', "groups is no object"],
    ['{"groups":1}', "groups is no object"],
    ['{"groups":{"a":["x"],"b":"x"}}', "access denied to channel"],
    ['{"groups":{"":null}}', "access denied to channel"],
    ['{"groups":{"a":{"length":0}}}', "access denied to channel"],
  ])("%s", (text, error) => {
    expect(decode(text, 1000)).toEqual({ error });
  });

  test("what holds more pairs than may be, good and bad together, those named twice counted once", () => {
    const text = '{"groups":{"a":[1,1,"1",2],"b":[null,1]}}';
    expect("wanted" in decode(text, 4)).toBe(true);
    expect(decode(text, 3)).toEqual({ error: "more than 3 subscriptions" });
  });
});

describe("what is nested without end", () => {
  const deep = "[".repeat(300_000) + "]".repeat(300_000);
  test("throws nothing, wherever it stands", () => {
    for (const text of [
      deep,
      `{"groups":${deep}}`,
      `{"groups":{"a":${deep}}}`,
      `{"groups":{"a":[${deep}]}}`,
      `{"groups":{},"xrftoken":${deep}}`,
      `{"groups":{"a":[1234567890123456789,${"[".repeat(20_000)}${"]".repeat(20_000)}]}}`,
    ]) {
      expect(() => decode(text, 1000)).not.toThrow();
    }
  });
});

test("what is said is JSON, whatever the names", () => {
  const name = '"\\\n__proto__';
  expect(accepted(name)).toBe(`{"accept":true,"user":${JSON.stringify(name)}}`);
  expect(JSON.parse(CLOSED)).toEqual({ accept: false, close: true });
  expect(JSON.parse(refused(name))).toEqual({ error: name });
  expect(JSON.parse(denied(name, "1"))).toEqual({
    error: `access denied to channel ${name} for resource id 1`,
  });
  expect(JSON.parse(changed({ current: [dashed("a", "b-c")], left: [], joined: [name] }))).toEqual({
    groups_current: ["a-b-c"],
    groups_left: [],
    groups_joined: [name],
  });
});

test("texts made by chance never throw, and what is read of them could be written again", () => {
  const pieces = [
    '{"groups":',
    "{",
    "}",
    "[",
    "]",
    '"jobs"',
    ":",
    ",",
    "1",
    "12345678901234567",
    '"a:b"',
    "null",
    '"\\ud800"',
    " ",
  ];
  let state = 20261121;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    const inside = Array.from({ length: random(12) }, () => pieces[random(pieces.length)]).join("");
    const text = random(2) === 0 ? inside : `{"groups":{"g":[${inside}]}}`;
    const message = decode(text, 5);
    if ("error" in message) continue;
    read++;
    for (const [group, entries] of message.wanted) {
      for (const entry of entries) {
        expect(decode(JSON.stringify({ groups: { [group]: [entry] } }), 5)).toMatchObject({ impossible: [] });
      }
    }
  }
  expect(read).toBeGreaterThan(500);
});
