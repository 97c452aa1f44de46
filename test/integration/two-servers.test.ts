import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { type Backend, backendOn, SECRET } from "./world.ts";

const IGNORED = "ignored reserved events published by a backend";

let redis: RedisProcess;
let servers: ChannelProcess[];
let backend: Backend;
beforeAll(async () => {
  redis = await startRedis();
  const args = ["--redis-url", redis.url, "--jwt-secret", SECRET];
  servers = await Promise.all([startChannel({ args }), startChannel({ args })]);
  backend = backendOn(redis.port);
});
afterAll(async () => {
  backend.stop();
  await Promise.all(servers.map((each) => each.stop()));
  await redis.stop();
});

/** Joins one member per server: user 0 on the first, and so on. */
async function members(topic: string): Promise<{ client: PhoenixClient; agent: string }[]> {
  return Promise.all(
    servers.map(async ({ url }, i) => {
      const client = await connectPhoenix(url);
      const token = mint({ id: `user ${i}`, channel: topic }, SECRET);
      const { response } = await client.join(topic, { token });
      return { client, agent: String(Object(response).id) };
    }),
  );
}

test("two servers on one Redis both deliver a broadcast, and each push is published once", async () => {
  const received = await backend.listen("from:room:*");
  const [one, two] = await members("room");
  if (one === undefined || two === undefined) throw new Error("two servers");
  expect(one.agent.split(":")[0]).not.toBe(two.agent.split(":")[0]);
  for (let i = 0; i < 100; i++) await backend.publish("to:room:news", String(i));
  for (const { client } of [one, two]) {
    for (let i = 0; i < 100; i++) expect((await client.event("news")).payload).toBe(i);
  }
  await one.client.ask({ topic: "room", event: "one", payload: "1" });
  await two.client.ask({ topic: "room", event: "two", payload: "2" });
  await received.until((each) => each.name === "from:room:two");
  const pushed = received.all.filter((each) => !each.name.endsWith("phx_join"));
  expect(pushed.map((each) => each.name)).toEqual(["from:room:one", "from:room:two"]);
});

test("ignores exports of the other server without a warning, and warns about a forged protocol event", async () => {
  await members("exported");
  await backend.publish("to:exported:presence_diff", "{}");
  await backend.publish("to:admin:channel.add", "{}");
  for (const { lines, url } of servers) {
    expect(lines.filter(({ message }) => message === IGNORED)).toEqual([]);
    expect(lines.filter(({ level }) => level === "error" || level === "unparsed")).toEqual([]);
    await eventually(async () => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      return /channel_bus_messages_dropped_total\{reason="own"\} [1-9]/.test(metrics);
    }, "the exports to be counted");
  }
  await backend.publish("to:exported:phx_close", "{}");
  for (const { log } of servers) {
    const warning = await log.until(({ message }) => message === IGNORED, "a warning");
    expect(warning).toMatchObject({ level: "warn", last: "to:exported:phx_close" });
  }
});
