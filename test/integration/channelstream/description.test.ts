import { afterAll, beforeAll, expect, test } from "bun:test";
import { call as callApi } from "../api-client.ts";
import { type Json, list, object, type Rig, startRig } from "./rig.ts";

/*
 * The examples of the calls in /openapi.json, one after the other against the server that describes them.
 */

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
}, 60_000);
afterAll(() => rig?.stop());

/** Each call in an order in which all of them succeed. */
const ORDER = [
  "post /connect",
  "post /subscribe",
  "post /channel_config",
  "post /message",
  "get /listen",
  "post /info",
  "get /admin/admin.json",
  "patch /message",
  "delete /message",
  "post /user_state",
  "post /unsubscribe",
  "get /disconnect",
];

/** The types of a value, with the keys of its objects, in place of its texts and numbers. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shapeOf(inner)]));
}

/** The only content of a response or body. */
function contentOf(part: unknown): Json {
  return object(object(object(part).content)["application/json"]);
}

test("each is answered as its example of an answer", async () => {
  const { body } = await callApi(rig.url, "/openapi.json", { secret: null });
  const described = Object.entries(object(object(body).paths)).flatMap(([path, methods]) =>
    Object.entries(object(methods)).flatMap(([method, operation]) => {
      const { tags, requestBody, responses, parameters } = object(operation);
      if (!JSON.stringify(tags).includes("Channelstream")) return [];
      const query = list(parameters).flatMap(({ name, example }) =>
        example === undefined ? [] : [`${name}=${example}`],
      );
      const given = requestBody === undefined ? undefined : contentOf(requestBody).example;
      const { example } = contentOf(object(responses)["200"]);
      const address = query.length === 0 ? path : `${path}?${query.join("&")}`;
      return [{ name: `${method} ${path}`, method: method.toUpperCase(), address, given, example }];
    }),
  );
  expect(described.map(({ name }) => name).toSorted()).toEqual(ORDER.toSorted());
  for (const name of ORDER) {
    const found = described.find((each) => each.name === name);
    if (found === undefined) throw new Error(name);
    const answer = await rig.call(found.method, found.address, found.given);
    expect([name, answer.status]).toEqual([name, 200]);
    expect([name, shapeOf(answer.body)]).toEqual([name, shapeOf(found.example)]);
  }
}, 60_000);
