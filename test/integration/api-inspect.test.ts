import { afterAll, beforeAll, expect, test } from "bun:test";
import { call, readAlong, signIn } from "./api-client.ts";
import { eventually } from "./phoenix-client.ts";
import { startWorld, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await startWorld("embedded");
});
afterAll(() => world.stop());

test("an inspector receives both directions, the agent of a push, and binary payloads as base64", async () => {
  const stream = await readAlong(world.channel.url, "room:a:b");
  const client = await world.connect();
  const { response } = await client.join("room:a:b", { token: world.token("room:a:b") });
  await world.backend.publish("to:room:a:b:update", '{"n":9007199254740993}');
  await world.backend.publish("to:room:a:b:raw", Buffer.from([255, 0, 1]));
  await client.ask({ topic: "room:a:b", joinRef: "1", event: "ask", payload: '{ "x": 1 }' });
  const seen = (event: string) => stream.messages.until((each) => each.event === event, event);
  expect(await seen("update")).toMatchObject({
    direction: "to",
    json: '{"n":9007199254740993}',
    agent: null,
  });
  expect(await seen("raw")).toMatchObject({ direction: "to", base64: "/wAB", size: 3, cut: false });
  expect(await seen("ask")).toMatchObject({
    direction: "from",
    json: '{ "x": 1 }',
    // biome-ignore lint/suspicious/noExplicitAny: the answer of a join
    agent: (response as any).id,
  });
  stream.stop();
  world.cutClients();
});

test("samples messages at a high rate, counts the skipped ones and truncates a large payload", async () => {
  const stream = await readAlong(world.channel.url, "flood");
  const total = 5000;
  const start = performance.now();
  for (let i = 0; i < total; i++) void world.backend.publish("to:flood:tick", `{"i":${i}}`);
  await world.backend.publish("to:flood:tick", "0");
  await eventually(() => stream.messages.all.length + stream.skipped() === total + 1, "all to be counted");
  // 50 in 250 ms.
  const most = 50 * (2 + Math.ceil((performance.now() - start) / 250));
  expect(stream.messages.all.length).toBeLessThanOrEqual(most);
  expect(stream.skipped()).toBeGreaterThan(0);
  await world.backend.publish("to:flood:large", JSON.stringify("x".repeat(100_000)));
  const large = await stream.messages.until((each) => each.event === "large");
  expect(large).toMatchObject({ size: 100_002, cut: true });
  expect(large.json?.length).toBe(16 * 1024);
  stream.stop();
});

test("removes a channel that only an inspector opened when the inspector disconnects", async () => {
  const stream = await readAlong(world.channel.url, "nobody");
  const exists = async () => (await call(world.channel.url, "/api/channels/nobody")).status === 200;
  await eventually(exists, "the channel");
  stream.stop();
  await eventually(async () => !(await exists()), "the channel to go");
});

test("ends the stream of an inspector that signs out", async () => {
  const cookie = await signIn(world.channel.url);
  const stream = await readAlong(world.channel.url, "room", { cookie });
  expect(stream.status).toBe(200);
  const headers = { cookie, origin: world.channel.url };
  await fetch(`${world.channel.url}/admin/sign_out`, { method: "POST", headers });
  await stream.ended;
  const again = await readAlong(world.channel.url, "room", { cookie });
  expect(again.status).toBe(401);
}, 15_000);
