import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { Bus } from "../../src/bus/bus.ts";
import { BusError } from "../../src/bus/bus-error.ts";
import { type BusConfig, openBus } from "../../src/bus/open-bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { Backend, RecordingListener, recordingLog, Settled } from "./bus-rig.ts";
import { Inbox } from "./inbox.ts";
import { eventually } from "./phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";

const MIB = 1024 * 1024;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function redisProcess(...args: string[]): Promise<RedisProcess> {
  const redis = await startRedis(args);
  ends.push(() => redis.stop());
  return redis;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "channel-bus-"));
  ends.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Live {
  readonly bus: Bus;
  readonly received: RecordingListener;
}

async function startLive(url: string, sentinelPassword: string | null = null): Promise<Live> {
  const received = new RecordingListener();
  const bus = createRedisBus({
    url,
    sentinel: { username: null, password: sentinelPassword },
    maxPayload: 4 * MIB,
    log: recordingLog().log,
  });
  ends.push(() => bus.stop());
  await bus.subscribe(["to"], received);
  await untilLive({ bus, received });
  return { bus, received };
}

async function untilLive({ bus, received }: Live, timeout?: number): Promise<void> {
  while (!bus.state.live) await received.changes.next(timeout);
}

/** A Sentinel that monitors `main`; stopped after the test. */
function startSentinel(port: number, master: number, quorum = 1, password?: string): Bun.Subprocess {
  const config = join(folder(), "sentinel.conf");
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    ...(password === undefined ? [] : [`requirepass ${password}`, `sentinel sentinel-pass ${password}`]),
    `sentinel monitor main 127.0.0.1 ${master} ${quorum}`,
    "sentinel down-after-milliseconds main 500",
    "sentinel failover-timeout main 2000",
  ];
  writeFileSync(config, lines.join("\n"));
  const sentinel = Bun.spawn(["redis-server", config, "--sentinel"], { stdout: "ignore", stderr: "ignore" });
  ends.push(async () => {
    sentinel.kill("SIGKILL");
    await sentinel.exited;
  });
  return sentinel;
}

/** Announcements that a Sentinel publishes from now on. */
async function announcements(port: number, password: string): Promise<Inbox<string>> {
  const inbox = new Inbox<string>("Sentinel", (text) => text);
  const client = new Redis({ host: "127.0.0.1", port, password });
  ends.push(() => client.disconnect());
  client.on("message", (_channel: string, text: string) => inbox.put(text));
  await client.subscribe("+switch-master");
  return inbox;
}

/** Checks both directions with a backend at `port`. The bus may be connected to another node. */
async function expectBothDirections({ bus, received }: Live, port: number): Promise<void> {
  const backend = await Backend.connect(port);
  try {
    await backend.publish("to:there:and", "down");
    expect((await received.on("to:there:and")).toString()).toBe("down");
    const ack = new Settled();
    bus.publish("from:back:again", "up", ack);
    expect(await ack.promise).toBe(true);
    expect((await backend.on("from:back:again")).toString()).toBe("up");
  } finally {
    backend.close();
  }
}

describe("connecting to Redis", () => {
  test("by a Unix socket", async () => {
    const path = join(folder(), "redis.sock");
    const redis = await redisProcess("--unixsocket", path);
    const live = await startLive(`unix:${path}`);
    expect(live.bus.state.detail).toBe(`connected to ${path}`);
    await expectBothDirections(live, redis.port);
  });

  // Generated for the test: a certificate in the repository would expire.
  test.skipIf(Bun.which("openssl") === null)("by TLS, with certificate verification", async () => {
    const place = folder();
    const [key, cert] = [join(place, "key.pem"), join(place, "cert.pem")];
    const made = Bun.spawnSync([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=localhost", "-days", "1", "-keyout", key, "-out", cert],
    ]);
    expect(made.exitCode).toBe(0);
    const tlsPort = freePort();
    const redis = await redisProcess(
      ...["--tls-port", String(tlsPort), "--tls-cert-file", cert, "--tls-key-file", key],
      ...["--tls-ca-cert-file", cert, "--tls-auth-clients", "no"],
    );
    await expectBothDirections(
      await startLive(`rediss://localhost:${tlsPort}?ssl_cert_reqs=none`),
      redis.port,
    );
    const bus = createRedisBus({
      url: `rediss://localhost:${tlsPort}`,
      maxPayload: MIB,
      log: recordingLog().log,
    });
    ends.push(() => bus.stop());
    await bus.subscribe(["to"], new RecordingListener());
    // subscribe resolves after 3 s, whether or not there is a result.
    await eventually(() => /certificate|self.signed/i.test(bus.state.detail), "the reason");
    expect(bus.state.live).toBe(false);
  });

  test.each(["fails", "is replaced"])(
    "asks a Sentinel for the master, and for the new master when it %s",
    async (how) => {
      const master = await redisProcess();
      const replica = await redisProcess("--replicaof", `127.0.0.1 ${master.port}`);
      const port = freePort();
      startSentinel(port, master.port);
      const client = await untilAnswers(port);
      // A failover needs a replica that the Sentinel has found.
      while (!String(await client.command("sentinel", "replicas", "main")).includes(String(replica.port))) {
        await Bun.sleep(50);
      }
      const live = await startLive(`redis+sentinel://127.0.0.1:${freePort()},127.0.0.1:${port}/main`);
      await expectBothDirections(live, master.port);
      if (how === "fails") master.kill("SIGKILL");
      else
        while ((await client.command("sentinel", "failover", "main").catch(() => null)) === null)
          await Bun.sleep(100);
      await live.received.changes.until((state) => !state.live, "the loss");
      await untilLive(live, 25_000);
      await expectBothDirections(live, replica.port);
      expect(live.bus.state.gaps).toBe(1);
    },
    40_000,
  );

  test("a Sentinel that announces the new master late causes one gap and no further reconnect", async () => {
    const master = await redisProcess();
    const replica = await redisProcess("--replicaof", `127.0.0.1 ${master.port}`);
    const ports = [freePort(), freePort(), freePort()];
    const sentinels = ports.map((port) => startSentinel(port, master.port, 2, "guarded"));
    const clients = await Promise.all(ports.map((port) => untilAnswers(port, "guarded")));
    for (const client of clients) {
      while (!String(await client.command("sentinel", "replicas", "main")).includes(String(replica.port)))
        await Bun.sleep(50);
      while (!String(await client.command("sentinel", "master", "main")).includes("num-other-sentinels,2")) {
        await Bun.sleep(50);
      }
    }
    const live = await startLive(
      `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(",")}/main`,
      "guarded",
    );
    expect(live.bus.state.where).toBe(`127.0.0.1:${master.port}`);
    await expectBothDirections(live, master.port);
    const last = await announcements(ports[2] ?? 0, "guarded");
    // This Sentinel is stopped during the failover and announces it late.
    sentinels[2]?.kill("SIGSTOP");
    master.kill("SIGKILL");
    await live.received.changes.until((state) => !state.live, "the loss");
    await untilLive(live, 25_000);
    await expectBothDirections(live, replica.port);
    sentinels[2]?.kill("SIGCONT");
    expect(await last.next(25_000)).toContain(` 127.0.0.1 ${replica.port}`);
    await expectBothDirections(live, replica.port);
    expect(live.bus.state.gaps).toBe(1);
    expect(live.bus.state.where).toBe(`127.0.0.1:${replica.port}`);
  }, 60_000);

  test("a cluster: every node receives all messages, and the bus reconnects to another node when its node fails", async () => {
    const nodes = await Promise.all(
      [0, 1, 2].map(() => redisProcess("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")),
    );
    const [first, second, third] = nodes;
    if (first === undefined || second === undefined || third === undefined) throw new Error("three nodes");
    const cli = [
      "redis-cli",
      "--cluster",
      "create",
      ...nodes.map(({ port }) => `127.0.0.1:${port}`),
      "--cluster-yes",
    ];
    expect(await Bun.spawn(cli, { stdout: "ignore" }).exited).toBe(0);
    // Only one node is configured; the others are learned from it.
    const live = await startLive(`redis+cluster://127.0.0.1:${first.port}`);
    await expectBothDirections(live, second.port);
    await expectBothDirections(live, third.port);
    const gaps = live.bus.state.gaps;
    first.kill("SIGKILL");
    await live.received.changes.until((state) => !state.live, "the loss");
    await untilLive(live);
    expect(live.bus.state.gaps).toBe(gaps + 1);
    await expectBothDirections(live, second.port);
    await expectBothDirections(live, third.port);
  }, 30_000);
});

test("discovers cluster nodes that were added while the server runs, and reports the node in use", async () => {
  const start = () => redisProcess("--cluster-enabled", "yes", "--cluster-node-timeout", "2000");
  const first = [await start(), await start(), await start()];
  const addresses = first.map(({ port }) => `127.0.0.1:${port}`);
  const run = async (...args: string[]): Promise<void> => {
    const child = Bun.spawn(["redis-cli", "--cluster", ...args], { stdout: "pipe", stderr: "pipe" });
    const out = await new Response(child.stdout).text();
    if ((await child.exited) !== 0) throw new Error(out);
  };
  await run("create", ...addresses, "--cluster-yes");
  const live = await startLive(`redis+cluster://${addresses[0]}`);
  expect(live.bus.state.where).toMatch(new RegExp(`^(${addresses.join("|")})`));
  // Added to the cluster while the server runs. It gets slots later.
  const fourth = await start();
  const added = `127.0.0.1:${fourth.port}`;
  await run("add-node", added, addresses[0] ?? "");
  const client = await untilAnswers(first[0]?.port ?? 0);
  while (!String(await client.command("cluster", "nodes")).includes(`${added}@`)) await Bun.sleep(50);
  // A few slots only: moving an equal share takes a minute on a busy machine.
  const from = String(await client.command("cluster", "myid"));
  const to = String(await (await untilAnswers(fourth.port)).command("cluster", "myid"));
  const reshard = ["--cluster-from", from, "--cluster-to", to, "--cluster-slots", "4", "--cluster-yes"];
  for (let done = false; !done; ) {
    done = await run("reshard", addresses[0] ?? "", ...reshard).then(
      () => true,
      () => false,
    );
  }
  // The node that the bus uses.
  const asks = async (): Promise<number> => {
    let sum = 0;
    for (const { port } of first) {
      const stats = String(await (await untilAnswers(port)).command("info", "commandstats"));
      sum += Number(/cmdstat_cluster\|slots:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    }
    return sum;
  };
  const before = await asks();
  while ((await asks()) < before + 2) await Bun.sleep(200);
  for (const node of first) node.kill("SIGKILL");
  await live.received.changes.until((state) => !state.live, "the loss");
  await untilLive(live, 15_000);
  expect(live.bus.state.where).toBe(added);
  expect(live.bus.state.detail).toContain(`connected to ${added}`);
  await expectBothDirections(live, fourth.port);
}, 60_000);

describe("bus selection", () => {
  function config(choice: Partial<BusConfig>): BusConfig {
    const limits = { maxPayload: 4 * MIB, maxBuffered: 64 * MIB };
    const address = { redisUrl: "redis://127.0.0.1:6379", redisUrlGiven: false };
    return {
      ...address,
      sentinelUsername: null,
      sentinelPassword: null,
      prefix: "",
      bus: "auto",
      amqpUrl: "amqp://127.0.0.1:5672",
      amqpExchangeTo: "channel.to",
      amqpExchangeFrom: "channel.from",
      amqpQueueBytes: 64 * MIB,
      limits,
      ...choice,
    };
  }

  async function open(choice: Partial<BusConfig>): Promise<Bus> {
    const bus = await openBus(config(choice), recordingLog().log);
    ends.push(() => bus.stop());
    return bus;
  }

  async function refusal(work: Promise<unknown>): Promise<BusError> {
    const error = await work.then(
      () => new Error("not refused"),
      (reason: unknown) => reason,
    );
    if (!(error instanceof BusError)) throw error;
    return error;
  }

  test("auto uses Redis if it answers, else the embedded bus on the same port", async () => {
    const redis = await redisProcess();
    expect((await open({ redisUrl: redis.url })).kind).toBe("redis");
    const port = freePort();
    const embedded = await open({ redisUrl: `redis://127.0.0.1:${port}` });
    expect(embedded.kind).toBe("embedded");
    const received = new RecordingListener();
    await embedded.subscribe(["to"], received);
    await expectBothDirections({ bus: embedded, received }, port);
    // A second server on the same machine connects to the bus of the first.
    const second = await open({ redisUrl: `redis://127.0.0.1:${port}` });
    expect(second.kind).toBe("redis");
    const receivedToo = new RecordingListener();
    await second.subscribe(["to"], receivedToo);
    await untilLive({ bus: second, received: receivedToo });
    await expectBothDirections({ bus: second, received: receivedToo }, port);
  });

  test("auto with a configured address, and redis, use Redis even if it does not answer", async () => {
    const redisUrl = `redis://127.0.0.1:${freePort()}`;
    expect((await open({ redisUrl, redisUrlGiven: true })).kind).toBe("redis");
    expect((await open({ redisUrl, bus: "redis" })).kind).toBe("redis");
  });

  test("embedded listens at the address of redis_url and requires its password", async () => {
    const port = freePort();
    const bus = await open({
      bus: "embedded",
      redisUrlGiven: true,
      redisUrl: `redis://:secret@localhost:${port}`,
    });
    const received = new RecordingListener();
    await bus.subscribe(["to"], received);
    expect(bus.state.detail).toBe(`embedded bus, with the Redis protocol on 127.0.0.1:${port}`);
    const backend = await Backend.connect(port, { password: "secret" });
    await backend.publish("to:with:password", "x");
    await received.on("to:with:password");
    backend.close();
  });

  test("embedded on a port that Redis uses is an error", async () => {
    const redis = await redisProcess();
    const bus = await open({ bus: "embedded", redisUrl: redis.url, redisUrlGiven: true });
    const error = await refusal(bus.subscribe(["to"], new RecordingListener()));
    expect(error.code).toBe("port-taken");
    expect(error.message).toContain(`port ${redis.port} of 127.0.0.1`);
  });

  test.each(["redis://example.com:6379", "unix:/run/redis.sock", "redis+cluster://127.0.0.1:1"])(
    "embedded at %s is an error",
    async (redisUrl) => {
      const error = await refusal(
        openBus(config({ bus: "embedded", redisUrl, redisUrlGiven: true }), recordingLog().log),
      );
      expect(error.code).toBe("bad-address");
    },
  );

  test("an invalid address is an error whose text has no password", async () => {
    const error = await refusal(
      openBus(config({ redisUrl: "redis://:hunter2@h:port", redisUrlGiven: true }), recordingLog().log),
    );
    expect(error.code).toBe("bad-address");
    expect(error.message).not.toContain("hunter2");
  });
});

/** Retries until the server listens. */
async function untilAnswers(port: number, password?: string): Promise<Backend> {
  for (;;) {
    try {
      const backend = await Backend.connect(port, password === undefined ? {} : { password });
      ends.push(() => backend.close());
      return backend;
    } catch {
      await Bun.sleep(20);
    }
  }
}
