import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { cpuMs, pssBytes, withChildren } from "../../src/bench/process-times.ts";
import { Client, type OnMessage } from "../../src/bench/websocket-client.ts";
import { startRedis } from "../integration/redis-process.ts";
import type { FromClients, ToClients } from "./many-clients.ts";
import { SECRET, startOurs } from "./servers.ts";
import { mint } from "./tokens.ts";
import { untilRoom } from "./until-room.ts";

/** Clients of one generator: below 20,000 descriptors. */
const OF_ONE = 19_000;
const MEMBERS = 10;
/** They come first and stay, so that what a worker allocates once is no weight of a connection. */
const EARLY = 2000;
/** Memory is the least within this time, in which the runtime collects garbage. */
const REST_MS = 15_000;
/** Channels whose presence is compared. */
const SAMPLES = 50;

interface Memory {
  /** Of all workers and their supervisor. */
  readonly pss: number;
  readonly rss: number;
  /** Of the generators and Redis. */
  readonly others: number;
  /** What the kernel has allocated for itself, and socket buffers. */
  readonly kernel: number;
}

/** Connects clients to several workers, joins them to channels of ten members, and prints what each weighs. */
export async function holdConnections(count: number, workers: number): Promise<void> {
  const redis = await startRedis();
  const args = ["--host", "0.0.0.0", "--workers", String(workers)];
  // The last ones wait longer for their join than a client may be silent.
  const env = { LIMITS_MAX_CONNECTIONS: String(count + 2 * EARLY), LIMITS_IDLE_TIMEOUT: "16m" };
  const server = await startOurs({ redisUrl: redis.url, env, profileInto: null }, args);
  const port = Number(new URL(server.url).port);
  const generators = Array.from({ length: Math.ceil(count / OF_ONE) + 1 }, () => new Generator());
  const [first, ...rest] = generators;
  try {
    const each = Math.ceil(count / rest.length);
    const sizes = rest.map((_, i) => Math.min(each, count - i * each));
    const channels = Math.ceil(count / MEMBERS);
    const memory = () => atRest(withChildren(server.pid), [redis.pid, ...generators.map(({ pid }) => pid)]);
    await first?.ask({ type: "connect", urls: urlsOf(0, port), from: count, count: EARLY });
    await first?.ask({ type: "join", name: "early", channels: EARLY / MEMBERS });

    const empty = await memory();
    const connecting = performance.now();
    const connected = await Promise.all(
      rest.map((generator, i) =>
        generator.ask({ type: "connect", urls: urlsOf(i + 1, port), from: i * each, count: sizes[i] ?? 0 }),
      ),
    );
    const connectSecs = (performance.now() - connecting) / 1000;
    const withConnections = await memory();
    const cpu = cpuOf(server.pid);
    const joining = performance.now();
    await Promise.all(rest.map((generator) => generator.ask({ type: "join", name: "room", channels })));
    const joinSecs = (performance.now() - joining) / 1000;
    const joinCpu = ((cpuOf(server.pid) - cpu) * 1000) / count;
    const withMembers = await memory();

    console.log(`${count} connections, ${workers} workers, channels of ${MEMBERS}`);
    console.log(
      `  connected ${sum(connected)} in ${connectSecs.toFixed(0)} s, joined in ${joinSecs.toFixed(0)} s`,
    );
    const refusals = await Promise.all(rest.map((one) => one.ask({ type: "refused" })));
    console.log(`  refused by a worker without room, and connected again: ${sum(refusals)}`);
    console.log(`  CPU of all workers for a join: ${joinCpu.toFixed(0)} us`);
    console.log(`  a connection, before it joins: ${weight(empty, withConnections, count)}`);
    console.log(`  a connection, joined:          ${weight(empty, withMembers, count)}`);
    console.log(`  in all: workers ${gib(withMembers.pss)}, others ${gib(withMembers.others)}`);
    console.log(`  still open: ${sum(await Promise.all(rest.map((one) => one.ask({ type: "count" }))))}`);
    console.log(`  by worker: ${descriptorsOf(withChildren(server.pid).slice(1)).join(", ")} descriptors`);
    console.log(`  ${(await figures(server.url)).join(", ")}`);
    console.log(`  presence complete in ${await complete(server.url, channels)} of ${SAMPLES} channels`);
  } finally {
    for (const generator of generators) generator.end();
    for (const pid of withChildren(server.pid)) process.kill(pid, "SIGKILL");
    await server.stop();
    await redis.stop();
  }
}

/** A process with clients. */
class Generator {
  readonly #child: Bun.Subprocess;
  #answered: PromiseWithResolvers<number> | null = null;

  constructor() {
    this.#child = Bun.spawn([process.execPath, join(import.meta.dir, "many-clients.ts")], {
      stdio: ["ignore", "inherit", "inherit"],
      ipc: ({ done }: FromClients) => this.#answered?.resolve(done),
      onExit: () => this.#answered?.reject(new Error("a generator has ended")),
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  ask(message: ToClients): Promise<number> {
    this.#answered = Promise.withResolvers<number>();
    this.#child.send(message);
    return this.#answered.promise;
  }

  end(): void {
    this.#answered = null;
    this.#child.kill("SIGKILL");
  }
}

/** Two addresses for each generator: once half of the ports of an address are in use, the kernel searches long for the next one. */
function urlsOf(generator: number, port: number): string[] {
  return [1, 2].map((host) => `ws://127.0.${generator}.${host}:${port}`);
}

/** The least of the workers; the others at that moment. */
async function atRest(workers: readonly number[], others: readonly number[]): Promise<Memory> {
  let least = read(workers, others);
  for (const until = performance.now() + REST_MS; performance.now() < until; ) {
    await Bun.sleep(2000);
    const now = read(workers, others);
    if (now.pss < least.pss) least = now;
  }
  return least;
}

function read(workers: readonly number[], others: readonly number[]): Memory {
  const meminfo = readFileSync("/proc/meminfo", "latin1");
  const sockets = readFileSync("/proc/net/sockstat", "latin1");
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(meminfo)?.[1] ?? 0);
  const pages = Number(/^TCP:.* mem (\d+)/m.exec(sockets)?.[1] ?? 0);
  return {
    pss: sum(workers.map(pssBytes)),
    rss: sum(workers.map(rssBytes)),
    others: sum(others.map(pssBytes)),
    kernel: (kilobytes("Slab") + kilobytes("PageTables")) * 1024 + pages * 4096,
  };
}

function rssBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

function weight(before: Memory, after: Memory, count: number): string {
  const kb = (pick: (memory: Memory) => number) => (pick(after) - pick(before)) / count / 1024;
  const kernel = kb((memory) => memory.kernel);
  const pss = kb((memory) => memory.pss);
  return (
    `PSS ${pss.toFixed(2)} KB, RSS ${kb((memory) => memory.rss).toFixed(2)} KB; ` +
    `kernel ${kernel.toFixed(2)} KB for both ends, with half of it ${(pss + kernel / 2).toFixed(2)} KB; ` +
    `generators and Redis ${kb((memory) => memory.others).toFixed(2)} KB`
  );
}

function cpuOf(pid: number): number {
  return sum(withChildren(pid).map(cpuMs));
}

function descriptorsOf(pids: readonly number[]): number[] {
  return pids.map((pid) => readdirSync(`/proc/${pid}/fd`).length);
}

/** The sums of `/metrics`. */
async function figures(url: string): Promise<string[]> {
  const metrics = await (await fetch(new URL("/metrics", url.replace(/^ws/, "http")))).text();
  return metrics.split("\n").filter((line) => /^channel_(connections|memberships|channels)\b/.test(line));
}

/** Channels with all members in their presence, as someone who joins sees it. */
async function complete(url: string, channels: number): Promise<number> {
  let found = 0;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const topic = `room-${Math.floor((sample * channels) / SAMPLES)}`;
    const state = Promise.withResolvers<string>();
    const read: OnMessage = (_client, bytes, start, end) => {
      const text = bytes.toString("latin1", start, end);
      if (text.includes('"presence_state"')) state.resolve(text);
    };
    const client = await untilRoom(() => Client.connect(0, phoenix.socketUrl(url), read));
    client.send(phoenix.joinFrame(topic, mint(SECRET, `observer-${sample}`, topic)));
    const members = new Set((await state.promise).match(/"user-\d+"/g));
    if (members.size === MEMBERS) found++;
    client.end();
  }
  return found;
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
