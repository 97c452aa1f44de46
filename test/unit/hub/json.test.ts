import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { isJson, isJsonText } from "../../../src/hub/json/is-json.ts";
import { BLOCK, openScanner, type Scanner, WINDOW } from "../../../src/hub/json/scanner.ts";
import { compileScan, SCAN_WASM } from "../../compile-scan.ts";
import { jsonDocument, mutated, numbers, type Random } from "./json-documents.ts";
import { BROKEN, VALID } from "./json-table.ts";

const encoder = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What has to be met: the runtime's own parser, on text that is valid UTF-8. */
function parses(bytes: Uint8Array): boolean {
  try {
    JSON.parse(strictUtf8.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

function opened(window?: number): Scanner {
  const scanner = openScanner(window);
  if (scanner === undefined) throw new Error("this machine can't run the scanner");
  return scanner;
}

// The smallest windows let everything that is carried from window to window be carried at every block.
const scanners = [opened(), opened(BLOCK), opened(2 * BLOCK)];

/** The first text for which a result differs from that of JSON.parse. */
function disagreement(texts: Iterable<string | Uint8Array>): string | undefined {
  for (const text of texts) {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    const expected = parses(bytes);
    const shown = (): string =>
      `${expected ? "refused" : "accepted"}: ${Buffer.from(bytes).toString("latin1")}`;
    if (isJson(bytes) !== expected) return shown();
    if (typeof text === "string" && isJsonText(text) !== expected) return shown();
    if (!isUtf8(bytes)) continue;
    for (const scanner of scanners) if (scanner(bytes) !== expected) return shown();
  }
  return undefined;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    strictUtf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

test("scan.wasm is what scan.wat compiles to", async () => {
  expect(Buffer.from(await compileScan()).equals(await readFile(SCAN_WASM))).toBe(true);
});

describe("the table", () => {
  test("every text that RFC 8259 allows is JSON", () => {
    expect(VALID.filter((text) => !parses(encoder.encode(text)))).toEqual([]);
    expect(disagreement(VALID)).toBeUndefined();
  });

  test("every text that it does not allow is refused", () => {
    expect(BROKEN.filter((text) => parses(encoder.encode(text)))).toEqual([]);
    expect(disagreement(BROKEN)).toBeUndefined();
  });

  test("the same inside containers and white space", () => {
    const frames = [
      ["[", "]"],
      ["[1,", ",2]"],
      ['{"a":', "}"],
      ['{"a":[],"b":', ',"c":{}}'],
      [" \n", "\t "],
      ["{", "}"],
      ["", ","],
    ];
    const framed = [...VALID, ...BROKEN].flatMap((text) =>
      frames.map(([head, tail]) => `${head}${text}${tail}`),
    );
    expect(disagreement(framed)).toBeUndefined();
  });

  test("the same at each position of a block of 64 bytes", () => {
    const shifted = function* (): Generator<string> {
      for (const text of [...VALID, ...BROKEN]) {
        for (let room = 0; room < BLOCK; room++) {
          yield " ".repeat(room) + text;
          yield `["${"x".repeat(room)}",${text},"y"]`;
        }
      }
    };
    expect(disagreement(shifted())).toBeUndefined();
  });
});

test("for every text of up to four significant bytes the result is that of JSON.parse", () => {
  const alphabet = [...'[]{},:"\\1-0.e ', "tru"];
  const all = function* (length: number): Generator<string> {
    if (length === 0) yield "";
    else for (const head of all(length - 1)) for (const one of alphabet) yield head + one;
  };
  for (const length of [1, 2, 3, 4]) expect(disagreement(all(length))).toBeUndefined();
});

describe("strings", () => {
  test("each byte, raw and escaped, is accepted or refused as by JSON.parse, at each position of a block", () => {
    const cases = function* (): Generator<Uint8Array> {
      for (let byte = 0; byte < 256; byte++) {
        for (const lead of [[], [0x5c], [0x5c, 0x5c], [0x5c, 0x75, 0x30, 0x30, 0x30]]) {
          for (const room of [0, 1, 56, 57, 58, 59, 60, 61, 62, 63]) {
            yield Uint8Array.from([0x22, ...new Array<number>(room).fill(0x61), ...lead, byte, 0x22]);
          }
        }
      }
    };
    expect(disagreement(cases())).toBeUndefined();
  });

  test("runs of backslashes of every length, from each position of a block, end correctly", () => {
    const cases = function* (): Generator<string> {
      for (let room = 0; room <= BLOCK; room++) {
        for (let run = 1; run <= 5; run++) {
          const head = `["${"x".repeat(room)}${"\\".repeat(run)}`;
          yield* [`${head}"]`, `${head}""]`, `${head}","y"]`, `${head}n"]`, `${head}u12aB"]`];
        }
        yield `"${"\\\\".repeat(room)}"`;
        yield `"${"\\\\".repeat(room)}\\"`;
        yield `"${'\\"'.repeat(room)}"`;
      }
    };
    expect(disagreement(cases())).toBeUndefined();
  });

  test("invalid UTF-8 is refused", () => {
    const sequences = [
      "ff",
      "fe",
      "80",
      "c3",
      "c328",
      "c080",
      "e28028",
      "e282",
      "eda080",
      "edbfbf",
      "f0288cbc",
      "f4908080",
      "f09f98",
      "f8a1a1a1a1",
    ];
    for (const hex of sequences) {
      const broken = [...Buffer.from(hex, "hex")];
      for (const room of [0, 40, 62, 63, 200]) {
        const bytes = Uint8Array.from([0x22, ...new Array<number>(room).fill(0x61), ...broken, 0x22]);
        expect(isJson(bytes)).toBe(false);
        expect(parses(bytes)).toBe(false);
      }
    }
  });

  test("valid UTF-8 of every length is accepted at each position of a block", () => {
    const cases = function* (): Generator<string> {
      for (let room = 0; room < BLOCK; room++) {
        for (const one of ["é", "€", "😀", "\u0080", "\uffff", "\u{10ffff}"])
          yield `{"${"x".repeat(room)}${one}":"${one}"}`;
      }
    };
    expect(disagreement(cases())).toBeUndefined();
  });
});

test("for numbers of all valid and invalid parts the result is that of JSON.parse", () => {
  const cases = function* (): Generator<string> {
    for (const number of numbers())
      for (const room of [0, 58, 60, 61, 62, 63]) yield `[${" ".repeat(room)}${number}]`;
  };
  expect(disagreement(cases())).toBeUndefined();
});

test("a document that is truncated at any byte, or lacks a bracket, is refused", () => {
  const random = seeded(5);
  const document = encoder.encode(
    `{"all":[${Array.from({ length: 12 }, () => jsonDocument(random, 4)).join(",")}]}`,
  );
  expect(document.length).toBeGreaterThan(4 * BLOCK);
  expect(isJson(document)).toBe(true);
  for (let length = 0; length < document.length; length++)
    expect(isJson(document.subarray(0, length))).toBe(false);
  const shortened = function* (): Generator<Uint8Array> {
    for (let at = 0; at < document.length; at++) {
      yield Uint8Array.from([...document.subarray(0, at), ...document.subarray(at + 1)]);
    }
  };
  expect(disagreement(shortened())).toBeUndefined();
});

describe("depth", () => {
  const nested = (depth: number, open = "[", middle = "", close = "]"): string =>
    open.repeat(depth) + middle + close.repeat(depth);

  test("nesting as deep as JSON.parse accepts is accepted", () => {
    for (const depth of [1, 63, 64, 65, 1000, 65_535, 65_536, 65_537, 100_000]) {
      expect(isJson(encoder.encode(nested(depth)))).toBe(true);
      expect(isJson(encoder.encode(nested(depth, '{"a":[', "1", "]}")))).toBe(true);
    }
  });

  test("a bracket that does not match is refused at any depth", () => {
    for (const depth of [1, 64, 1000, 65_535, 65_536, 100_000]) {
      const right = nested(depth);
      for (const wrong of [
        `${right}]`,
        `[${right}`,
        `${right.slice(0, -1)}}`,
        `{${right.slice(1)}`,
        right.replace("[]", "[}"),
      ]) {
        expect(isJson(encoder.encode(wrong))).toBe(false);
      }
    }
  });
});

describe("texts longer than a window", () => {
  test("are checked completely, wherever the window ends", () => {
    const item = '{"a":[1,-2.5e+3,"x",null,true],"b":"\\"\\\\"}';
    const cases = function* (): Generator<string> {
      for (let shift = 0; shift < item.length; shift++) {
        const body = `[${" ".repeat(shift)}${`${item},`.repeat(WINDOW / item.length)}`;
        yield* [`${body}0]`, `${body} 0 ]`, `${body}]`, `${body}0`, `${body}"]`];
      }
    };
    expect(disagreement(cases())).toBeUndefined();
  });

  test("may end at, before or after the end of a window", () => {
    for (const windows of [1, 2]) {
      for (let size = windows * WINDOW - 2 * BLOCK; size < windows * WINDOW + 2 * BLOCK; size++) {
        const string = `"${"x".repeat(size - 2)}"`;
        expect(isJson(encoder.encode(string))).toBe(true);
        expect(isJsonText(string)).toBe(true);
        expect(isJson(encoder.encode(`${string.slice(0, -1)}x`))).toBe(false);
        expect(isJson(encoder.encode("1".repeat(size)))).toBe(true);
        expect(isJson(encoder.encode(`${"1".repeat(size - 1)}e`))).toBe(false);
        expect(isJson(encoder.encode(" ".repeat(size)))).toBe(false);
      }
    }
  });

  test("up to and above the largest payload are checked", () => {
    const text = `[${"[1.5,null],".repeat(800_000)}[]]`;
    expect(isJson(encoder.encode(text))).toBe(true);
    expect(isJsonText(text)).toBe(true);
    expect(isJson(encoder.encode(`${text}]`))).toBe(false);
  });

  test("may contain lone surrogates if they are strings", () => {
    const long = "x".repeat(20_000);
    expect(isJsonText(`"${long}\ud800"`)).toBe(true);
    expect(isJsonText(`"${long}"\ud800`)).toBe(false);
  });
});

test("an earlier text does not change the result", () => {
  const remains = ['{"a":[[["b', "[1.", "[1e", "[tru", '"\\', "[[[[[", "[true,nul", "1", " "];
  for (const remain of remains) {
    for (const scanner of scanners) {
      scanner(encoder.encode(remain + " ".repeat(70)));
      for (const text of ["1", "[]", '{"a":1}', '"b"']) expect(scanner(encoder.encode(text))).toBe(true);
      for (const text of ["]", '"', ",", "}", "null,", "ull"])
        expect(scanner(encoder.encode(text))).toBe(false);
    }
  }
});

test("for a view into a larger buffer only the view counts", () => {
  const bytes = encoder.encode('xx{"a":1}yy');
  expect(isJson(bytes.subarray(2, 9))).toBe(true);
  expect(isJson(Buffer.from(bytes.buffer, 2, 7))).toBe(true);
  expect(isJson(bytes.subarray(2, 10))).toBe(false);
});

test("for random documents and mutations of them the result is that of JSON.parse", () => {
  const rounds = 40_000;
  let whole = 0;
  const random = seeded(2026);
  const cases = function* (): Generator<Uint8Array> {
    for (let round = 0; round < rounds; round++) {
      const document = encoder.encode(" ".repeat(random(BLOCK)) + jsonDocument(random, random(5)));
      if (parses(document)) whole++;
      yield document;
      for (let times = 0; times < 4; times++) yield mutated(random, document);
    }
  };
  expect(disagreement(cases())).toBeUndefined();
  expect(whole).toBe(rounds);
});

/** Numbers from 0 up to `below`, the same for the same seed. */
function seeded(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
