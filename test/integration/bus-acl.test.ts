import { afterEach, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import type { Bus } from "../../src/bus/bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { LIMITS } from "./bus-implementations.ts";
import { GreetingListener, type LogEntry, recordingLog } from "./bus-rig.ts";
import { eventually } from "./phoenix-client.ts";
import { killSubscribers } from "./positions-rig.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { type RedisProxy, startRedisProxy } from "./redis-proxy.ts";
import { startClusterNodes } from "./redis-topologies.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const NAMES = "resetchannels &to:* &from:* &hub:*";
const COMMANDS = "+publish +psubscribe +ping +role +client|setname +time";

/** Rights of the user, as `ACL SETUSER` takes them. */
function redisFor(rights: string): Promise<RedisProcess> {
  const started = startRedis(["--user", "limited", "on", ">x", ...rights.split(" ")]);
  ends.push(async () => (await started).stop());
  return started;
}

async function resp2ProxyTo(port: number): Promise<RedisProxy> {
  const proxy = await startRedisProxy(port, { resp2: true });
  ends.push(() => proxy.stop());
  return proxy;
}

interface Started {
  readonly bus: Bus;
  readonly received: GreetingListener;
  readonly entries: readonly LogEntry[];
}

async function startBus(url: string): Promise<Started> {
  const { log, entries } = recordingLog();
  const received = new GreetingListener("own");
  const bus = createRedisBus({ url, ...LIMITS, log });
  ends.push(() => bus.stop());
  await bus.subscribe(["to", "hub"], received);
  return { bus, received, entries };
}

async function startAs(port: number): Promise<Started> {
  const started = await startBus(`redis://limited:x@127.0.0.1:${port}`);
  await eventually(() => started.bus.state.live, "a live bus");
  return started;
}

function connect(port: number): Redis {
  const redis = new Redis({ host: "127.0.0.1", port });
  ends.push(() => redis.disconnect());
  return redis;
}

function entriesOf(entries: readonly LogEntry[], start: string): LogEntry[] {
  return entries.filter(({ message }) => message.startsWith(start));
}

describe("a user of Redis with few rights", () => {
  test("without hub:*, messages on to: arrive, and one line of the log says what is not available", async () => {
    const redis = await redisFor(`resetchannels &to:* &from:* ${COMMANDS}`);
    const { bus, received, entries } = await startAs(redis.port);
    const backend = connect(redis.port);
    for (let loss = 0; loss <= 2; loss++) {
      await backend.publish("to:any:one", String(loss));
      expect((await received.on("to:any:one")).toString()).toBe(String(loss));
      if (loss === 2) break;
      expect(await killSubscribers(backend)).toBe(1);
      await received.calls.until((call) => call === "lost", "the loss");
      await eventually(() => bus.state.live, "a live bus");
    }
    expect(received.calls.all.filter((call) => call === "lost")).toHaveLength(2);
    expect(received.messages.all).toHaveLength(3);
    const lines = entriesOf(entries, "Redis refused hub:*");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: "warn", fields: { reason: expect.stringMatching(/^NOPERM/) } });
  });

  test("without TIME, the greeting has the local time; the debug log says so once", async () => {
    const redis = await redisFor(`${NAMES} ${COMMANDS.replace(" +time", "")}`);
    const { received, entries } = await startAs(redis.port);
    await received.on("hub:marker");
    expect(await killSubscribers(connect(redis.port))).toBe(1);
    await received.on("hub:marker");
    for (const { brokerTime } of received.greetings) {
      expect(Math.abs(brokerTime / 1000 - Date.now())).toBeLessThan(60_000);
    }
    const lines = entriesOf(entries, "Redis does not answer TIME");
    expect(lines.map(({ level }) => level)).toEqual(["debug"]);
    expect(
      entries.filter(({ level }) => level === "warn" || level === "error").map(({ message }) => message),
    ).toEqual(["Redis connection lost, retrying"]);
  });

  test("without to:*, the bus is not live, and the loss of no subscription is reported", async () => {
    const redis = await redisFor(`resetchannels &from:* &hub:* ${COMMANDS}`);
    const { bus, received } = await startBus(`redis://limited:x@127.0.0.1:${redis.port}`);
    for (let attempt = 0; attempt < 3; attempt++) {
      await received.calls.until((call) => call === "greeting", "an attempt");
    }
    expect(bus.state.live).toBe(false);
    expect(bus.state.detail).toContain("NOPERM");
    expect(received.calls.all).not.toContain("lost");
  });

  test.each([
    ["transactions", `${NAMES} ${COMMANDS}`],
    ["publishing on hub:*", `${NAMES.replace("&hub:*", "&hub:\\*")} ${COMMANDS} +multi +exec`],
  ])("without RESP3 and without %s, messages arrive without a greeting", async (_what, rights) => {
    const redis = await redisFor(rights);
    const proxy = await resp2ProxyTo(redis.port);
    const { received, entries } = await startAs(proxy.port);
    await connect(redis.port).publish("to:any:one", "1");
    await received.on("to:any:one");
    expect(received.calls.all).toEqual(["greeting", "to:any:one 1"]);
    expect(entriesOf(entries, "Redis refused hub:*")).toHaveLength(1);
  });

  test("publishes nothing to find out whether it may publish, with or without RESP3", async () => {
    const redis = await redisFor(`${NAMES} ${COMMANDS} +multi +exec`);
    const proxy = await resp2ProxyTo(redis.port);
    const backend = connect(redis.port);
    const control = connect(redis.port);
    const published: string[] = [];
    backend.on("pmessage", (_pattern: string, name: string) => published.push(name));
    await backend.psubscribe("*");
    for (const { port } of [redis, proxy]) {
      const { bus } = await startAs(port);
      expect(bus.state.live).toBe(true);
    }
    // Asked again without the right, the bus is not live.
    await control.call("ACL", "SETUSER", "limited", "-publish");
    const third = await startBus(`redis://limited:x@127.0.0.1:${redis.port}`);
    await eventually(() => third.bus.state.detail.includes("NOPERM"), "the refusal");
    await control.publish("the:last:one", "1");
    await eventually(() => published.includes("the:last:one"), "the last message");
    expect(published).toEqual(["hub:marker", "hub:marker", "the:last:one"]);
  });
});

describe("the node of a cluster", () => {
  test("is named by its id, and by its address where the id is refused", async () => {
    const ports = await startClusterNodes(ends);
    const nodes = ports.map(connect);
    const ids = await Promise.all(nodes.map((node) => node.cluster("MYID")));
    for (const node of nodes) {
      const rights = `${NAMES} ${COMMANDS} +cluster|slots`.split(" ");
      await node.call("ACL", "SETUSER", "limited", "on", ">x", ...rights);
    }
    const named = async (url: string): Promise<string | undefined> => {
      const { received } = await startBus(url);
      await received.on("hub:marker");
      return received.greetings[0]?.node;
    };
    for (const [i, port] of ports.entries()) {
      expect(await named(`redis+cluster://127.0.0.1:${port}`)).toBe(String(ids[i]));
      // The address does not say that it is a cluster; the server does.
      expect(await named(`redis://127.0.0.1:${port}`)).toBe(String(ids[i]));
      expect(await named(`redis+cluster://limited:x@127.0.0.1:${port}`)).toBe(`127.0.0.1:${port}`);
    }
  }, 30_000);

  test("is named in the greeting that servers on other nodes receive too", async () => {
    const ports = await startClusterNodes(ends);
    const started = await Promise.all(
      ports.slice(0, 2).map((port) => startBus(`redis+cluster://127.0.0.1:${port}`)),
    );
    const [one, other] = started.map(({ received }) => received);
    if (one === undefined || other === undefined) throw new Error("two servers");
    await Promise.all([one, other].map((each) => each.on("hub:marker")));
    expect(one.greetings[0]?.node).not.toBe(other.greetings[0]?.node);
    const [redis] = ports.map(connect);
    if (redis === undefined) throw new Error("no node");
    const before = other.messages.all.length;
    expect(await killSubscribers(redis)).toBe(1);
    await one.calls.until((call) => call === "greeting", "the next subscription");
    await eventually(() => other.messages.all.length > before, "the greeting, at the other node");
  }, 30_000);
});
