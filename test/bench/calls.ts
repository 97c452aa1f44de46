/**
 * `npm run bench:calls`: 100 sockets push calls, each waiting for its answer before the next, answered by one process of redis-py
 * or one HTTP application. README.md says more.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAll, joinAll, quiet } from "../../src/bench/clients.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { findPython } from "../integration/python.ts";
import { startRedis } from "../integration/redis-process.ts";
import { type Stage, spending } from "./scene.ts";
import { push, SOCKETS, topicOf } from "./scenes/pushes.ts";
import { BINARY, launch, SECRET } from "./servers.ts";
import { median } from "./table.ts";
import { mint } from "./tokens.ts";

const SECONDS = 5;
const ROUNDS = Number(Bun.argv[2] ?? 3);
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
    const { url, pid } = server;
    const stage: Stage = {
      ...{ url, pid, redisUrl: redis.url, secret: SECRET, dialect: phoenix },
      ...{ short: false, quick: false },
    };
    const clients = await connectAll(phoenix, phoenix.socketUrl(url), SOCKETS);
    await joinAll(phoenix, clients, ({ index }) => ({
      topic: topicOf(index),
      token: mint(SECRET, `user-${index}`, topicOf(index)),
    }));
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
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
