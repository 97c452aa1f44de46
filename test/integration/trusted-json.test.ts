import { afterAll, beforeAll, expect, test } from "bun:test";
import { Inbox } from "./inbox.ts";
import { addressOf, encodeText } from "./phoenix-client.ts";
import { openWebSocket } from "./websocket.ts";
import { startWorld, type World } from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: '[channels."*"]\npresence = false\n[channels."raw:*"]\ntrusted_json = true\nhistory = 20\n',
  });
});
afterAll(() => world?.stop());

const VALID = ['{"a":1}', " [1] ", "1", '{"é":"ü"}'];
/** They begin and end as an object or array does. */
const ENCLOSED = ['{"a":}', "[1,,2]", "{}}"];
const OTHERS = ['{"a":1', "[1}", "text", '"'];

/**
 * Joins a channel, lets a backend publish all of them, and returns the frames: their text up to the last one, `binary` and the
 * text behind the event for binary ones.
 */
async function received(topic: string): Promise<string[]> {
  const frames = new Inbox<string>(topic, String);
  const answer = await openWebSocket(addressOf(world.channel.url, {}), {}, ({ binary, data }) => {
    const text = data.toString();
    frames.put(binary ? `binary ${text.slice(text.lastIndexOf("news") + 4)}` : text);
  });
  if (!("sendText" in answer)) throw new Error(`refused with ${answer.status}`);
  const payload = JSON.stringify({ token: world.token(topic) });
  answer.sendText(encodeText({ joinRef: "1", ref: "1", topic, event: "phx_join", payload }, "2.0.0"));
  await frames.until((text) => text.includes("phx_reply"));
  for (const each of [...VALID, ...ENCLOSED, ...OTHERS])
    await world.backend.publish(`to:${topic}:news`, each);
  await world.backend.publish(`to:${topic}:last`, "{}");
  await frames.until((text) => text.includes('"last"'));
  answer.cut();
  return frames.all.slice(1, -1);
}

test("a channel with trusted_json gets what looks like an object or array unchecked, any other checks it", async () => {
  const asText = (topic: string, payloads: string[]) =>
    payloads.map((payload) => `[null,null,"${topic}","news",${payload}]`);
  const asBytes = (payloads: string[]) => payloads.map((payload) => `binary ${payload}`);
  expect(await received("raw:1")).toEqual([...asText("raw:1", [...VALID, ...ENCLOSED]), ...asBytes(OTHERS)]);
  expect(await received("room")).toEqual([...asText("room", VALID), ...asBytes([...ENCLOSED, ...OTHERS])]);
});

test("what is kept is checked when it is replayed", async () => {
  await received("raw:2");
  const client = await world.connect();
  await client.join("raw:2", { token: world.token("raw:2"), recover: null, replay: 20 });
  await client.event("last");
  const replayed = client.frames.all.filter(({ event }) => event === "news");
  expect(replayed.map(({ kind }) => kind)).toEqual([
    ...VALID.map(() => "text" as const),
    ...[...ENCLOSED, ...OTHERS].map(() => "binary push" as const),
  ]);
});
