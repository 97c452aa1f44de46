import { afterEach, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { Redis } from "ioredis";
import type { Bus } from "../../src/bus/bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { GreetingListener, type LogEntry, recordingLog, Settled } from "./bus-rig.ts";
import { eventually } from "./phoenix-client.ts";
import { Publishing } from "./positions-rig.ts";
import { randomFrom, SEED } from "./random.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { RelayMachine } from "./relay-machine.ts";

const MAX_PAYLOAD = 4 * 1024 * 1024;
const FOLLOWS = "another worker receives messages for this one";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function createMachine(): RelayMachine {
  const machine = new RelayMachine();
  ends.push(() => machine.remove());
  return machine;
}

interface Worker {
  readonly bus: Bus;
  readonly received: GreetingListener;
  readonly entries: readonly LogEntry[];
}

async function startWorker(machine: RelayMachine, worker: number, url: string): Promise<Worker> {
  const { log, entries } = recordingLog();
  const received = new GreetingListener(`worker ${worker} ${crypto.randomUUID()}`);
  const bus = createRedisBus({ url, maxPayload: MAX_PAYLOAD, relayPlace: machine.place(worker), log });
  ends.push(() => bus.stop());
  await bus.subscribe(["to", "hub"], received);
  return { bus, received, entries };
}

/** Starts workers, and waits until one of them receives for all. */
async function startWorkers(machine: RelayMachine, { url }: RedisProcess, count: number): Promise<Worker[]> {
  const workers: Worker[] = [];
  for (let worker = 1; worker <= count; worker++) workers.push(await startWorker(machine, worker, url));
  await eventually(() => workers.filter(follows).length === count - 1, "that one receives for all");
  return workers;
}

const countOf = (entries: readonly LogEntry[], message: string) =>
  entries.filter((entry) => entry.message === message).length;

const follows = ({ entries }: Worker) => countOf(entries, FOLLOWS) > 0;

async function start(): Promise<{ readonly redis: RedisProcess; readonly backend: Redis }> {
  const redis = await startRedis();
  ends.push(() => redis.stop());
  return { redis, backend: connect(redis) };
}

function connect({ port }: RedisProcess): Redis {
  const backend = new Redis({ host: "127.0.0.1", port });
  backend.on("error", () => {});
  ends.push(() => backend.disconnect());
  return backend;
}

/** The number of a message of `Publishing`; `null` for another call. */
function numberIn(call: string): number | null {
  const [, digits] = /^to:\S* (\d+)/.exec(call) ?? [];
  return digits === undefined ? null : Number(digits);
}

/** What is wrong in the calls of a listener: a number that does not follow the one before it in the same subscription. */
function faultsIn({ calls }: GreetingListener): string[] {
  const faults: string[] = [];
  let before: number | null = null;
  let newest = 0;
  for (const call of calls.all) {
    if (call === "lost") before = null;
    const number = numberIn(call);
    if (number === null) continue;
    if (number <= newest || (before !== null && number !== before + 1))
      faults.push(`${number} after ${before ?? newest}`);
    before = number;
    newest = number;
  }
  return faults;
}

test("one worker receives for all: each has every message, in order", async () => {
  const { redis, backend } = await start();
  const workers = await startWorkers(createMachine(), redis, 3);
  // The one that leads is the only subscriber of what backends publish.
  await eventually(async () => (await backend.publish("to:room:news", "{}")) === 1, "one subscriber");
  const long = Buffer.alloc(MAX_PAYLOAD, "x");
  await backend.publish("to:room:page", long);
  await backend.publish("to:room:too-long", Buffer.alloc(MAX_PAYLOAD + 10, "y"));
  await backend.publish("to:room:binary", Buffer.of(0, 255, 10, 13));
  for (const { received } of workers) {
    expect((await received.on("to:room:page")).equals(long)).toBe(true);
    // The hub sees by one byte more that it is too long.
    expect(await received.on("to:room:too-long")).toHaveLength(MAX_PAYLOAD + 1);
    expect(await received.on("to:room:binary")).toEqual(Buffer.of(0, 255, 10, 13));
    expect(received.calls.all).not.toContain("lost");
  }
});

test("no message is missing, repeated or out of order while workers change over", async () => {
  const { redis } = await start();
  const backend = connect(redis);
  const publishing = new Publishing(() => backend, { publishers: 1 });
  const workers = await startWorkers(createMachine(), redis, 3);
  await Bun.sleep(300);
  await publishing.stop();
  await backend.publish("to:end:of-it", "{}");
  for (const { received } of workers) {
    await received.on("to:end:of-it");
    expect(faultsIn(received)).toEqual([]);
    expect(received.calls.all).not.toContain("lost");
    const numbers = received.calls.all.filter((call) => numberIn(call) !== null);
    expect(numbers.length).toBeGreaterThan(1000);
  }
}, 30_000);

test("what a worker misses is a loss, whatever ends: connections, leaders, workers", async () => {
  const random = randomFrom(SEED);
  const { redis, backend } = await start();
  const publisher = connect(redis);
  const machine = createMachine();
  const publishing = new Publishing(() => publisher, { publishers: 1 });
  const all = await startWorkers(machine, redis, 3);
  const workers = new Map(all.map((worker, at) => [at + 1, worker]));
  for (let fault = 0; fault < 8; fault++) {
    const list = String(await backend.call("CLIENT", "LIST", "TYPE", "PUBSUB"));
    const ids = list.match(/(?<=^id=)\d+/gm) ?? [];
    const kind = fault % 4;
    if (kind === 0) await backend.call("CLIENT", "KILL", "TYPE", "PUBSUB");
    else if (kind === 1) await backend.call("CLIENT", "KILL", "ID", random.pick(ids));
    else {
      // One ends, and is started again; the leader, which waits for its followers, only together with them.
      const ended =
        kind === 2 ? [1 + random.int(3)].filter((each) => each !== machine.leader) : [...workers.keys()];
      await Promise.all(ended.map((each) => workers.get(each)?.bus.stop()));
      for (const each of ended) {
        const worker = await startWorker(machine, each, redis.url);
        workers.set(each, worker);
        all.push(worker);
      }
    }
    await Bun.sleep(random.int(3000));
  }
  const running = [...workers.values()];
  await eventually(
    async () => (await backend.publish("to:room:news", "{}")) === 1,
    "one subscriber again",
    30_000,
  );
  await publishing.stop();
  await backend.publish("to:end:of-it", "{}");
  for (const { received } of running) await received.on("to:end:of-it");
  expect(all.map(({ received }) => faultsIn(received))).toEqual(all.map(() => []));
  const losses = all.map(({ received }) => received.calls.all.filter((call) => call === "lost").length);
  expect(losses.reduce((sum, each) => sum + each)).toBeGreaterThan(5);
}, 120_000);

test("a leader waits for its followers before it ends", async () => {
  const { redis, backend } = await start();
  const machine = createMachine();
  const workers = await startWorkers(machine, redis, 2);
  const leader = workers[machine.leader - 1];
  const follower = workers[2 - machine.leader];
  let isStopped = false;
  const stopped = leader?.bus.stop().then(() => {
    isStopped = true;
  });
  await Bun.sleep(300);
  await backend.publish("to:room:last", "1");
  expect(String(await follower?.received.on("to:room:last"))).toBe("1");
  expect([isStopped, follower?.received.calls.all.includes("lost")]).toEqual([false, false]);
  await follower?.bus.stop();
  await stopped;
  const left = readdirSync(machine.folder).filter((name) => !name.startsWith("interest-"));
  expect([machine.leader, left]).toEqual([0, []]);
});

test("without the right to PUNSUBSCRIBE each worker keeps its own subscription", async () => {
  const rights = "resetchannels &to:* &from:* &hub:* +publish +psubscribe +ping +role +client|setname +time";
  const redis = await startRedis(["--user", "limited", "on", ">x", ...rights.split(" ")]);
  ends.push(() => redis.stop());
  const machine = createMachine();
  const url = `redis://limited:x@127.0.0.1:${redis.port}`;
  const workers = [await startWorker(machine, 1, url), await startWorker(machine, 2, url)];
  await eventually(() => machine.leader !== 0, "a leader");
  const refused = "Redis refused PUNSUBSCRIBE, each worker receives all messages";
  await eventually(() => workers.some(({ entries }) => countOf(entries, refused) > 0), "the notice");
  const backend = connect(redis);
  expect(await backend.publish("to:room:news", "1")).toBe(2);
  for (const { received, bus } of workers) {
    expect(String(await received.on("to:room:news"))).toBe("1");
    const settled = new Settled();
    bus.publish("from:room:news", "{}", settled);
    expect(await settled.promise).toBe(true);
  }
});
