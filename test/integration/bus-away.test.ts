import { afterEach, describe, expect, test } from "bun:test";
import type { Bus } from "../../src/bus/bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { Backend, type LogEntry, RecordingListener, recordingLog, Settled } from "./bus-rig.ts";
import { eventually } from "./phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";

const MAX_PAYLOAD = 4 * 1024 * 1024;
/**
 * Timeout of a wait, in ms. test/bench/promises.test.ts checks that a subscription is restored within 2 s and that a push is
 * settled within 2 s.
 */
const HANGS = 15_000;

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function redisProcess(args?: readonly string[]): Promise<RedisProcess> {
  const redis = await startRedis(args);
  ends.push(() => redis.stop());
  return redis;
}

async function backendAt(port: number): Promise<Backend> {
  const backend = await Backend.connect(port);
  ends.push(() => backend.close());
  return backend;
}

interface Started {
  readonly bus: Bus;
  readonly received: RecordingListener;
  readonly entries: LogEntry[];
  text(): string;
}

async function startBus(url: string): Promise<Started> {
  const { log, entries, text } = recordingLog();
  const received = new RecordingListener();
  const bus = createRedisBus({ url, maxPayload: MAX_PAYLOAD, log });
  ends.push(() => bus.stop());
  await bus.subscribe(["to"], received);
  return { bus, received, entries, text };
}

async function startLive(url: string): Promise<Started> {
  const started = await startBus(url);
  await untilLive(started, true);
  return started;
}

async function untilLive({ bus, received }: Started, live: boolean): Promise<void> {
  while (bus.state.live !== live) await received.changes.next();
}

/** Log entries above debug. */
function messagesAboveDebug(entries: readonly LogEntry[]): string[] {
  return entries.filter(({ level }) => level !== "debug").map(({ message }) => message);
}

const LOST = "Redis connection lost, retrying";
const NONE = "Redis not reachable, retrying";
const CONNECTED = "Redis connected";

describe("Redis is unavailable", () => {
  test("without Redis, subscribe resolves, publishes are rejected, one line is logged; live when Redis starts", async () => {
    const redis = await redisProcess();
    await redis.down();
    const before = performance.now();
    const started = await startBus(redis.url);
    const { bus, received, entries } = started;
    expect(performance.now() - before).toBeLessThan(HANGS);
    expect(bus.state).toMatchObject({ live: false, gaps: 0 });
    expect(bus.state.detail).toBe(`cannot reach 127.0.0.1:${redis.port}: connection refused`);
    const ack = new Settled();
    bus.publish("from:a:b", "1", ack);
    expect(ack.times).toBe(1);
    expect(await ack.promise).toBe(false);
    // Several attempts without a notification.
    await Bun.sleep(600);
    expect(messagesAboveDebug(entries)).toEqual([NONE]);
    expect(received.changes.all).toEqual([]);
    await redis.restart();
    const back = performance.now();
    await untilLive(started, true);
    expect(performance.now() - back).toBeLessThan(HANGS);
    expect(messagesAboveDebug(entries)).toEqual([NONE, CONNECTED]);
    expect(received.changes.all).toHaveLength(1);
    expect(bus.state.gaps).toBe(0);
    const backend = await backendAt(redis.port);
    await backend.publish("to:after:start", "x");
    expect((await received.on("to:after:start")).toString()).toBe("x");
  });

  test("a lost connection: one state change each way, one gap, subscribes again, sends no message late", async () => {
    const redis = await redisProcess();
    const started = await startLive(redis.url);
    const { bus, received, entries } = started;
    redis.kill("SIGKILL");
    await untilLive(started, false);
    const late = new Settled();
    bus.publish("from:late:one", "late", late);
    expect(await late.promise).toBe(false);
    await Bun.sleep(400);
    await redis.restart();
    const back = performance.now();
    const backend = await backendAt(redis.port);
    // Read from Redis, not from the bus.
    while ((await backend.publish("to:probe:event", "probe")) === 0) await Bun.sleep(5);
    expect(performance.now() - back).toBeLessThan(HANGS);
    await untilLive(started, true);
    expect(bus.state).toMatchObject({ live: true, gaps: 1 });
    expect((await received.on("to:probe:event")).toString()).toBe("probe");
    const now = new Settled();
    bus.publish("from:after:loss", "now", now);
    expect(await now.promise).toBe(true);
    expect((await backend.received.next()).name.toString()).toBe("from:after:loss");
    expect(received.changes.all.map(({ live }) => live)).toEqual([true, false, true]);
    expect(messagesAboveDebug(entries)).toEqual([CONNECTED, LOST, CONNECTED]);
  });

  test.each([
    ["channel-subscriber", 1],
    ["channel-publisher", 0],
  ])(
    "the connection %s killed alone heals, and is %p gaps: what counts is what was not received",
    async (name, gaps) => {
      const redis = await redisProcess();
      const started = await startLive(redis.url);
      const { bus, received } = started;
      const backend = await backendAt(redis.port);
      const clients = String(await backend.command("client", "list"));
      const id = new RegExp(`id=(\\d+) .*name=${name} `).exec(clients)?.[1] ?? "";
      expect(await backend.command("client", "kill", "id", id)).toBe(1);
      await untilLive(started, false);
      await untilLive(started, true);
      expect(bus.state.gaps).toBe(gaps);
      expect(received.changes.all.map(({ live }) => live)).toEqual([true, false, true]);
      expect(await backend.publish("to:healed:a", "1")).toBe(1);
      await received.on("to:healed:a");
      const ack = new Settled();
      bus.publish("from:healed:b", "2", ack);
      expect(await ack.promise).toBe(true);
      await backend.on("from:healed:b");
    },
  );

  test("a frozen Redis: pending pushes fail in order, later ones at once, none is delivered twice", async () => {
    const redis = await redisProcess();
    const started = await startLive(redis.url);
    const { bus, entries } = started;
    const backend = await backendAt(redis.port);
    redis.kill("SIGSTOP");
    const order: string[] = [];
    const settled = Promise.withResolvers<void>();
    const begin = performance.now();
    for (let i = 0; i < 200; i++) {
      bus.publish("from:frozen:push", String(i), {
        settled: (accepted) => {
          order.push(`${i} ${accepted}`);
          if (order.length === 200) settled.resolve();
        },
      });
    }
    await settled.promise;
    const waited = performance.now() - begin;
    expect(waited).toBeGreaterThan(1000);
    expect(waited).toBeLessThan(HANGS);
    expect(order).toEqual(order.map((_, i) => `${i} false`));
    expect(bus.state.live).toBe(false);
    const later = new Settled();
    bus.publish("from:frozen:later", "later", later);
    expect(later.times).toBe(1);
    redis.kill("SIGCONT");
    const back = performance.now();
    await untilLive(started, true);
    expect(performance.now() - back).toBeLessThan(HANGS);
    bus.publish("from:frozen:end", "end");
    await backend.on("from:frozen:end");
    const names = backend.received.all.map(({ name, payload }) => `${name} ${payload}`);
    // Redis may deliver once what it received before it froze.
    expect(new Set(names).size).toBe(names.length);
    expect(names).not.toContain("from:frozen:later later");
    expect(messagesAboveDebug(entries)).toEqual([CONNECTED, LOST, CONNECTED]);
  }, 40_000);

  test("detects a frozen Redis without traffic", async () => {
    const redis = await redisProcess();
    const started = await startLive(redis.url);
    redis.kill("SIGSTOP");
    const begin = performance.now();
    await untilLive(started, false);
    expect(performance.now() - begin).toBeLessThan(HANGS);
    expect(started.bus.state.detail).toEndWith("no answer");
  }, 30_000);

  test("detects a subscriber connection that stops receiving while the publisher connection works", async () => {
    const redis = await redisProcess();
    const proxy = droppingProxy(redis.port);
    const started = await startLive(`redis://127.0.0.1:${proxy.port}`);
    proxy.dropTraffic((sent) => sent.includes("PSUBSCRIBE") || sent.includes("psubscribe"));
    const begin = performance.now();
    await untilLive(started, false);
    expect(performance.now() - begin).toBeLessThan(HANGS);
    proxy.resume();
    await untilLive(started, true);
    expect(started.bus.state.gaps).toBe(1);
  }, 15_000);

  test("is not live on a peer that sends nothing or uses another protocol", async () => {
    for (const greeting of ["", "HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0"]) {
      const peer = Bun.listen({
        hostname: "127.0.0.1",
        port: 0,
        socket: { open: (socket) => void (greeting !== "" && socket.write(greeting)), data: () => {} },
      });
      ends.push(() => peer.stop(true));
      const { bus, entries } = await startBus(`redis://127.0.0.1:${peer.port}`);
      await Bun.sleep(300);
      expect(bus.state.live).toBe(false);
      const ack = new Settled();
      bus.publish("from:no:body", "1", ack);
      expect(ack.times).toBe(1);
      expect(messagesAboveDebug(entries)).not.toContain(CONNECTED);
      await bus.stop();
    }
  }, 20_000);

  test("logs an unknown host once and retries", async () => {
    const { bus, entries } = await startBus("redis://no-such-host.invalid:6379");
    // subscribe resolves after 3 s, whether or not the name server has answered.
    const unknown = "cannot reach no-such-host.invalid:6379: ";
    await eventually(() => bus.state.detail.startsWith(unknown), "the reason");
    expect(bus.state.live).toBe(false);
    expect(messagesAboveDebug(entries)).toEqual([NONE]);
  });

  test("stops at once without Redis and does not reconnect", async () => {
    const { bus, received, entries } = await startBus(`redis://127.0.0.1:${freePort()}`);
    const begin = performance.now();
    await bus.stop();
    expect(performance.now() - begin).toBeLessThan(HANGS);
    const before = entries.length;
    await Bun.sleep(300);
    expect(entries.length).toBe(before);
    expect(received.changes.all).toEqual([]);
  });
});

describe("Redis rejects", () => {
  const SECRET = "p@ss:w/rd%41&é";
  const USER = ["--user", "default", "on", `>${SECRET}`, "~*", "&*", "+@all"];

  function urlWith(port: number, user: string, password: string): string {
    return `redis://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${port}`;
  }

  test("authenticates with the password of the address and exposes it in no log and no state", async () => {
    const redis = await redisProcess(USER);
    const started = await startLive(urlWith(redis.port, "", SECRET));
    redis.kill("SIGKILL");
    await untilLive(started, false);
    await redis.restart();
    await untilLive(started, true);
    for (const secret of [SECRET, encodeURIComponent(SECRET)]) {
      expect(started.text()).not.toContain(secret);
      expect(JSON.stringify(started.received.changes.all)).not.toContain(secret);
    }
  });

  test("a wrong or missing password: not live, reports Redis' error, exposes no secret", async () => {
    const redis = await redisProcess(USER);
    const wrong = await startBus(urlWith(redis.port, "default", "wr0ng-s3cret"));
    await eventually(() => wrong.bus.state.detail.includes("WRONGPASS"), "Redis' own words");
    expect(wrong.bus.state.live).toBe(false);
    expect(wrong.text() + wrong.bus.state.detail).not.toContain("wr0ng-s3cret");
    const none = await startBus(redis.url);
    await eventually(() => none.bus.state.detail.includes("NOAUTH"), "Redis' own words");
    expect(none.bus.state.live).toBe(false);
    expect(messagesAboveDebug(none.entries)).toEqual([NONE]);
  });

  test("is not live without permission to subscribe and logs the reason once", async () => {
    const redis = await redisProcess(["--user", "dumb", "on", ">x", "&from:*", "+@all"]);
    const { bus, entries } = await startBus(urlWith(redis.port, "dumb", "x"));
    await eventually(() => bus.state.detail.includes("NOPERM"), "Redis' own words");
    expect(bus.state.live).toBe(false);
    expect(messagesAboveDebug(entries)).toEqual([NONE]);
  });

  test("a message that Redis rejects fails alone; the others are accepted", async () => {
    const redis = await redisProcess([
      "--user",
      "half",
      "on",
      ">x",
      "&to:*",
      "&from:good:*",
      "&from:phoenix:*",
      "+@all",
    ]);
    const { bus, entries, received } = await startLive(urlWith(redis.port, "half", "x"));
    const backend = await backendAt(redis.port);
    const acks = Array.from({ length: 9 }, () => new Settled());
    acks.forEach((ack, i) => {
      bus.publish(i % 2 === 0 ? "from:good:a" : "from:bad:a", String(i), ack);
    });
    const accepted = await Promise.all(acks.map(({ promise }) => promise));
    expect(accepted).toEqual(acks.map((_, i) => i % 2 === 0));
    expect(bus.state.live).toBe(true);
    expect(received.changes.all).toHaveLength(1);
    expect(messagesAboveDebug(entries)).toEqual([CONNECTED, "Redis refused a message"]);
    for (let i = 0; i < 9; i += 2) expect((await backend.received.next()).payload.toString()).toBe(String(i));
  });

  test("retries at the client limit of Redis until a connection is allowed", async () => {
    const redis = await redisProcess(["--maxclients", "2"]);
    const backend = await Backend.connect(redis.port);
    const started = await startBus(redis.url);
    await Bun.sleep(300);
    expect(started.bus.state.live).toBe(false);
    expect(messagesAboveDebug(started.entries)).toEqual([NONE]);
    backend.close();
    await untilLive(started, true);
  });
});

/** A proxy to a port. It can drop all traffic without closing, like a firewall that lost its connection state. */
function droppingProxy(port: number): {
  readonly port: number;
  dropTraffic(match: (sent: string) => boolean): void;
  resume(): void;
} {
  interface Pair {
    sent: string;
    dropping: boolean;
    far: Bun.Socket | null;
    waiting: Buffer[];
  }
  const pairs = new Set<Pair>();
  const listener = Bun.listen<Pair>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      async open(near) {
        const pair: Pair = { sent: "", dropping: false, far: null, waiting: [] };
        near.data = pair;
        pairs.add(pair);
        pair.far = await Bun.connect({
          hostname: "127.0.0.1",
          port,
          socket: {
            data: (_far, chunk) => void (pair.dropping || near.write(chunk)),
            close: () => void near.end(),
          },
        });
        for (const chunk of pair.waiting) pair.far.write(chunk);
      },
      data(near, chunk) {
        const pair = near.data;
        pair.sent += chunk.toString("latin1");
        if (pair.dropping) return;
        if (pair.far === null) pair.waiting.push(Buffer.from(chunk));
        else pair.far.write(chunk);
      },
      close(near) {
        near.data.far?.end();
        pairs.delete(near.data);
      },
    },
  });
  ends.push(() => listener.stop(true));
  return {
    port: listener.port,
    dropTraffic: (match) => {
      for (const pair of pairs) pair.dropping = match(pair.sent);
    },
    resume: () => {
      for (const pair of pairs) pair.dropping = false;
    },
  };
}
