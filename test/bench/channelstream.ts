/**
 * `npx bun test/bench/channelstream.ts`: our server beside Channelstream 0.7.1 itself, in alternating rounds. Two scenes:
 * `/message` to a channel of 1,000 listeners as fast as it goes, and the memory of 10,000 idle connections.
 */
import { parseArgs } from "node:util";
import { sign } from "../../src/auth/signature.ts";
import { cpuMs, pssBytes } from "../../src/bench/process-times.ts";
import { Client } from "../../src/bench/websocket-client.ts";
import { startReference } from "../integration/channelstream/rig.ts";
import { freePort } from "../integration/redis-process.ts";
import { ours as binary } from "./servers.ts";

const USAGE = `npx bun test/bench/channelstream.ts [options]
  --rounds N    rounds of each scene and server (3)
  --scenes a,b  only these: message, idle
  --only ours   only this server, or channelstream
  --short       small crowds and seconds: finds regressions, gives no figure to quote
  --json        print every run as JSON instead of the medians`;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    scenes: { type: "string", default: "message,idle" },
    only: { type: "string" },
    short: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

const SECRET = "bench-secret-that-guards-nothing-0123456789";

interface Server {
  /** `http://host:port` */
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const servers: Readonly<Record<string, () => Promise<Server>>> = {
  ours: async () => {
    const redisUrl = `redis://127.0.0.1:${freePort()}`;
    const env = { CHANNELSTREAM_SECRET: SECRET, BUS: "embedded" };
    const server = await binary.start({ redisUrl, env, profileInto: null });
    return { ...server, url: server.url.replace(/^ws/, "http") };
  },
  channelstream: () => startReference({ secret: SECRET }),
};

type Figures = Readonly<Record<string, number>>;

/** A signed call; its parsed answer. */
async function call(server: Server, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(server.url + path, {
    method: "POST",
    headers: { "x-channelstream-secret": sign(path, SECRET, Date.now()) },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Connects so many users, each with a socket, a few at a time: a connection nobody listens on is soon forgotten. */
async function crowd(
  server: Server,
  count: number,
  channels: readonly string[],
  from = 0,
): Promise<Client[]> {
  const clients: Client[] = [];
  let next = from;
  const one = async (): Promise<void> => {
    while (next < from + count) {
      const index = next++;
      const id = crypto.randomUUID();
      const info = { include_users: false, include_history: false };
      await call(server, "/connect", { username: `user-${index}`, conn_id: id, channels, info });
      clients.push(await Client.connect(index, new URL(`${server.url}/ws?conn_id=${id}`)));
    }
  };
  await Promise.all(Array.from({ length: 20 }, one));
  return clients;
}

const WARM_UP_MS = values.short ? 500 : 2000;
const MEASURE_MS = values.short ? 1500 : 10_000;
/** Calls on their way at once: as many as a web application with some processes makes. */
const CALLERS = 32;

async function message(server: Server): Promise<Figures> {
  const count = values.short ? 200 : 1000;
  const clients = await crowd(server, count, ["bench"]);
  let heard = 0;
  for (const client of clients) {
    client.onMessage = (_client, _bytes, start, end) => {
      // A heartbeat is an empty list.
      if (end - start > 2) heard++;
    };
  }
  const body = [{ user: "bench", channel: "bench", message: { text: "x".repeat(50) } }];
  let sent = 0;
  let stopped = false;
  const caller = async (): Promise<void> => {
    while (!stopped) {
      await call(server, "/message", body);
      sent++;
      // No further ahead than the listeners follow.
      while (!stopped && sent * count - heard > 50 * count) await Bun.sleep(1);
    }
  };
  const callers = Array.from({ length: CALLERS }, caller);
  await Bun.sleep(WARM_UP_MS);
  const before = { heard, cpu: cpuMs(server.pid), at: performance.now() };
  await Bun.sleep(MEASURE_MS);
  const seconds = (performance.now() - before.at) / 1000;
  const deliveries = heard - before.heard;
  const cpu = cpuMs(server.pid) - before.cpu;
  stopped = true;
  await Promise.all(callers);
  for (const client of clients) client.end();
  return {
    messagesPerSecond: deliveries / count / seconds,
    deliveriesPerSecond: deliveries / seconds,
    cpuMicrosPerDelivery: (cpu * 1000) / deliveries,
    // What the server itself could do on a core of its own: the generator, which reads a thousand sockets, has a limit too.
    messagesPerCpuSecond: deliveries / count / (cpu / 1000),
  };
}

async function idle(server: Server): Promise<Figures> {
  const count = values.short ? 1000 : 10_000;
  // A tenth comes first: what a server allocates once is no cost of a connection.
  const first = await crowd(server, count / 10, []);
  await Bun.sleep(3000);
  const before = pssBytes(server.pid);
  const rest = await crowd(server, count, [], count);
  await Bun.sleep(6000);
  const bytes = pssBytes(server.pid) - before;
  const cpu = cpuMs(server.pid);
  await Bun.sleep(MEASURE_MS);
  const spent = cpuMs(server.pid) - cpu;
  const open = [...first, ...rest].filter(({ closed }) => !closed).length;
  for (const client of [...first, ...rest]) client.end();
  return { bytesPerConnection: bytes / count, cpuPercent: (spent / MEASURE_MS) * 100, open };
}

const scenes: Readonly<Record<string, (server: Server) => Promise<Figures>>> = { message, idle };

const runs: { readonly scene: string; readonly server: string; readonly figures: Figures }[] = [];
for (const scene of values.scenes.split(",")) {
  const play = scenes[scene];
  if (play === undefined) {
    console.error(`no scene is called ${scene}: there are ${Object.keys(scenes).join(", ")}`);
    process.exit(2);
  }
  for (let round = 1; round <= Number(values.rounds); round++) {
    const names = Object.keys(servers).filter((name) => values.only === undefined || name === values.only);
    for (const name of round % 2 === 1 ? names : names.toReversed()) {
      const server = await servers[name]?.();
      if (server === undefined) continue;
      try {
        const figures = await play(server);
        runs.push({ scene, server: name, figures });
        console.error(`${scene} ${round}/${values.rounds} ${name}: ${JSON.stringify(figures)}`);
      } finally {
        await server.stop();
      }
    }
  }
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

if (values.json) console.log(JSON.stringify({ short: values.short, runs }, null, 2));
else for (const scene of values.scenes.split(",")) console.log(`\n${summary(scene)}`);
process.exit(0);

/** The medians of one scene, ours beside the other's. */
function summary(scene: string): string {
  const of = (server: string) => runs.filter((run) => run.scene === scene && run.server === server);
  const keys = Object.keys(runs.find((run) => run.scene === scene)?.figures ?? {});
  const lines = keys.map((key) => {
    const medians = Object.keys(servers)
      .filter((name) => of(name).length > 0)
      .map(
        (name) => `${name} ${median(of(name).map(({ figures }) => figures[key] ?? Number.NaN)).toFixed(2)}`,
      );
    return `  ${key}: ${medians.join(", ")}`;
  });
  return [`${scene}${values.short ? " (short: no figure to quote)" : ""}`, ...lines].join("\n");
}
