import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readMetrics, total } from "../../soak/samples.ts";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "../phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";
import { backendOn, SECRET } from "../world.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function redis(...args: string[]): Promise<RedisProcess> {
  const one = await startRedis(args);
  ends.push(() => one.stop());
  return one;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "channel-siege-"));
  ends.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Started {
  readonly channel: ChannelProcess;
  readonly client: PhoenixClient;
}

/** Starts the executable with this Redis URL and waits until it is ready, with a client in `room`. */
async function start(redisUrl: string, env: Readonly<Record<string, string>> = {}): Promise<Started> {
  const channel = await startChannel({ args: ["--redis-url", redisUrl, "--jwt-secret", SECRET], env });
  ends.push(async () => expect(await channel.stop()).toBe(0));
  await untilReady(channel);
  const client = await connectPhoenix(channel.url);
  ends.push(() => client.socket.cut());
  await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
  return { channel, client };
}

async function untilReady({ url }: ChannelProcess, timeout = 10_000): Promise<void> {
  await eventually(async () => (await fetch(`${url}/ready`)).status === 200, "/ready 200", timeout);
}

/** Checks both directions with a backend on this port. */
async function carries({ client }: Started, port: number, what: string): Promise<void> {
  const backend = backendOn(port);
  try {
    const received = await backend.listen("from:room:*");
    await backend.publish("to:room:news", JSON.stringify(what));
    await client.frames.until((each) => each.event === "news" && each.payload === what, `news of ${what}`);
    expect((await client.ask({ topic: "room", event: "said", payload: JSON.stringify(what) })).status).toBe(
      "ok",
    );
    await received.until(({ payload }) => payload.toString() === JSON.stringify(what), `push of ${what}`);
    // Once each, although every node of a cluster receives everything.
    await client.fence();
    expect(
      client.frames.all.filter(({ event, payload }) => event === "news" && payload === what),
    ).toHaveLength(1);
    expect(received.all.filter(({ payload }) => payload.toString() === JSON.stringify(what))).toHaveLength(1);
  } finally {
    backend.stop();
  }
}

describe("the executable connects to Redis", () => {
  test("by a socket file", async () => {
    const path = join(folder(), "redis.sock");
    const server = await redis("--unixsocket", path);
    const started = await start(`unix:${path}`);
    await carries(started, server.port, "file");
  });

  test("as an ACL user with only the required rights", async () => {
    const rules = [
      "resetchannels",
      "&to:*",
      "&from:*",
      "&hub:*",
      "-@all",
      "+psubscribe",
      "+publish",
      "+ping",
    ];
    const server = await redis("--user", "channel", "on", ">a-password-of-this-test", ...rules);
    const started = await start(`redis://channel:a-password-of-this-test@127.0.0.1:${server.port}`);
    await carries(started, server.port, "user");
    expect(started.channel.output()).not.toContain("a-password-of-this-test");
  });

  test.skipIf(Bun.which("openssl") === null)("by TLS with a trusted certificate only", async () => {
    const place = folder();
    const [key, cert] = [join(place, "key.pem"), join(place, "cert.pem")];
    const made = Bun.spawnSync([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"],
      ...["-keyout", key, "-out", cert],
    ]);
    expect(made.exitCode).toBe(0);
    const port = freePort();
    const server = await redis(
      ...["--tls-port", String(port), "--tls-cert-file", cert, "--tls-key-file", key],
      ...["--tls-ca-cert-file", cert, "--tls-auth-clients", "no"],
    );
    const trusting = await start(`rediss://localhost:${port}`, { NODE_EXTRA_CA_CERTS: cert });
    await carries(trusting, server.port, "trusted");
    await carries(await start(`rediss://localhost:${port}?ssl_cert_reqs=none`), server.port, "unchecked");
    const wary = await startChannel({ args: ["--redis-url", `rediss://localhost:${port}`] });
    ends.push(() => wary.stop());
    const answer = await fetch(`${wary.url}/ready`);
    expect([answer.status, await answer.text()]).toEqual([
      503,
      expect.stringMatching(/certificate|self.signed/i),
    ]);
  });

  test("by a Sentinel, and keeps every client through a failover", async () => {
    const master = await redis();
    const replica = await redis("--replicaof", `127.0.0.1 ${master.port}`);
    const port = freePort();
    const config = join(folder(), "sentinel.conf");
    writeFileSync(
      config,
      [
        `port ${port}`,
        "bind 127.0.0.1",
        `sentinel monitor main 127.0.0.1 ${master.port} 1`,
        "sentinel down-after-milliseconds main 500",
        "sentinel failover-timeout main 2000",
      ].join("\n"),
    );
    const sentinel = Bun.spawn(["redis-server", config, "--sentinel"], {
      stdout: "ignore",
      stderr: "ignore",
    });
    ends.push(async () => {
      sentinel.kill("SIGKILL");
      await sentinel.exited;
    });
    const asker = backendOn(port);
    ends.push(() => asker.stop());
    await eventually(
      async () => {
        const known: unknown = await asker.redis.call("SENTINEL", "REPLICAS", "main").catch(() => "");
        return JSON.stringify(known).includes(String(replica.port));
      },
      "the replica found",
      20_000,
    );
    const started = await start(`redis+sentinel://127.0.0.1:${port}/main`);
    await carries(started, master.port, "master");
    master.kill("SIGKILL");
    await eventually(
      async () => (await fetch(`${started.channel.url}/ready`)).status === 503,
      "/ready 503",
      10_000,
    );
    expect((await started.client.ask({ topic: "room", event: "said" })).response).toEqual({
      reason: "backend unavailable",
    });
    await untilReady(started.channel, 25_000);
    await carries(started, replica.port, "replica");
    expect(started.client.socket.isClosed).toBe(false);
    expect(total(await readMetrics(started.channel.url), "channel_bus_gaps_total")).toBe(1);
  }, 60_000);

  test("as a cluster of three nodes, and continues when one of them fails", async () => {
    const nodes = await Promise.all([0, 1, 2].map(() => redis("--cluster-enabled", "yes")));
    const ports = nodes.map(({ port }) => port);
    const create = [
      "redis-cli",
      "--cluster",
      "create",
      ...ports.map((port) => `127.0.0.1:${port}`),
      "--cluster-yes",
    ];
    expect(await Bun.spawn(create, { stdout: "ignore" }).exited).toBe(0);
    const started = await start(`redis+cluster://127.0.0.1:${ports[0]}`);
    for (const port of ports) await carries(started, port, `node ${port}`);
    const before = total(await readMetrics(started.channel.url), "channel_bus_gaps_total");
    nodes[0]?.kill("SIGKILL");
    await eventually(
      async () => total(await readMetrics(started.channel.url), "channel_bus_gaps_total") === before + 1,
      "the gap",
    );
    await untilReady(started.channel);
    for (const port of ports.slice(1)) await carries(started, port, `node ${port}, later`);
    expect(started.client.socket.isClosed).toBe(false);
  }, 40_000);
});
