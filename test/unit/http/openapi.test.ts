import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { isObject, type JsonObject } from "../../../src/auth/json-object.ts";
import { HTTP_CODES } from "../../../src/auth/rejection.ts";
import { testConfig } from "../auth/config.ts";
import { SECRET, testHttp } from "./http.ts";

/** An operation of the document. */
interface Described {
  readonly name: string;
  readonly operation: JsonObject;
}

/** Channelstream's calls have its own forms of most errors, and no schemas. */
const OWN_FORMS = "Channelstream";

let described: Described[];
beforeAll(async () => {
  const { channelstream } = testConfig();
  const { ask } = testHttp({ channelstream: { ...channelstream, secret: "a secret of this test" } });
  const { paths } = object(await (await ask("/openapi.json")).json());
  described = Object.entries(object(paths)).flatMap(([path, methods]) =>
    Object.entries(object(methods)).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      operation: object(operation),
    })),
  );
});

function object(value: unknown): JsonObject {
  if (!isObject(value)) throw new Error(`not an object: ${JSON.stringify(value)}`);
  return value;
}

/** The contents of a response or body, by type. */
function contents(part: unknown): JsonObject[] {
  return Object.values(object(object(part).content)).map(object);
}

/** Whether an operation is a call of Channelstream. */
function isOfChannelstream({ tags }: JsonObject): boolean {
  return Array.isArray(tags) && tags.includes(OWN_FORMS);
}

/** What is wrong with a value; empty if it is as its schema says. */
function mismatch(schema: unknown, value: unknown): unknown[] {
  // The parameter's type is that of zod's own schemas.
  const result = z.fromJSONSchema(object(schema) as Parameters<typeof z.fromJSONSchema>[0]).safeParse(value);
  return result.success ? [] : result.error.issues;
}

test("needs no authentication, is not loaded again while it is the same, and holds no secret", async () => {
  const { ask } = testHttp();
  for (const path of ["/openapi.json", "/channel.d.ts"]) {
    const answer = await ask(path);
    expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-cache"]);
    const tag = answer.headers.get("etag") ?? "";
    expect(tag).toMatch(/^"[\w-]{22}"$/);
    const text = await answer.text();
    expect(text).not.toContain(SECRET);
    expect((await ask(path, { headers: { "if-none-match": tag } })).status).toBe(304);
    expect((await ask(path, { headers: { "if-none-match": '"other"' } })).status).toBe(200);
    expect((await ask(path, { method: "POST" })).status).toBe(405);
    // Credentials change nothing, whether good or not.
    const wrong = await ask(path, { headers: { authorization: "Bearer wrong" } });
    expect([wrong.status, await wrong.text()]).toEqual([200, text]);
  }
});

describe("each operation", () => {
  test("has examples of its body, its path and its answer, which are as their schemas say", () => {
    expect(described.length).toBeGreaterThan(20);
    for (const { name, operation } of described) {
      const { requestBody, parameters, responses } = operation;
      const bodies = requestBody === undefined ? [] : contents(requestBody);
      for (const { schema, example } of [...bodies, ...contents(object(responses)["200"])]) {
        expect({ [name]: example }).not.toEqual({ [name]: undefined });
        expect({ [name]: mismatch(schema, example) }).toEqual({ [name]: [] });
      }
      for (const parameter of Array.isArray(parameters) ? parameters.map(object) : []) {
        if (parameter.required !== true) continue;
        const { examples } = object(parameter.schema);
        const given = parameter.example ?? (Array.isArray(examples) ? examples[0] : undefined);
        expect({ [`${name} ${parameter.name}`]: mismatch(parameter.schema, given) }).toEqual({
          [`${name} ${parameter.name}`]: [],
        });
      }
    }
  });

  test("has the codes of its errors, each with an example and with a status that docs/errors.md gives", () => {
    const page = readFileSync(join(import.meta.dir, "../../../docs/errors.md"), "utf8");
    const statuses = new Map(
      [...page.matchAll(/^\| `(\w+)` +\| (\d{3}(?:, \d{3})*) +\|/gm)].map(([, code = "", list = ""]) => [
        code,
        list.split(", "),
      ]),
    );
    for (const { name, operation } of described) {
      for (const [status, response] of Object.entries(object(operation.responses))) {
        if (status === "200") continue;
        const [{ schema, example, examples } = {}] = contents(response);
        if (isOfChannelstream(operation) && example !== undefined) continue;
        const { enum: codes } = object(object(object(schema).properties).code);
        expect([name, codes]).toEqual([name, Object.keys(object(examples))]);
        for (const [code, example] of Object.entries(object(examples))) {
          const { value } = object(example);
          expect(HTTP_CODES.map(String)).toContain(code);
          expect({ [`${name} ${code}`]: statuses.get(code) }).toEqual({
            [`${name} ${code}`]: expect.arrayContaining([status]),
          });
          expect(mismatch(schema, value)).toEqual([]);
          expect(object(value).code).toBe(code);
        }
      }
    }
  });

  test("that needs the administrator or a key has the codes of wrong credentials", () => {
    const open = ["POST /token", "GET /sse", "GET /health", "GET /ready"];
    for (const { name, operation } of described) {
      if (open.includes(name) || isOfChannelstream(operation)) continue;
      const [{ examples } = {}] = contents(object(operation.responses)["401"]);
      expect(Object.keys(object(examples))).toEqual(["not_signed_in", "wrong_secret", "wrong_key"]);
    }
  });
});
