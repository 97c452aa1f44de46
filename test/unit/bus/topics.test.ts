import { describe, expect, test } from "bun:test";
import {
  isChannelName,
  isEventName,
  isExport,
  MAX_NAME_BYTES,
  parseFrom,
  parseTo,
  printFrom,
  printHub,
  printTo,
} from "../../../src/bus/topics.ts";
import { randomFrom, SEED } from "../../integration/random.ts";

describe("names on the bus", () => {
  test.each([
    ["to:system:update", "system", "update"],
    ["to:datalink:feed:message", "datalink:feed", "message"],
    ["to:*:x", "*", "x"],
    ["to:[a-z]:x", "[a-z]", "x"],
    ["to::::x", "::", "x"],
    ["to: : ", " ", " "],
    ["to:to:to", "to", "to"],
    ["to:__proto__:constructor", "__proto__", "constructor"],
    ["to:ü:é", "ü", "é"],
    [`to:${"c".repeat(5000)}:e`, "c".repeat(5000), "e"],
  ])("%s is a channel and what follows the last colon", (name, channel, event) => {
    expect(parseTo(Buffer.from(name))).toEqual({ channel, event });
  });

  test.each([
    "",
    "to",
    "to:",
    "to::",
    "to:x",
    "to:x:",
    "to::x",
    "to:a:b:",
    "from:a:b",
    "TO:a:b",
    " to:a:b",
    "xto:a:b",
  ])("%p is none", (name) => {
    expect(parseTo(Buffer.from(name))).toBeNull();
  });

  test("bytes that are not UTF-8 are none, wherever they stand", () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
      const odd = Buffer.from(bytes);
      const colon = Buffer.from(":");
      expect(parseTo(Buffer.concat([Buffer.from("to:a"), odd, colon, Buffer.from("b")]))).toBeNull();
      expect(parseTo(Buffer.concat([Buffer.from("to:a:b"), odd]))).toBeNull();
    }
  });

  test("what is printed is read as what it was, for every channel and event that may be", () => {
    const random = randomFrom(SEED);
    const letters = [..."abc:*[]?\\-^ \"'{}/%@ü日😀"];
    for (let i = 0; i < 5000; i++) {
      const text = (): string => Array.from({ length: random.int(12) }, () => random.pick(letters)).join("");
      const [channel, event] = [text(), text()];
      if (!isChannelName(channel) || !isEventName(event)) continue;
      expect(parseTo(Buffer.from(printTo(channel, event)))).toEqual({ channel, event });
      expect(printFrom(channel, event)).toBe(`from:${channel}:${event}`);
      // No other channel and event print the same.
      expect(printTo(channel, event).slice(3).lastIndexOf(":")).toBe(channel.length);
    }
  });

  test("any bytes are a name or none, and a name holds nothing else", () => {
    const random = randomFrom(SEED + 1);
    const alphabet = [0, 10, 0x3a, 0x3a, 0x61, 0x62, 0x80, 0xc3, 0xbc, 0xff];
    let names = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.from(Array.from({ length: random.int(10) }, () => random.pick(alphabet)));
      const name = random.chance(0.8) ? Buffer.concat([Buffer.from("to:"), bytes]) : bytes;
      const parsed = parseTo(name);
      if (parsed === null) continue;
      names++;
      expect(parsed.channel).not.toBe("");
      expect(parsed.event).not.toBe("");
      expect(parsed.event).not.toContain(":");
      expect(Buffer.from(printTo(parsed.channel, parsed.event)).equals(name)).toBe(true);
    }
    expect(names).toBeGreaterThan(200);
  });

  test("a channel has 1 to 255 bytes of UTF-8", () => {
    expect(MAX_NAME_BYTES).toBe(255);
    for (const one of ["a", "ü", "日", "😀"]) {
      const fits = one.repeat(Math.floor(255 / Buffer.byteLength(one)));
      expect(isChannelName(fits)).toBe(true);
      expect(isChannelName(fits + one)).toBe(false);
      expect(isEventName(fits)).toBe(true);
      expect(isEventName(fits + one)).toBe(false);
    }
    expect(isChannelName("")).toBe(false);
    expect(isEventName("")).toBe(false);
    expect(isChannelName("x".repeat(10_000_000))).toBe(false);
  });

  test("control characters and lone surrogates are in no name", () => {
    for (let code = 0; code < 0x100; code++) {
      const isControl = code < 0x20 || (code >= 0x7f && code < 0xa0);
      expect(isChannelName(`a${String.fromCharCode(code)}b`)).toBe(!isControl);
    }
    for (const odd of ["\ud800", "\udfff", "a\udc00\ud800b"]) {
      expect(isChannelName(odd)).toBe(false);
      expect(isEventName(odd)).toBe(false);
    }
  });

  test("a channel may hold colons, an event never", () => {
    expect(isChannelName("a:b:c")).toBe(true);
    expect(isChannelName(":")).toBe(true);
    expect(isEventName("a:b")).toBe(false);
    expect(isEventName(":")).toBe(false);
  });

  test("from: is parsed by the rules of to:, and neither takes the other", () => {
    expect(parseFrom(Buffer.from("from:a:b:c"))).toEqual({ channel: "a:b", event: "c" });
    for (const name of ["from:a", "from::e", "from:a:", "to:a:b", "hub:a:b"]) {
      expect(parseFrom(Buffer.from(name))).toBeNull();
    }
    expect(parseTo(Buffer.from("from:a:b"))).toBeNull();
    expect(parseTo(Buffer.from(printHub("revoked")))).toBeNull();
  });

  test.each([
    ["room", "presence_diff", true],
    ["admin", "presence_diff", true],
    ["admin", "channel.add", true],
    ["room", "channel.add", false],
    ["admin", "channels", false],
    ["room", "presence_state", false],
  ])("servers export to:%s:%s: %p", (channel, event, exported) => {
    expect(isExport({ channel, event })).toBe(exported);
  });
});
