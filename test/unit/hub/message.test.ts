import { expect, test } from "bun:test";
import { ROOM_BEHIND } from "../../../src/bus/bus.ts";
import { Message } from "../../../src/hub/message.ts";

test.each([
  '{"b":1,"a":2,"b":3}',
  '"data"',
  "9007199254740993",
  "1.50e+00",
  "null",
  ' \t\r\n{ "a" : [ 1 , 2 ] } \n',
  '"\\ud800"',
  '"é😀\u2028"',
  '"\ufeff"',
])("valid JSON text %j travels as it was written", (text) => {
  const message = new Message("e", Buffer.from(text), false);
  expect(message.json).toBe(text);
  expect(message.presence).toBe(false);
});

test.each(["Hello from plugin", "{", "", '"\u0000"', "\ufeff{}", "NaN", "'a'"])(
  "%j is no JSON and travels as bytes",
  (text) => {
    const message = new Message("e", Buffer.from(text), false);
    expect(message.json).toBeNull();
    expect(message.bytes.toString()).toBe(text);
  },
);

test("invalid UTF-8 is sent as bytes", () => {
  const bytes = Buffer.of(0x22, 0xc3, 0x28, 0x22);
  expect(new Message("e", bytes, false)).toMatchObject({ json: null, bytes });
});

const trusted = (payload: string | Buffer) => new Message("e", Buffer.from(payload), false, 0, null, true);

test.each(['{"a":}', "[1,,2]", "{}{}", '{"a":1}'])("trusted, %j is sent as text without a check", (text) => {
  expect(trusted(text)).toMatchObject({ isJson: true, json: text });
});

test.each(['{"a":1', "[1}", "{]", "x", "", "NaN", " {]"])("trusted, %j is no JSON all the same", (text) => {
  expect(trusted(text)).toMatchObject({ isJson: false, json: null, checkedJson: null });
});

test("trusted payloads are checked for who parses them or puts them together with others", () => {
  expect(trusted('{"a":}').checkedJson).toBeNull();
  expect(trusted('{"a":"é"}').checkedJson).toBe('{"a":"é"}');
  expect(trusted(" 1 ").checkedJson).toBe(" 1 ");
});

test("trusted, invalid UTF-8 becomes U+FFFD: a text frame is valid in any case", () => {
  expect(trusted(Buffer.of(0x7b, 0xc3, 0x28, 0x7d)).json).toBe("{\ufffd(}");
});

const FILL = "x".repeat(20_000);

test("JSON stands unchanged between two texts, whatever its size and theirs", () => {
  for (const payload of ["1", `"${FILL}"`, `"${FILL}é"`, `["${"x".repeat(2_000_000)}"]`]) {
    const message = new Message("e", Buffer.from(payload), false);
    for (const before of ["[", '["é",', '["\u20ac",', `["${"y".repeat(5000)}",`])
      expect(message.between(before, "]") === `${before}${payload}]`).toBe(true);
    expect(message.between("[", ',"\u20ac"]') === `[${payload},"\u20ac"]`).toBe(true);
  }
});

test("a large payload leaves nothing of itself to the next one, and a binary one is not put between texts", () => {
  for (const size of [30_000, 20_000, 16_384, 25_000]) {
    const payload = `"${String(size % 7).repeat(size)}"`;
    expect(new Message("e", Buffer.from(payload), false).between("<", ">") === `<${payload}>`).toBe(true);
  }
  expect(new Message("e", Buffer.from(FILL), false).between("<", ">")).toBeNull();
  expect(new Message("e", '"text"', false).between("<", ">")).toBe('<"text">');
});

test.each([0, 3, 4, 60])(
  "with room for %d bytes, JSON stands between texts and nothing further is overwritten",
  (room) => {
    const payload = `"${FILL}"`;
    const memory = Buffer.from(`${"#".repeat(100)}${payload}${"#".repeat(100)}`);
    const bytes = memory.subarray(100, 100 + payload.length);
    const message = new Message("e", bytes, false, 0, null, false, room);
    for (const [before, behind] of [
      ["[42,", "]"],
      ["<", ">>>"],
      ["", ""],
      ['["é",', "]"],
      [`["${"y".repeat(70)}",`, "]]"],
    ] as const)
      expect(message.between(before, behind) === `${before}${payload}${behind}`).toBe(true);
    expect(message.json === payload).toBe(true);
    expect(memory.toString("latin1", 0, 100 - room)).toBe("#".repeat(100 - room));
    expect(memory.toString("latin1", 100 + payload.length + ROOM_BEHIND)).toBe("#".repeat(100 - ROOM_BEHIND));
  },
);
