/**
 * `npm run bench:calls`: 100 sockets push calls, each waiting for its answer before the next, answered by one process of redis-py
 * or one HTTP application; with `--centrifugo FILE`, its executable, also Centrifugo's RPC proxy. README.md says more.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connectAll, joinAll, quiet } from "../../src/bench/clients.ts";
import type { Driver } from "../../src/bench/driver.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { type Client, textFrame } from "../../src/bench/websocket-client.ts";
import { findPython } from "../integration/python.ts";
import { freePort, startRedis } from "../integration/redis-process.ts";
import { centrifugo } from "./dialects/centrifugo.ts";
import { type Stage, spending } from "./scene.ts";
import { push, SOCKETS, topicOf } from "./scenes/pushes.ts";
import { BINARY, launch, type RunningServer, SECRET } from "./servers.ts";
import { median } from "./table.ts";
import { mint } from "./tokens.ts";

const SECONDS = 5;
const { values: options } = parseArgs({
  args: Bun.argv.slice(2),
  options: { rounds: { type: "string", default: "3" }, centrifugo: { type: "string" } },
});
const ROUNDS = Number(options.rounds);
const EVENT = "ask";
const HOOK_SECRET = "a secret of this measurement";

/** Answers what it is subscribed to, or takes from a queue, with a constant. */
const BACKENDS = `
import json, redis, sys
bus = redis.Redis.from_url(sys.argv[1], socket_timeout=None)
OK = '{"status":"ok","response":{}}'
if sys.argv[2] == "queue":
    print("ready", flush=True)
    while True:
        call = json.loads(bus.blpop("queue:bench", 0)[1])
        bus.publish("reply:" + call["reply"], OK)
pubsub = bus.pubsub()
pubsub.psubscribe("call:*")
for message in pubsub.listen():
    if message["type"] == "psubscribe": print("ready", flush=True)
    if message["type"] == "pmessage": bus.publish("reply:" + json.loads(message["data"])["reply"], OK)
`;

interface Backend {
  /** `call_to`; `null`: pushes are no calls. */
  readonly target: string | null;
  stop(): Promise<unknown>;
}

async function python(redisUrl: string, kind: "redis" | "queue"): Promise<Backend> {
  const child = Bun.spawn([findPython(), "-c", BACKENDS, redisUrl, kind], { stdout: "pipe" });
  const [first] = await child.stdout
    .getReader()
    .read()
    .then(({ value }) => [value]);
  if (first === undefined) throw new Error("the backend ended");
  const stop = (): Promise<number> => {
    child.kill();
    return child.exited;
  };
  return { target: kind === "redis" ? kind : "queue:bench", stop };
}

async function application(): Promise<Backend> {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("{}") });
  return { target: `http://127.0.0.1:${server.port}/calls`, stop: () => server.stop(true) };
}

const KINDS: Readonly<Record<string, (redisUrl: string) => Promise<Backend>>> = {
  "pushes (no calls)": async () => ({ target: null, stop: async () => {} }),
  "redis, by redis-py": (url) => python(url, "redis"),
  "queue, by one worker of redis-py": (url) => python(url, "queue"),
  "http, by an application of Bun": application,
};

/** Calls of Centrifugo's clients. They need no channel. */
const rpc: Driver = {
  ...centrifugo,
  pushFrame: (_topic, event, payload) => textFrame(`{"id":3,"rpc":{"method":"${event}","data":${payload}}}`),
};

/** Centrifugo with an application of Bun behind its RPC proxy. */
async function measureCentrifugo(executable: string): Promise<Result> {
  const answer = '{"result":{"data":{}}}';
  const application = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(answer) });
  const folder = mkdtempSync(join(tmpdir(), "channel-bench-"));
  const file = join(folder, "centrifugo.json");
  const port = freePort();
  const config = {
    http_server: { address: "127.0.0.1", port },
    client: { allow_anonymous_connect_without_token: true },
    log: { level: "error" },
    rpc: {
      proxy: { endpoint: `http://127.0.0.1:${application.port}/calls` },
      without_namespace: { proxy_enabled: true },
    },
  };
  writeFileSync(file, JSON.stringify(config));
  const child = Bun.spawn([executable, "-c", file], { stdout: "ignore", stderr: "inherit" });
  try {
    const url = `ws://127.0.0.1:${port}`;
    await listening(port);
    const server = { url, pid: child.pid, stop: async () => {} };
    return await measureCalls(server, rpc, async () => {});
  } finally {
    child.kill();
    await child.exited;
    await application.stop(true);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}`).catch(() => null);
    if (answer !== null) return;
    await Bun.sleep(100);
  }
  throw new Error("Centrifugo does not listen");
}

interface Result {
  readonly us: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

const redis = await startRedis();
const results = new Map<string, Result[]>();
try {
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [name, start] of Object.entries(KINDS)) {
      const backend = await start(redis.url);
      const result = await measure(backend);
      await backend.stop();
      results.set(name, [...(results.get(name) ?? []), result]);
      console.error(`${round}/${ROUNDS} ${name}: ${JSON.stringify(result)}`);
    }
    if (options.centrifugo === undefined) continue;
    const name = "http, by an application of Bun: Centrifugo";
    const result = await measureCentrifugo(options.centrifugo);
    results.set(name, [...(results.get(name) ?? []), result]);
    console.error(`${round}/${ROUNDS} ${name}: ${JSON.stringify(result)}`);
  }
} finally {
  await redis.stop();
}
console.log(
  "| answered by | hub CPU, us | calls a second | p50, ms | p99, ms |\n| --- | --- | --- | --- | --- |",
);
for (const [name, all] of results) {
  const of = (value: (result: Result) => number, digits: number): string =>
    median(all.map(value)).toFixed(digits);
  const cells = [of((r) => r.us, 1), of((r) => r.perSecond, 0), of((r) => r.p50, 2), of((r) => r.p99, 2)];
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}

async function measure({ target }: Backend): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "channel-bench-"));
  const file = join(folder, "channel.toml");
  const calls = target === null ? "" : `[channels."*"]\ncalls = ["${EVENT}"]\ncall_to = "${target}"\n`;
  const limits = '[limits]\nframes_per_second = 1000000\nbytes_per_second = "1GiB"\n';
  writeFileSync(file, `hook_secret = "${HOOK_SECRET}"\n${limits}${calls}`, { mode: 0o600 });
  const settings = [
    "--redis-url",
    redis.url,
    "--jwt-secret",
    SECRET,
    "--log-format",
    "json",
    "--config",
    file,
  ];
  const server = await launch([BINARY, "serve", "--port", "0", ...settings], { env: {} });
  try {
    return await measureCalls(server, phoenix, (clients) =>
      joinAll(phoenix, clients, ({ index }) => ({
        topic: topicOf(index),
        token: mint(SECRET, `user-${index}`, topicOf(index)),
      })),
    );
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param join called with the connected clients */
async function measureCalls(
  { url, pid }: RunningServer,
  dialect: Driver,
  join: (clients: readonly Client[]) => Promise<unknown>,
): Promise<Result> {
  const stage: Stage = {
    ...{ url, pid, redisUrl: redis.url, secret: SECRET, dialect },
    ...{ short: false, quick: false },
  };
  const clients = await connectAll(dialect, dialect.socketUrl(url), SOCKETS);
  await join(clients);
  await quiet(clients);
  await push(stage, clients, 1, EVENT);
  const spent = spending(stage);
  const { latency, seconds } = await push(stage, clients, SECONDS, EVENT);
  const { serverMs } = spent();
  for (const client of clients) client.end();
  return {
    us: (serverMs * 1000) / latency.total,
    perSecond: latency.total / seconds,
    p50: latency.quantileMs(0.5) ?? Number.NaN,
    p99: latency.quantileMs(0.99) ?? Number.NaN,
  };
}
