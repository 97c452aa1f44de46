import { describe, expect, test } from "bun:test";
import { readAuthorizeAnswer } from "../../../src/hooks/authorize-answer.ts";

const ALL = { join: true, push: true, presence: true };

/** The answer in a body, with status 200. */
const read = (body: unknown) =>
  readAuthorizeAnswer({ status: 200, body: typeof body === "string" ? body : JSON.stringify(body) });

describe("an answer that allows a join", () => {
  test("allows everything that it does not limit", () => {
    expect(read({ allow: true })).toEqual({
      kind: "allowed",
      permission: { user: null, can: ALL, info: null, expiresIn: null },
    });
  });

  test("has every field, and others that are ignored", () => {
    const answer = {
      ...{ allow: true, id: "ä", can: ["join", "fly"], presence: { name: "Ä" }, expires_in: 1.5 },
      ...{ reason: "", more: [1] },
    };
    expect(read(answer)).toEqual({
      kind: "allowed",
      permission: {
        user: "ä",
        can: { join: true, push: false, presence: false },
        info: '"name":"Ä"',
        expiresIn: 1500,
      },
    });
  });

  test("gives the text of its presence unchanged, of the last one where there are two", () => {
    const body =
      '\n{"presence":{"n":1},"allow":true,"pre\\u0073ence": {"n":12345678901234567890, "n" : 1.0}} ';
    expect(read(body)).toMatchObject({
      kind: "allowed",
      permission: { info: '"n":12345678901234567890,"n" : 1.0' },
    });
    // What the server sets cannot be given.
    expect(read({ allow: true, presence: { phx_ref: "1", a: 1 } })).toMatchObject({
      permission: { info: '"a":1' },
    });
  });
});

describe("an answer that refuses a join", () => {
  test("has a reason, or none", () => {
    expect(read({ allow: false, reason: "no seat left" })).toEqual({
      kind: "denied",
      reason: "no seat left",
    });
    expect(read({ allow: false })).toEqual({ kind: "denied", reason: null });
    expect(read({ allow: false, reason: "" })).toEqual({ kind: "denied", reason: null });
  });

  test("has a reason of at most 256 characters, well-formed", () => {
    expect(read({ allow: false, reason: `${"x".repeat(255)}😀` })).toEqual({
      kind: "denied",
      reason: `${"x".repeat(255)}�`,
    });
  });
});

describe("an answer that is not exactly as it must be allows nothing", () => {
  const wrong: readonly [string, unknown][] = [
    ["nothing", ""],
    ["no JSON", "<html>allow: true</html>"],
    ["JSON that goes on", '{"allow":true} {}'],
    ["a list", [{ allow: true }]],
    ["true alone", true],
    ["no allow", { id: "alice" }],
    ["allow as a text", { allow: "true" }],
    ["allow as a number", { allow: 1 }],
    ["allow of a prototype", '{"__proto__":{"allow":true}}'],
    ["a second allow", '{"allow":true,"allow":null}'],
    ["an id that is a number", { allow: true, id: 7 }],
    ["an id that is null", { allow: true, id: null }],
    ["an id that is too long", { allow: true, id: "x".repeat(257) }],
    ["an id that is not well-formed", '{"allow":true,"id":"\\ud800"}'],
    ["can as a text", { allow: true, can: "join" }],
    ["can with a number", { allow: true, can: ["join", 1] }],
    ["can as null", { allow: true, can: null }],
    ["presence as a list", { allow: true, presence: [] }],
    ["presence as a text", { allow: true, presence: "{}" }],
    ["presence over 1 KiB", { allow: true, presence: { a: "x".repeat(1024) } }],
    ["expires_in as a text", { allow: true, expires_in: "60" }],
    ["expires_in of 0", { allow: true, expires_in: 0 }],
    ["expires_in below 0", { allow: true, expires_in: -1 }],
    ["expires_in without end", '{"allow":true,"expires_in":1e999}'],
    ["a reason that is a number", { allow: true, reason: 5 }],
    ["a refusal with an id that is a list", { allow: false, id: [] }],
    ["deep nesting", `{"allow":true,"x":${"[".repeat(30_000)}${"]".repeat(30_000)}`],
  ];
  test.each(wrong)("%s", (_, body) => {
    expect(read(body).kind).toBe("unavailable");
  });

  test.each([201, 204, 301, 302, 401, 403, 500])("status %d", (status) => {
    expect(readAuthorizeAnswer({ status, body: '{"allow":true}' })).toEqual({
      kind: "unavailable",
      cause: `status ${status}`,
    });
  });
});
