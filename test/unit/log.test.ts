import { describe, expect, test } from "bun:test";
import { atMostOncePer, createLog, type Fields, type LogOptions } from "../../src/log.ts";

function written(options: Partial<LogOptions>, message: string, fields?: Fields): string {
  let all = "";
  const log = createLog({ level: "debug", format: "text", write: (line) => (all += line), ...options });
  log.info(message, fields);
  return all;
}

/** What a client may put into a name: line ends, terminal commands, letters that turn a line round, half a pair. */
const HOSTILE = [
  "\n2026-11-21 10:00:00.000 ERROR forged",
  "\r\nforged",
  "\u2028forged\u2029",
  "\u0085forged",
  "\u001b[2J\u001b[31mforged",
  "\u009b31mforged",
  "\u202edegrof",
  "\u0000\u0007\b\u007f",
  "\ud800 half",
  '" level=ERROR x="',
  '","level":"error","x":"',
];

const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

describe.each(["text", "json"] as const)("a log as %s", (format) => {
  test("is one line for each entry, whatever a message or a value holds", () => {
    for (const hostile of HOSTILE) {
      for (const line of [written({ format }, "x", { v: hostile }), written({ format }, `x ${hostile}`)]) {
        expect(line.endsWith("\n")).toBe(true);
        expect(line.slice(0, -1)).not.toMatch(UNPRINTABLE);
      }
    }
  });

  test("begins at its level", () => {
    const count = (level: LogOptions["level"]) => {
      let lines = 0;
      const log = createLog({ level, format, write: () => lines++ });
      log.debug("d");
      log.info("i");
      log.warn("w");
      log.error("e");
      return lines;
    };
    expect([count("debug"), count("info"), count("warn"), count("error")]).toEqual([4, 3, 2, 1]);
  });

  test("leaves out the rest of what is too long", () => {
    expect(written({ format }, "x", { v: "y".repeat(100_000) }).length).toBeLessThan(700);
    expect(written({ format }, "y".repeat(100_000)).length).toBeLessThan(700);
  });
});

describe("text", () => {
  test("is time, level, message, and distinguishable values", () => {
    const line = written({}, "listening", {
      url: "http://127.0.0.1:1",
      name: "a b",
      n: 5,
      on: true,
      none: null,
      empty: "",
    });
    expect(line).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO {2}listening url=http:\/\/127\.0\.0\.1:1 name="a b" n=5 on=true none=null empty=""\n$/,
    );
  });

  test("a value cannot pass for another field", () => {
    expect(written({}, "x", { a: "1 b=2" })).toContain(' a="1 b=2"\n');
    expect(written({}, "x", { a: '1" b="2' })).toContain(' a="1\\" b=\\"2"\n');
  });

  test("has colours only where it was asked for", () => {
    expect(written({ color: true }, "x")).toContain("\u001b[32mINFO \u001b[0m x");
    expect(written({}, "x")).not.toContain("\u001b");
  });
});

describe("json", () => {
  test("is an object that parses back to what was logged", () => {
    for (const hostile of HOSTILE) {
      const parsed: unknown = JSON.parse(written({ format: "json" }, "x", { v: hostile, n: 5, none: null }));
      expect(parsed).toEqual({
        time: expect.any(String),
        level: "info",
        message: "x",
        v: hostile,
        n: 5,
        none: null,
      });
    }
  });

  test("prints the time in UTC", () => {
    expect(written({ format: "json" }, "x")).toMatch(
      /^\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"info","message":"x"\}\n$/,
    );
  });
});

test("a frequent event is logged at once, then counted, then logged with its count", async () => {
  const told: number[] = [];
  const tell = atMostOncePer(500, (times) => told.push(times));
  for (let i = 0; i < 1000; i++) tell();
  expect(told).toEqual([1]);
  const start = performance.now();
  while (performance.now() - start < 501) await Bun.sleep(5);
  tell();
  tell();
  expect(told).toEqual([1, 1000]);
});
