import { describe, expect, test } from "bun:test";
import { parseAnswer } from "../../../../src/hub/calls/call-answer.ts";

describe("the answer of a backend", () => {
  test.each([
    ['{"status":"ok","response":{"a":[1,2]}}', "ok"],
    [' {"response":12345678901234567890 ,"status":"error","more":null}\n', "error"],
    ['{"status":"error","status":"ok","response":"{\\"status\\":\\"error\\"}"}', "ok"],
    [`{"status":"ok","response":${"[".repeat(5000)}${"]".repeat(5000)}}`, "ok"],
  ] as const)("is passed on unchanged: %s", (text, status) => {
    expect(parseAnswer(Buffer.from(text))).toEqual({ status, payload: text });
  });

  test("without a response gets an empty one", () => {
    expect(parseAnswer(Buffer.from('{"status":"error"}'))?.payload).toBe('{"status":"error","response":{}}');
  });

  test.each([
    ...["", "{", "null", "1", "[]", '"ok"', "{}", '{"status":"OK","response":1}', '{"status":["ok"]}'],
    ...['{"__proto__":{"status":"ok"},"response":1}', '{"response":{"status":"ok"}}', '{"status":"ok"} {}'],
    ...[
      '{"status":"ok",}',
      "\ufeff{}",
      `{"status":"ok","more":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
    ],
  ])("without a status of ok or error is none: %s", (text) => {
    expect(parseAnswer(Buffer.from(text))).toBeNull();
  });
});
