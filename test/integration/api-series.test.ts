/** Figures over time by the API: of the server, and of a channel. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Answer, call } from "./api-client.ts";
import { eventually } from "./phoenix-client.ts";
import { startWorld, type World } from "./world.ts";

const SCOPED = "the key of a dashboard for rooms";
const TOML = `[[api_keys]]\nkey = "${SCOPED}"\ncan = ["read"]\nchannels = ["room:*"]\n`;

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", { toml: TOML });
});
afterAll(() => world?.stop());

const ask = (path: string, secret?: string): Promise<Answer> =>
  call(world.channel.url, path, secret === undefined ? {} : { secret });

test("the server has one value a minute for a day, null before it started", async () => {
  await eventually(async () => (await ask("/api/series")).body.values.servers.includes(1), "a value", 30_000);
  const { body } = await ask("/api/series");
  expect(body).toMatchObject({ interval: 60_000 });
  expect(body.at).toHaveLength(1440);
  expect(body.at.every((at: number, i: number) => at === body.at[0] + i * 60_000)).toBe(true);
  for (const values of Object.values<unknown[]>(body.values)) expect(values).toHaveLength(1440);
  expect(body.values.memory[0]).toBeNull();
  expect(Math.max(...body.values.memory)).toBeGreaterThan(10_000_000);
  expect((await ask("/api/series?range=1h")).body.at).toHaveLength(60);
  expect((await ask("/api/series?range=1y")).status).toBe(422);
}, 90_000);

test("a channel has them from the first request on", async () => {
  const client = await world.connect();
  await client.join("room:1", { token: world.token("room:1") });
  const path = "/api/channels/room%3A1/series";
  const first = (await ask(path)).body;
  expect([first.interval, first.at.length, Object.keys(first.values).sort()]).toEqual([
    ...[10_000, 60, ["members", "pushed", "pushed_bytes", "sent", "sent_bytes"]],
  ]);
  await eventually(
    async () => {
      await world.backend.publish("to:room:1:news", '"0123456789"');
      const { values } = (await ask(path)).body;
      return values.sent.some((rate: number | null) => (rate ?? 0) > 0) && values.members.includes(1);
    },
    "the messages",
    15_000,
  );
  const day = (await ask(`${path}?range=24h`)).body;
  expect([day.interval, day.at.length]).toEqual([60_000, 1440]);
  expect(Math.max(...day.values.sent_bytes)).toBeGreaterThan(Math.max(...day.values.sent));
}, 90_000);

test("are shown to those who may read them", async () => {
  expect((await ask("/api/series", SCOPED)).body.code).toBe("all_channels_needed");
  expect((await ask("/api/channels/room%3A1/series", SCOPED)).status).toBe(200);
  expect((await ask("/api/channels/news/series", SCOPED)).body.code).toBe("channel_not_allowed");
  expect((await ask("/api/channels/room%3A1/series?range=1y")).status).toBe(422);
});
