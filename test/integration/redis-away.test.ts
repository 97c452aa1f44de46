import { describe, expect, test } from "bun:test";
import { type LogLine, startChannel } from "./channel-process.ts";
import { connectPhoenix, eventually, mint } from "./phoenix-client.ts";
import { freePort, startRedis } from "./redis-process.ts";
import { backendOn, SECRET, startWorld } from "./world.ts";

const ready = async (url: string): Promise<boolean> => (await fetch(`${url}/ready`)).status === 200;

describe.concurrent("a Redis that becomes unavailable", () => {
  test("rejects pushes and keeps clients connected; after a reconnect no rejoin is needed", async () => {
    const world = await startWorld("redis", { toml: `presence_window = "10ms"\n` });
    try {
      const client = await world.connect();
      await client.join("room", { token: world.token("room") });
      expect((await client.ask({ topic: "room", event: "news" })).status).toBe("ok");

      world.redis?.kill("SIGSTOP");
      const frozen = performance.now();
      const late = await client.ask({ topic: "room", event: "frozen" });
      expect(late).toMatchObject({ status: "error", response: { reason: "backend unavailable" } });
      // A command times out after 2 s.
      expect(performance.now() - frozen).toBeGreaterThan(1000);

      await world.redis?.down();
      await eventually(async () => !(await ready(world.channel.url)), "/ready 503");
      for (let i = 0; i < 5; i++) {
        const { response } = await client.ask({ topic: "room", event: "away" });
        expect(response).toEqual({ reason: "backend unavailable" });
      }

      // Presence, the clock and admin work without Redis.
      const other = await world.connect();
      expect((await other.join("room", { token: world.token("room", { id: "bob" }) })).status).toBe("ok");
      expect(Object.keys(Object((await other.event("presence_state")).payload)).sort()).toEqual([
        "alice",
        "bob",
      ]);
      await client.frames.until((each) => /"joins":\{"bob"/.test(each.text), "the diff of bob");
      await other.join("system", { token: world.token("system") });
      await other.event("datetime");
      const admin = await world.connect();
      expect((await admin.join("admin", { token: await world.adminToken("root") })).status).toBe("ok");
      await admin.event("channel.list");

      await world.redis?.restart();
      await eventually(() => ready(world.channel.url), "/ready 200");
      const received = await world.backend.listen("from:room:*");
      expect((await client.ask({ topic: "room", event: "again" })).status).toBe("ok");
      // Rejected pushes are not published later.
      expect((await received.next()).name).toBe("from:room:again");
      await world.backend.publish("to:room:welcome", "1");
      await client.event("welcome");
      const ended = client.frames.all.filter((each) => ["phx_close", "phx_error"].includes(each.event));
      expect(ended).toEqual([]);
    } finally {
      await world.stop();
    }
  }, 30_000);

  test("at start is retried while sockets are served, and logged once", async () => {
    const port = freePort();
    const channel = await startChannel({
      args: ["--redis-url", `redis://127.0.0.1:${port}`, "--jwt-secret", SECRET],
    });
    try {
      expect((await fetch(`${channel.url}/ready`)).status).toBe(503);
      expect((await fetch(`${channel.url}/health`)).status).toBe(200);
      const client = await connectPhoenix(channel.url);
      await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
      await client.event("presence_diff");
      const { response } = await client.ask({ topic: "room", event: "news" });
      expect(response).toEqual({ reason: "backend unavailable" });
      const isWarning = ({ level, message }: LogLine) => level !== "info" && /redis|bus/i.test(message);
      await channel.log.atLeast(1, isWarning);
      await Bun.sleep(3000);
      expect(channel.lines.filter(isWarning)).toHaveLength(1);

      const redis = await startRedis(["--port", String(port)]);
      const backend = backendOn(port);
      try {
        await eventually(() => ready(channel.url), "/ready 200");
        expect((await client.ask({ topic: "room", event: "news" })).status).toBe("ok");
        await backend.publish("to:room:welcome", "1");
        await client.event("welcome");
      } finally {
        backend.stop();
        await redis.stop();
      }
    } finally {
      await channel.stop();
    }
  }, 30_000);
});
