/** `npm run bench:fleet`: joins on two servers beside the same joins on one, and a kill. README.md says more. */
import { parseArgs } from "node:util";
import { connectAll, joinAll, quiet } from "../../src/bench/clients.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { fineCpuMs, pssBytes } from "../../src/bench/process-times.ts";
import type { Client } from "../../src/bench/websocket-client.ts";
import { startRedis } from "../integration/redis-process.ts";
import { ours, type RunningServer, SECRET } from "./servers.ts";
import { mint } from "./tokens.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: { rounds: { type: "string", default: "3" }, secs: { type: "string", default: "5" } },
});
const rounds = Number(values.rounds);
const secs = Number(values.secs);

/** Joins a second, on each of two servers, or twice as many on one. */
const RATE = 1000;
/** They join first, so that the servers have compiled what they run. */
const EARLY = 2000;
const SETTLE_MS = 2000;

interface Measured {
  /** CPU of all servers for each join, in us. */
  readonly us: number;
  /** Growth of one server's memory for each member, wherever it is connected, in bytes. */
  readonly bytes: number;
}

interface Crowd {
  readonly name: string;
  readonly count: number;
  topic(index: number): string;
}

const CROWDS: readonly Crowd[] = [
  {
    name: "joined: ten to a channel",
    count: 2 * RATE * secs,
    topic: (index) => `room-${Math.floor(index / 10)}`,
  },
  { name: "presence: all in one channel", count: RATE * secs, topic: () => "hall" },
];

for (const { name, count: members, topic } of CROWDS) {
  const found: Record<number, Measured[]> = { 1: [], 2: [] };
  for (let round = 0; round < rounds; round++) {
    for (const count of round % 2 === 0 ? [1, 2] : [2, 1])
      found[count]?.push(await join(count, members, topic));
  }
  const [one, two] = [median(found[1]), median(found[2])];
  const ratio = (two.us / one.us).toFixed(2);
  console.log(`${name}, ${2 * RATE} a second, ${members} in all`);
  console.log(`  one server    ${one.us.toFixed(0)} us and ${one.bytes.toFixed(0)} bytes each`);
  console.log(
    `  two servers   ${two.us.toFixed(0)} us each (${ratio}), ${two.bytes.toFixed(0)} bytes each on each of them`,
  );
}
await kill();
process.exit(0);

async function join(count: number, members: number, topic: (index: number) => string): Promise<Measured> {
  return onServers(count, async (servers) => {
    const early = await connected(servers, EARLY, 0);
    await joinNow(early, (index) => `early-${index % (EARLY / 10)}`);
    const clients = await connected(servers, members, EARLY);
    await settle();
    const memory = servers.map(({ pid }) => pssBytes(pid));
    const cpu = servers.map(({ pid }) => fineCpuMs(pid));
    await joinPaced(clients, (index) => topic(index - EARLY));
    await quiet(clients);
    const spent = servers.map(({ pid }, i) => fineCpuMs(pid) - (cpu[i] ?? 0));
    await settle();
    const grown = servers.map(({ pid }, i) => pssBytes(pid) - (memory[i] ?? 0));
    for (const client of [...early, ...clients]) client.end();
    return { us: (sum(spent) * 1000) / clients.length, bytes: sum(grown) / servers.length / clients.length };
  });
}

/** How long it takes until the members on one server have seen those on a killed one leave. */
async function kill(): Promise<void> {
  const members = 2500;
  await onServers(2, async (servers) => {
    const clients = await connected(servers, 2 * members, 0);
    const [stays, killed] = servers;
    if (stays === undefined || killed === undefined) throw new Error("two servers");
    const memory = pssBytes(stays.pid);
    await joinNow(clients, () => "hall");
    await quiet(clients);
    const joinedBytes = pssBytes(stays.pid) - memory;
    const own = clients.filter((_, i) => i % 2 === 0);
    const began = performance.now();
    process.kill(killed.pid, "SIGKILL");
    const before = received(own);
    while (received(own) === before) await Bun.sleep(5);
    const first = performance.now() - began;
    const cpu = fineCpuMs(stays.pid);
    const last = (await quiet(own)) - began;
    const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
    console.log(`${2 * members} in one channel of two servers, one of which is killed`);
    console.log(
      `  ${(joinedBytes / 1024 / 1024).toFixed(0)} MB on the other for all members, half of them its own`,
    );
    console.log(`  its members see the leaves after ${seconds(first)}, the last one after ${seconds(last)}`);
    console.log(`  ${(fineCpuMs(stays.pid) - cpu).toFixed(0)} ms of CPU from the first frame on`);
  });
}

async function onServers<T>(
  count: number,
  run: (servers: readonly RunningServer[]) => Promise<T>,
): Promise<T> {
  const redis = await startRedis();
  const options = { redisUrl: redis.url, env: {}, profileInto: null };
  const servers = await Promise.all(Array.from({ length: count }, () => ours.start(options)));
  try {
    await Bun.sleep(SETTLE_MS);
    return await run(servers);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    await redis.stop();
  }
}

/** Clients that are spread evenly over the servers. */
async function connected(servers: readonly RunningServer[], count: number, from: number): Promise<Client[]> {
  const clients: Client[] = [];
  const each = count / servers.length;
  for (const [i, { url }] of servers.entries()) {
    const some = await connectAll(phoenix, phoenix.socketUrl(url), each, from + i * each);
    for (const [k, client] of some.entries()) clients[k * servers.length + i] = client;
  }
  return clients;
}

async function joinNow(clients: readonly Client[], topic: (index: number) => string): Promise<void> {
  await joinAll(phoenix, clients, ({ index }) => membership(index, topic(index)));
  await quiet(clients);
}

async function joinPaced(clients: readonly Client[], topic: (index: number) => string): Promise<void> {
  const frames = clients.map((_, place) => {
    const { topic: name, token } = membership(place, topic(EARLY + place));
    return phoenix.joinFrame(name, token);
  });
  const began = performance.now();
  for (let next = 0; next < clients.length; ) {
    const due = Math.min(clients.length, ((performance.now() - began) / 1000) * 2 * RATE);
    for (; next < due; next++) clients[next]?.send(frames[next] ?? Buffer.alloc(0));
    await Bun.sleep(2);
  }
}

function membership(index: number, topic: string): { readonly topic: string; readonly token: string } {
  return { topic, token: mint(SECRET, `user-${index}`, topic) };
}

function received(clients: readonly Client[]): number {
  return sum(clients.map((client) => client.received));
}

function settle(): Promise<void> {
  return Bun.sleep(SETTLE_MS);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function median(values: readonly Measured[] = []): Measured {
  const middle = (pick: (one: Measured) => number): number =>
    values.map(pick).sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  return { us: middle(({ us }) => us), bytes: middle(({ bytes }) => bytes) };
}
