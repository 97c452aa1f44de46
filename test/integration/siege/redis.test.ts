import { afterEach, describe, expect, test } from "bun:test";
import { type LogLine, startChannel } from "../channel-process.ts";
import { connectPhoenix, eventually, mint } from "../phoenix-client.ts";
import { startRedis } from "../redis-process.ts";
import { SECRET } from "../world.ts";
import { type Siege, type SiegeOptions, startSiege } from "./besieged.ts";

/** What takes longer hangs, in ms. test/bench/promises.test.ts measures that the subscription is back within 2 s (bridge.md). */
const HANGS = 15_000;

const PASSWORD = "correct-horse-battery";

/** Other warnings, such as the limit on open files, depend on the machine. */
const isWarningOfRedis = ({ level, message }: LogLine): boolean =>
  level === "warn" && message.includes("Redis");

const isAboutRedis = ({ level, message }: LogLine): boolean => level !== "debug" && message.includes("Redis");

const open: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.stop();
});

async function siege(options?: SiegeOptions): Promise<Siege> {
  const one = await startSiege(options);
  open.push(one);
  return one;
}

/** Authenticated as a Redis ACL user, which the test can change. */
function siegeWithUser(): Promise<Siege> {
  return siege({
    redisArgs: ["--user", "channel", "on", `>${PASSWORD}`, "~*", "&*", "+@all"],
    url: ({ port }) => `redis://channel:${PASSWORD}@127.0.0.1:${port}`,
  });
}

describe("a Redis under a whole server", () => {
  test("a hundred kills in a row: disconnects no client, answers every push correctly, counts every gap", async () => {
    const kills = 100;
    let lost = 0;
    const { redis, channel, killConnections, publish, push, untilReady, gaps, logged, verify, client } =
      await siege();
    let slowest = 0;
    for (let i = 1; i <= kills; i++) {
      await publish();
      expect((await push()).status).toBe("ok");
      // Both connections, or one of them.
      const name = i % 3 === 0 ? undefined : i % 3 === 1 ? "channel-subscriber" : "channel-publisher";
      expect(await killConnections(name)).toBe(name === undefined ? 2 : 1);
      const killed = performance.now();
      // During the gap.
      await Promise.all([publish(), push()]);
      await channel.log.until(({ message }) => message === "Redis connection lost, retrying");
      // The loss of the publisher alone is no gap: no message was missed.
      if (name !== "channel-publisher") lost++;
      await untilReady();
      expect(await gaps()).toBe(lost);
      slowest = Math.max(slowest, performance.now() - killed);
      await publish();
      expect((await push()).status).toBe("ok");
    }
    await verify();
    expect(slowest).toBeLessThan(HANGS);
    expect(await (await fetch(`${channel.url}/ready`)).json()).toEqual({
      status: "ready",
      bus: "redis",
      gaps: lost,
      where: `127.0.0.1:${redis.port}`,
    });
    // For an operator: one line for the loss, one for the return, with duration and count.
    const lines = await channel.log.atLeast(1 + 2 * kills, isAboutRedis, "a line for each loss and return");
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(kills);
    expect(lines).toHaveLength(1 + 2 * kills);
    expect(lines.at(-2)).toMatchObject({
      message: "Redis connection lost, retrying",
      reason: expect.any(String),
    });
    expect(lines.at(-1)).toMatchObject({
      message: "Redis connected",
      awayMs: expect.any(Number),
      gaps: lost,
    });
    expect(logged()).not.toContainEqual(expect.objectContaining({ level: "error" }));
    expect(client.frames.all.filter((each) => each.event === "presence_diff").length).toBeLessThan(3);
  }, 120_000);

  test("not reachable at start: pages, sockets and presence work, pushes are refused, and it is logged once", async () => {
    const redis = await startRedis();
    open.push(redis);
    await redis.down();
    const before = performance.now();
    const channel = await startChannel({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
    open.push({ stop: async () => void (await channel.stop()) });
    expect(performance.now() - before).toBeLessThan(HANGS);
    expect((await fetch(`${channel.url}/`)).status).toBe(200);
    expect((await fetch(`${channel.url}/health`)).status).toBe(200);
    const away = await fetch(`${channel.url}/ready`);
    expect([away.status, await away.json()]).toEqual([
      503,
      {
        error: `The bus is disconnected: cannot reach 127.0.0.1:${redis.port}: connection refused.`,
        code: "bus_away",
      },
    ]);
    const client = await connectPhoenix(channel.url);
    expect((await client.join("room", { token: token("room") })).status).toBe("ok");
    await client.event("presence_state");
    expect((await client.ask({ topic: "room", event: "said" })).response).toEqual({
      reason: "backend unavailable",
    });
    await channel.log.atLeast(1, isWarningOfRedis);
    // Several tries later.
    await Bun.sleep(1500);
    expect(channel.lines.filter(isWarningOfRedis)).toEqual([
      expect.objectContaining({
        message: "Redis not reachable, retrying",
        where: `127.0.0.1:${redis.port}`,
        reason: "connection refused",
      }),
    ]);
    await redis.restart();
    const back = performance.now();
    await eventually(async () => (await fetch(`${channel.url}/ready`)).status === 200, "ready");
    expect(performance.now() - back).toBeLessThan(HANGS);
    expect((await client.ask({ topic: "room", event: "said" })).status).toBe("ok");
    // It was never connected, so no message was missed.
    expect(await (await fetch(`${channel.url}/ready`)).json()).toMatchObject({ gaps: 0 });
    client.socket.cut();
  }, 30_000);

  test("CLIENT PAUSE: waits for the end of a short one, treats a long one as an outage, and sends nothing twice or late", async () => {
    const { control, publish, push, untilReady, untilAway, gaps, verify } = await siege();
    const asked = performance.now();
    await control.client("PAUSE", 800);
    expect((await push()).status).toBe("ok");
    expect(performance.now() - asked).toBeGreaterThan(500);
    expect(await gaps()).toBe(0);
    await publish();

    await control.client("PAUSE", 4500);
    const paused = performance.now();
    const waiting = push();
    await untilAway();
    // A command has 2 s for its reply, and later pushes are refused at once.
    expect((await waiting).response).toEqual({ reason: "backend unavailable" });
    expect(performance.now() - paused).toBeWithin(1500, HANGS);
    expect((await push()).response).toEqual({ reason: "backend unavailable" });
    await untilReady();
    expect(performance.now() - paused).toBeLessThan(4500 + HANGS);
    expect(await gaps()).toBe(1);
    await publish();
    expect((await push()).status).toBe("ok");
    // After the pause Redis reads what had arrived, even from a closed connection: only that push may be received.
    await forgetUnknown(verify);
  }, 30_000);

  test("stopped and continued (SIGSTOP): an outage, then recovers", async () => {
    const { redis, client, publish, push, untilReady, untilAway, gaps, verify } = await siege();
    await publish();
    // Redis answers before it has written to its subscribers.
    await client.event("news");
    redis.kill("SIGSTOP");
    const waiting = push();
    await untilAway();
    expect((await waiting).status).toBe("error");
    // The timeout of the subscription is longer than that of a push. Until then no message is missed.
    await eventually(async () => (await gaps()) === 1, "the gap");
    redis.kill("SIGCONT");
    expect(await untilReady()).toBeLessThan(HANGS);
    expect(await gaps()).toBe(1);
    await publish();
    expect((await push()).status).toBe("ok");
    await forgetUnknown(verify);
  }, 30_000);

  test("DEBUG SLEEP: first a slow reply, then an outage", async () => {
    const { control, publish, push, untilReady, gaps, verify } = await siege({
      redisArgs: ["--enable-debug-command", "yes"],
    });
    const nap = control.call("DEBUG", "SLEEP", "1");
    expect((await push()).status).toBe("ok");
    await nap;
    expect(await gaps()).toBe(0);
    // Longer than a busy server needs to give the subscription up: 13 ticks of 200 ms without a byte.
    const sleep = control.call("DEBUG", "SLEEP", "5");
    expect((await push()).status).toBe("error");
    await sleep;
    expect(await untilReady()).toBeLessThan(HANGS);
    expect(await gaps()).toBe(1);
    await publish();
    expect((await push()).status).toBe("ok");
    await forgetUnknown(verify);
  }, 30_000);

  test("full (maxmemory, noeviction): still sends messages in both directions", async () => {
    const { control, publish, push, gaps, verify } = await siege();
    await control.config("SET", "maxmemory", "1");
    await control.config("SET", "maxmemory-policy", "noeviction");
    const full: unknown = await control.set("key", "value").catch((error: unknown) => String(error));
    expect(String(full)).toContain("OOM");
    await publish();
    expect((await push()).status).toBe("ok");
    await publish();
    await verify();
    expect(await gaps()).toBe(0);
  });

  test("refuses a push that Redis refuses, and logs the reason", async () => {
    const { channel, control, push, gaps, logged, verify, untilReady } = await siegeWithUser();
    // An ACL change on a running server: the connections stay, some channels are refused.
    await control.call("ACL", "SETUSER", "channel", "resetchannels", "&to:*", "&hub:*", "&from:phoenix:*");
    expect((await push()).response).toEqual({ reason: "backend unavailable" });
    expect((await push()).response).toEqual({ reason: "backend unavailable" });
    await channel.log.until(({ message }) => message === "Redis refused a message");
    const refusals = logged().filter(({ message }) => message === "Redis refused a message");
    expect(refusals).toEqual([expect.objectContaining({ reason: expect.stringContaining("NOPERM") })]);
    await control.call("ACL", "SETUSER", "channel", "allchannels");
    await untilReady();
    expect((await push()).status).toBe("ok");
    await verify();
    expect(await gaps()).toBe(0);
  });

  test("a password that changes while running: logs the reason without the password, and recovers with the right one", async () => {
    const { control, killConnections, publish, push, untilReady, untilAway, logged, channel, gaps, verify } =
      await siegeWithUser();
    await publish();
    await control.call("ACL", "SETUSER", "channel", "resetpass", ">another");
    // Redis keeps connections that are authenticated; new ones are refused.
    await killConnections();
    await untilAway();
    const where = { where: expect.any(String), reason: expect.stringContaining("WRONGPASS") };
    await channel.log.until(({ message }) => message.startsWith("Redis authentication failed"));
    const { error } = Object(await (await fetch(`${channel.url}/ready`)).json());
    expect(error).toContain("WRONGPASS");
    expect((await push()).status).toBe("error");
    // After several tries each line is still logged once.
    await Bun.sleep(1000);
    expect(logged().filter(isWarningOfRedis)).toEqual([
      expect.objectContaining({ message: "Redis connection lost, retrying" }),
      expect.objectContaining({ message: "Redis authentication failed, retrying", ...where }),
    ]);
    await control.call("ACL", "SETUSER", "channel", "resetpass", `>${PASSWORD}`);
    expect(await untilReady()).toBeLessThan(HANGS);
    expect(await gaps()).toBe(1);
    await publish();
    expect((await push()).status).toBe("ok");
    expect(channel.output()).not.toContain(PASSWORD);
    await verify();
  }, 30_000);

  test("stops on SIGTERM while Redis hangs", async () => {
    const { redis, channel, client, push } = await siege();
    redis.kill("SIGSTOP");
    const waiting = push().catch(() => {});
    const asked = performance.now();
    channel.kill("SIGTERM");
    expect((await client.socket.closed).code).toBe(1012);
    expect(await channel.exited).toBe(0);
    expect(performance.now() - asked).toBeLessThan(HANGS);
    await waiting;
  }, 20_000);

  test.each([
    ["wrong", ":not-the-password@", "WRONGPASS"],
    ["missing", "", "NOAUTH"],
  ])(
    "a password that is %s from the start: logs the error of Redis once, without the password",
    async (_how, user, code) => {
      const redis = await startRedis(["--requirepass", PASSWORD]);
      open.push(redis);
      const url = `redis://${user}127.0.0.1:${redis.port}`;
      const channel = await startChannel({ args: ["--redis-url", url, "--jwt-secret", SECRET] });
      open.push({ stop: async () => void (await channel.stop()) });
      const away = await fetch(`${channel.url}/ready`);
      expect([away.status, await away.json()]).toEqual([
        503,
        { error: expect.stringContaining(code), code: "bus_away" },
      ]);
      await channel.log.atLeast(1, isWarningOfRedis);
      await Bun.sleep(1000);
      expect(channel.lines.filter(isWarningOfRedis)).toEqual([
        expect.objectContaining({ reason: expect.stringContaining(code) }),
      ]);
      expect(channel.output()).not.toContain("not-the-password");
    },
  );

  test("a subscription killed for its output buffer is an outage", async () => {
    const { control, channel, publish, push, untilReady, gaps, verify } = await siege({
      redisArgs: ["--client-output-buffer-limit", "pubsub 256kb 0 0"],
    });
    await publish();
    // While the server does not read, as if it were short of CPU time.
    channel.kill("SIGSTOP");
    const filler = Buffer.alloc(1 << 20, "x");
    let receivers = 1;
    for (let i = 0; i < 40 && receivers > 0; i++)
      receivers = await control.publish("to:elsewhere:filler", filler);
    expect(receivers).toBe(0);
    channel.kill("SIGCONT");
    await eventually(async () => (await gaps()) === 1, "the gap");
    expect(await untilReady()).toBeLessThan(HANGS);
    const [, again] = await channel.log.atLeast(2, ({ message }) => message === "Redis connected");
    expect(again).toMatchObject({ gaps: 1 });
    await publish();
    expect((await push()).status).toBe("ok");
    await verify();
  }, 30_000);

  test("killed and restarted five times during a push", async () => {
    const { redis, client, publish, push, tally, untilReady, untilAway, gaps, verify } = await siege();
    for (let i = 1; i <= 5; i++) {
      await publish();
      // Redis answers before it has written to its subscribers: if it is killed in between, the message is lost.
      await client.event("news");
      const pushing = push();
      await redis.down();
      await pushing;
      // The same holds for a push in flight: answered ok it may be lost, refused it may have arrived.
      tally.pushed.delete(2 * i - 1);
      await untilAway();
      expect((await push()).status).toBe("error");
      await redis.restart();
      expect(await untilReady()).toBeLessThan(HANGS);
      expect(await gaps()).toBe(i);
    }
    await verify();
    expect(tally.pushed.size).toBe(5);
  }, 60_000);
});

/** Like `verify`, except for a push in flight when Redis was lost: Redis may have accepted it without a reply. */
async function forgetUnknown(verify: () => Promise<void>): Promise<void> {
  await verify().catch((error: unknown) => {
    if (!/push \d+: "backend unavailable", and arrived is true/.test(String(error))) throw error;
  });
}

function token(channel: string): string {
  return mint({ id: "alice", channel }, SECRET);
}
