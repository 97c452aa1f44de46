import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startChannel } from "./channel-process.ts";
import { type RunningCommand, startCommand } from "./cli-process.ts";
import { eventually } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { backendOn, SECRET } from "./world.ts";

const cwd = mkdtempSync(join(tmpdir(), "channel-lost-"));
let redis: RedisProcess;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  redis = await startRedis();
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

afterAll(async () => {
  await redis.stop();
  rmSync(cwd, { recursive: true, force: true });
});

function run(...args: readonly string[]): RunningCommand {
  const command = startCommand(args, cwd);
  ends.push(() => command.kill());
  return command;
}

describe("commands without a bus connection", () => {
  test("bench reports a lost bus, continues after the reconnect, and counts what it could not publish", async () => {
    const server = await startChannel({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
    ends.push(() => server.stop());
    const bench = run(
      ...["bench", "--clients", "5", "--rate", "50", "--for", "8s", "--json"],
      ...["--jwt-secret", SECRET, "--redis-url", redis.url, server.url],
    );
    await bench.errors.until((line) => line.startsWith("1 of 8 s"), "the first second");
    await redis.down();
    await bench.errors.until(
      (line) => line.startsWith(`lost the connection to Redis at 127.0.0.1:${redis.port}: `),
      "the loss",
    );
    await bench.errors.until((line) => line.includes(" of 8 s"), "another second without it");
    await redis.restart();
    await bench.errors.until(
      (line) => line === `reconnected to Redis at 127.0.0.1:${redis.port}`,
      "its return",
    );
    const found: unknown = JSON.parse(await bench.lines.next(25_000));
    expect(await bench.exited).toBe(0);
    const { published, unpublished, arrived, closed } = Object(found);
    expect(published + unpublished).toBe(400);
    expect(unpublished).toBeGreaterThan(10);
    // Messages are delivered again after the reconnect, more than before it.
    expect(arrived).toBeGreaterThan(100 * 5);
    expect(closed).toBe(0);
  }, 60_000);

  test.each(["SIGKILL", "SIGSTOP"] as const)(
    "watch reports a lost bus and shows messages after the reconnect (%s)",
    async (signal) => {
      const watch = run("watch", "to:*", "--redis-url", redis.url);
      await watch.errors.until((line) => line.startsWith("watching "), "watching");
      redis.kill(signal);
      await watch.errors.until((line) => line.startsWith("not connected to Redis at "), "the loss", 15_000);
      if (signal === "SIGKILL") await redis.restart();
      else redis.kill("SIGCONT");
      await watch.errors.until((line) => line.startsWith("watching "), "watching again", 10_000);
      const backend = backendOn(redis.port);
      ends.push(() => backend.stop());
      await eventually(async () => (await backend.publish("to:room:news", "1")) > 0, "a watcher");
      expect(await watch.lines.next()).toContain("to:room:news 1");
      watch.end();
      expect(await watch.exited).toBe(0);
    },
    60_000,
  );
});
