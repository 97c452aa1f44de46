import { expect, test } from "bun:test";
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
  const message = new Message("e", Buffer.from(text), 0, false);
  expect(message.json).toBe(text);
  expect(message.presence).toBe(false);
});

test.each(["Hello from plugin", "{", "", '"\u0000"', "\ufeff{}", "NaN", "'a'"])(
  "%j is no JSON and travels as bytes",
  (text) => {
    const message = new Message("e", Buffer.from(text), 0, false);
    expect(message.json).toBeNull();
    expect(message.bytes.toString()).toBe(text);
  },
);

test("a string that is no valid UTF-8 travels as bytes", () => {
  const bytes = Buffer.of(0x22, 0xc3, 0x28, 0x22);
  expect(new Message("e", bytes, 0, false)).toMatchObject({ json: null, bytes });
});

test.each([10, 5_000])("a payload of %d bytes is framed alike, with room around it and without", (size) => {
  const json = JSON.stringify("x".repeat(size - 2));
  const memory = Buffer.from(`>4 header of the bus ${json}\r\n>4 the next message`);
  const at = memory.indexOf(json);
  const inPlace = new Message("e", memory.subarray(at, at + json.length), at, false);
  const alone = new Message("e", Buffer.from(json), 0, false);
  expect(inPlace.framed('["t","e",', "]", true)).toBe(`["t","e",${json}]`);
  expect(inPlace.framed('{"topic":"t","payload":', ',"ref":null}', true)).toBe(
    `{"topic":"t","payload":${json},"ref":null}`,
  );
  expect(inPlace.framed('["ü","e",', "]", false)).toBe(`["ü","e",${json}]`);
  expect(alone.framed('["t","e",', "]", true)).toBe(`["t","e",${json}]`);
  expect(inPlace.json).toBe(json);
  expect(memory.toString("latin1", at + json.length + 2)).toBe(">4 the next message");
});

test("a large payload that is not ASCII is framed as it was written", () => {
  const json = JSON.stringify("é😀".repeat(2_000));
  const memory = Buffer.from(`${"-".repeat(64)}${json}\r\n`);
  const message = new Message("e", memory.subarray(64, 64 + Buffer.byteLength(json)), 64, false);
  expect(message.framed('["t",', "]", true)).toBe(`["t",${json}]`);
});
