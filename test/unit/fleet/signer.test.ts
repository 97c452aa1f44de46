import { expect, test } from "bun:test";
import { Signer } from "../../../src/fleet/signer.ts";

const NAME = "hub:marker";

function open(signer: Signer, name: string, payload: string): string | null {
  return signer.open(name, Buffer.from(payload))?.toString() ?? null;
}

test("opens what the same secret signed", () => {
  const signer = new Signer(["one"], "");
  const payload = signer.sign(NAME, '{"é":1}');
  expect(payload).toMatch(/^[A-Za-z0-9_-]{22}\{"é":1\}$/);
  expect(open(new Signer(["one"], ""), NAME, payload)).toBe('{"é":1}');
});

test("signs with the newest secret and accepts every configured one", () => {
  const rotated = new Signer(["two", "one"], "");
  expect(open(rotated, NAME, new Signer(["one"], "").sign(NAME, "x"))).toBe("x");
  expect(open(new Signer(["two"], ""), NAME, rotated.sign(NAME, "x"))).toBe("x");
  expect(open(new Signer(["one"], ""), NAME, rotated.sign(NAME, "x"))).toBeNull();
});

test("rejects another secret, name, prefix or body, and what is too short", () => {
  const signer = new Signer(["one"], "a:");
  const payload = signer.sign(NAME, "body");
  expect(open(new Signer(["other"], "a:"), NAME, payload)).toBeNull();
  expect(open(new Signer(["one"], "b:"), NAME, payload)).toBeNull();
  expect(open(signer, "hub:node", payload)).toBeNull();
  expect(open(signer, NAME, `${payload}!`)).toBeNull();
  expect(open(signer, NAME, payload.slice(1))).toBeNull();
  expect(open(signer, NAME, "!".repeat(30))).toBeNull();
  expect(open(signer, NAME, "")).toBeNull();
});

test("signs an empty body", () => {
  const signer = new Signer(["one"], "");
  expect(open(signer, NAME, signer.sign(NAME, ""))).toBe("");
});
