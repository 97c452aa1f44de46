import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { type ChannelProcess, channelBinary, type LogLine, startChannel } from "../channel-process.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "../phoenix-client.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";
import { startSentinel } from "../redis-topologies.ts";
import { backendOn, SECRET } from "../world.ts";
import { type Siege, type SiegeOptions, startSiege } from "./besieged.ts";

const NO_REDIS = "Redis not reachable, retrying";
/** The role is requested every 5 s; the rest is for a busy machine. */
const NOTICED_MS = 40_000;

const open: { stop(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.stop();
});

async function redisProcess(args: readonly string[] = []): Promise<RedisProcess> {
  const redis = await startRedis(args);
  open.push(redis);
  return redis;
}

async function server(url: string, args: readonly string[] = []): Promise<ChannelProcess> {
  const channel = await startChannel({ args: ["--redis-url", url, "--jwt-secret", SECRET, ...args] });
  open.push(channel);
  return channel;
}

async function siege(options?: SiegeOptions): Promise<Siege> {
  const one = await startSiege(options);
  open.push(one);
  return one;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "channel-role-"));
  open.push({ stop: () => rmSync(path, { recursive: true, force: true }) });
  return path;
}

async function readiness(url: string): Promise<string> {
  const answer = await fetch(`${url}/ready`);
  return `${answer.status} ${await answer.text()}`;
}

async function untilReadiness(url: string, wanted: string): Promise<void> {
  let last = "";
  const isSo = async () => {
    last = await readiness(url);
    return last.includes(wanted);
  };
  await eventually(isSo, `/ready with ${wanted}`, NOTICED_MS).catch((error: unknown) => {
    throw new Error(`${error}; last: ${last}`);
  });
}

/** A warning about Redis: there may be others, about this machine. */
function isWarning({ level, message }: LogLine): boolean {
  return ["warn", "error"].includes(level) && message.includes("Redis");
}

/** The warnings about Redis, when there is one. */
const warnings = ({ log }: ChannelProcess): Promise<LogLine[]> =>
  log.atLeast(1, isWarning, "a warning about Redis");

async function joined(channel: ChannelProcess): Promise<PhoenixClient> {
  const client = await connectPhoenix(channel.url);
  open.push({ stop: () => client.socket.cut() });
  await client.join("room", { token: mint({ id: "alice", channel: "room" }, SECRET) });
  return client;
}

/** Checks: not ready, with the reason; pushes refused; one warning with the same reason. */
async function isNoBus(channel: ChannelProcess, words: string): Promise<void> {
  await untilReadiness(channel.url, words);
  expect(await readiness(channel.url)).toStartWith("503 ");
  const client = await joined(channel);
  const { response } = await client.ask({ topic: "room", event: "said" });
  expect(response).toEqual({ reason: "backend unavailable" });
  expect(await warnings(channel)).toEqual([
    expect.objectContaining({ message: NO_REDIS, reason: expect.stringContaining(words) }),
  ]);
}

describe("a Redis that is not a master is not used as bus", () => {
  test("becomes a replica with a joined client: refuses pushes, warns once with the role, and recovers", async () => {
    const other = await redisProcess(["--repl-diskless-sync-delay", "0"]);
    const { control, channel, push, untilReady, verify, client } = await siege();
    expect((await push()).status).toBe("ok");
    await control.replicaof("127.0.0.1", other.port);
    await untilReadiness(channel.url, "(role slave)");
    expect(await readiness(channel.url)).toContain(`it is a replica of 127.0.0.1:${other.port}`);
    expect((await push()).response).toEqual({ reason: "backend unavailable" });
    expect(await warnings(channel)).toEqual([
      expect.objectContaining({
        message: "Redis connection lost, retrying",
        reason: expect.stringContaining("(role slave)"),
      }),
    ]);
    await control.replicaof("NO", "ONE");
    await untilReady();
    expect((await push()).status).toBe("ok");
    expect(client.socket.isClosed).toBe(false);
    await verify();
  }, 60_000);

  test("started at a replica", async () => {
    const master = await redisProcess();
    const replica = await redisProcess(["--replicaof", `127.0.0.1 ${master.port}`]);
    const channel = await server(replica.url);
    await isNoBus(channel, `it is a replica of 127.0.0.1:${master.port} (role slave)`);
    // A publish on the command line reaches no client either.
    const publish = Bun.spawnSync(
      [channelBinary(), "publish", "to:room:news", "1", "--redis-url", replica.url],
      { env: {}, cwd: folder() },
    );
    expect([publish.exitCode, publish.stderr.toString()]).toEqual([
      1,
      expect.stringContaining("(role slave)"),
    ]);
  }, 60_000);

  test("started at a Sentinel's own port", async () => {
    const ends: (() => unknown)[] = [];
    open.push({
      stop: async () => {
        for (const end of ends.reverse()) await end();
      },
    });
    // It answers by then: there is no warning about a Redis that is not reachable.
    const { port } = new URL(await startSentinel(ends));
    const channel = await server(`redis://127.0.0.1:${port}`);
    await untilReadiness(channel.url, "it is a Sentinel");
    expect(await readiness(channel.url)).toContain("redis+sentinel://");
    expect((await warnings(channel)).length).toBeWithin(1, 3);
  }, 60_000);

  test("Sentinels with a password of their own", async () => {
    const master = await redisProcess();
    const port = freePort();
    const config = join(folder(), "sentinel.conf");
    const monitor = `sentinel monitor main 127.0.0.1 ${master.port} 1`;
    writeFileSync(config, `port ${port}\nbind 127.0.0.1\nrequirepass guarded-word\n${monitor}\n`);
    const sentinel = Bun.spawn(["redis-server", config, "--sentinel"], {
      stdout: "ignore",
      stderr: "ignore",
    });
    open.push({ stop: () => sentinel.kill("SIGKILL") });
    const url = `redis+sentinel://127.0.0.1:${port}/main`;
    const without = await server(url);
    await untilReadiness(without.url, "NOAUTH");
    const wrong = await startChannel({
      args: ["--redis-url", url, "--jwt-secret", SECRET],
      env: { SENTINEL_PASSWORD: "mistaken-word" },
    });
    open.push(wrong);
    await untilReadiness(wrong.url, "WRONGPASS");
    expect(wrong.output()).not.toContain("mistaken-word");
    const channel = await startChannel({
      args: ["--redis-url", url, "--jwt-secret", SECRET],
      toml: 'sentinel_password = "guarded-word"\n',
    });
    open.push(channel);
    await untilReadiness(channel.url, `"where":"127.0.0.1:${master.port}"`);
    const client = await joined(channel);
    expect((await client.ask({ topic: "room", event: "said" })).status).toBe("ok");
    expect(channel.output()).not.toContain("guarded-word");
  }, 60_000);

  test.each([
    ["the command", ["-publish"]],
    ["clients' channels", ["resetchannels", "&to:*"]],
  ])(
    "started as a user without the right to PUBLISH: %s",
    async (_what, rules) => {
      const redis = await redisProcess(["--user", "mute", "on", ">x", "~*", "&*", "+@all", ...rules]);
      await isNoBus(await server(`redis://mute:x@127.0.0.1:${redis.port}`), "NOPERM");
    },
    30_000,
  );

  test("detects that the right to PUBLISH was revoked, without a push and without a gap, and recovers", async () => {
    const { control, channel, push, publish, gaps, untilReady, verify } = await siege({
      redisArgs: ["--user", "channel", "on", ">x", "~*", "&*", "+@all"],
      url: ({ port }) => `redis://channel:x@127.0.0.1:${port}`,
    });
    await control.call("ACL", "SETUSER", "channel", "-publish");
    await untilReadiness(channel.url, "NOPERM");
    expect((await push()).response).toEqual({ reason: "backend unavailable" });
    // Joined clients still receive messages.
    await publish();
    await control.call("ACL", "SETUSER", "channel", "+publish");
    await untilReady();
    expect((await push()).status).toBe("ok");
    expect(await gaps()).toBe(0);
    await verify();
  }, 60_000);

  test("an ACL that forbids ROLE: warns once and continues", async () => {
    const redis = await redisProcess(["--user", "channel", "on", ">x", "~*", "&*", "+@all", "-role"]);
    const channel = await server(`redis://channel:x@127.0.0.1:${redis.port}`);
    await untilReadiness(channel.url, "ready");
    const client = await joined(channel);
    expect((await client.ask({ topic: "room", event: "said" })).status).toBe("ok");
    // The next request for the role adds no warning.
    const backend = backendOn(redis.port);
    open.push(backend);
    const asked = async (): Promise<number> =>
      Number(/cmdstat_role:.*rejected_calls=(\d+)/.exec(await backend.redis.info("commandstats"))?.[1] ?? 0);
    const before = await asked();
    await eventually(async () => (await asked()) > before, "ROLE asked again", NOTICED_MS);
    expect(await warnings(channel)).toEqual([
      expect.objectContaining({
        message: "Redis does not answer ROLE, a replica would not be noticed",
        reason: expect.any(String),
      }),
    ]);
    expect(await readiness(channel.url)).toStartWith("200 ");
  }, 60_000);

  test("loading its data: not ready, with the error of Redis, and ready afterwards", async () => {
    const { redis, control, channel, untilReady, push } = await siege({
      redisArgs: ["--loading-process-events-interval-bytes", "1024", "--key-load-delay", "10000"],
    });
    for (let i = 0; i < 300; i++) await control.set(`key${i}`, "x".repeat(100));
    await control.call("SAVE");
    const loaded = redis.restart();
    await untilReadiness(channel.url, "LOADING");
    await loaded;
    await untilReady();
    expect((await push()).status).toBe("ok");
  }, 60_000);

  test("the ACL in the documentation is sufficient, and no message is lost", async () => {
    const docs = readFileSync(join(import.meta.dir, "../../../docs/errors.md"), "utf8");
    const rule = /ACL SETUSER channel on >(\S+) (.+)/.exec(docs);
    if (rule?.[1] === undefined || rule[2] === undefined) throw new Error("docs/errors.md names no ACL");
    const [, password, rights] = rule;
    const redis = await redisProcess();
    const backend = backendOn(redis.port);
    open.push(backend);
    await backend.redis.call(
      "ACL",
      "SETUSER",
      "channel",
      "reset",
      "on",
      `>${password}`,
      ...rights.trim().split(" "),
    );
    const url = `redis://channel:${password}@127.0.0.1:${redis.port}`;
    const channel = await server(url);
    await untilReadiness(channel.url, "ready");
    const client = await joined(channel);
    const received = await backend.listenToPushes("room");
    expect((await client.ask({ topic: "room", event: "said", payload: "1" })).status).toBe("ok");
    expect((await received.next()).name).toBe("from:room:said");
    await backend.publish("to:room:news", "2");
    expect((await client.event("news")).payload).toBe(2);
    // The periodic requests are allowed too, and so are the commands.
    const publish = Bun.spawnSync([channelBinary(), "publish", "to:room:news", "3", "--redis-url", url], {
      env: {},
      cwd: folder(),
    });
    expect(publish.exitCode).toBe(0);
    const stats = async (): Promise<number> =>
      Number(/cmdstat_role:calls=(\d+)/.exec(await backend.redis.info("commandstats"))?.[1] ?? 0);
    const before = await stats();
    await eventually(async () => (await stats()) > before, "ROLE asked again", NOTICED_MS);
    expect(await backend.redis.hlen("hub:presence:room")).toBe(1);
    expect(channel.lines.filter(isWarning)).toEqual([]);
    expect(await readiness(channel.url)).toStartWith("200 ");
    // The only command that is optional.
    const refused = JSON.stringify(await backend.redis.call("ACL", "LOG"));
    expect([...refused.matchAll(/"object","([^"]+)"/g)].map(([, object]) => object)).toEqual(["config|get"]);
  }, 60_000);
});

describe("errors of Redis are logged", () => {
  test("max number of clients reached", async () => {
    const redis = await redisProcess(["--maxclients", "2"]);
    const holders = [backendOn(redis.port), backendOn(redis.port)];
    open.push(...holders);
    for (const each of holders) await each.redis.ping();
    await isNoBus(await server(redis.url), "ERR max number of clients reached");
    for (const each of holders) each.stop();
  }, 60_000);

  test("protected mode", async () => {
    const address = Object.values(networkInterfaces())
      .flatMap((each) => each ?? [])
      .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
    const denied = "DENIED Redis is running in protected mode because protected mode is enabled";
    if (address !== undefined) {
      const redis = await redisProcess(["--bind", "0.0.0.0", "--protected-mode", "yes"]);
      await isNoBus(await server(`redis://${address}:${redis.port}`), denied);
      return;
    }
    // Redis does not refuse a loopback address, and this machine has no other: this peer sends the same reply.
    const peer = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: (socket) => void socket.end(`-${denied} and no password is set.\r\n`), data() {} },
    });
    open.push({ stop: () => peer.stop(true) });
    const channel = await server(`redis://127.0.0.1:${peer.port}`);
    await isNoBus(channel, denied);
    expect(channel.output()).not.toContain("[WARN]");
  }, 60_000);

  test("NOPERM of ping", async () => {
    const redis = await redisProcess(["--user", "channel", "on", ">x", "~*", "&*", "+@all", "-ping"]);
    const channel = await server(`redis://channel:x@127.0.0.1:${redis.port}`);
    await isNoBus(channel, "no permissions to run the 'ping' command");
  }, 60_000);

  test("TLS to a plain port, and plain text to a TLS port", async () => {
    const place = folder();
    const [key, cert] = [join(place, "key.pem"), join(place, "cert.pem")];
    const made = Bun.spawnSync([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", "/CN=localhost", "-days", "1", "-keyout", key, "-out", cert],
    ]);
    expect(made.exitCode).toBe(0);
    const tlsPort = freePort();
    const redis = await redisProcess([
      ...["--tls-port", String(tlsPort), "--tls-cert-file", cert, "--tls-key-file", key],
      ...["--tls-ca-cert-file", cert, "--tls-auth-clients", "no"],
    ]);
    await isNoBus(
      await server(`redis://127.0.0.1:${tlsPort}`),
      "the server uses TLS: the address must begin with rediss://",
    );
    await isNoBus(
      await server(`rediss://127.0.0.1:${redis.port}`),
      "the server does not use TLS: the address must begin with redis://",
    );
  }, 60_000);

  test("warns at start about an output buffer for subscribers of less than two seconds at 20 MB/s", async () => {
    const small = await redisProcess(["--client-output-buffer-limit", "pubsub 32mb 8mb 60"]);
    const channel = await server(small.url);
    await untilReadiness(channel.url, "ready");
    expect(await warnings(channel)).toEqual([
      expect.objectContaining({
        message: expect.stringContaining("client-output-buffer-limit pubsub"),
        bytes: 32 * 1024 * 1024,
        at_least: 40_000_000,
      }),
    ]);
    const enough = await server((await redisProcess()).url);
    await untilReadiness(enough.url, "ready");
    expect(enough.lines.filter(isWarning)).toEqual([]);
  }, 60_000);

  test("a slash in a password: the error says that it must be encoded, and does not repeat it", () => {
    for (const url of ["redis://:hunt/er2@127.0.0.1:6379", "redis://u:hunt?er2@127.0.0.1:6379/0"]) {
      const run = Bun.spawnSync([channelBinary(), "--redis-url", url], { env: {}, cwd: folder() });
      const error = run.stderr.toString();
      expect([run.exitCode, error]).toEqual([2, expect.stringContaining("%2F")]);
      expect(error).not.toContain("hunt");
    }
  });
});
