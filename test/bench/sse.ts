/** `npm run bench:sse`: the scene `sse-fan-out`, event streams beside sockets on one channel. README.md says more. */
import { parseArgs } from "node:util";
import { connectAll, joinAll, quiet } from "../../src/bench/clients.ts";
import { paddedPayload } from "../../src/bench/payload.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { fineCpuMs, pssBytes } from "../../src/bench/process-times.ts";
import { Publisher } from "../../src/bench/publisher.ts";
import { startRedis } from "../integration/redis-process.ts";
import { ours, type RunningServer, SECRET } from "./servers.ts";
import { mint } from "./tokens.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: { rounds: { type: "string", default: "3" }, secs: { type: "string", default: "4" } },
});
const rounds = Number(values.rounds);
const secs = Number(values.secs);

/** Clients of each kind. */
const CROWD = 1000;
const PER_SECOND = 50;
/** Messages in one write to Redis at full speed, and those on their way at most. */
const BATCH = 50;
const IN_FLIGHT = 200;
const SETTLE_MS = 3000;

interface Crowd {
  readonly size: number;
  /** Deliveries so far. */
  received(): number;
  end(): void;
}

const KINDS = {
  sockets: async (server: RunningServer): Promise<Crowd> => {
    const clients = await connectAll(phoenix, phoenix.socketUrl(server.url), CROWD);
    await joinAll(phoenix, clients, ({ index }) => {
      return { topic: "bench", token: mint(SECRET, `user-${index}`, "bench") };
    });
    await quiet(clients);
    let received = 0;
    for (const client of clients) client.onMessage = () => void received++;
    return {
      size: CROWD,
      received: () => received,
      end: () => {
        for (const client of clients) client.end();
      },
    };
  },
  streams: async (server: RunningServer): Promise<Crowd> => {
    const { hostname, port, host } = new URL(server.url);
    const request = Buffer.from(`GET /sse?channel=bench HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    let blocks = 0;
    let ready = 0;
    const open = () => {
      let wasNewline = false;
      return Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          open: (socket) => void socket.write(request),
          data(_, bytes) {
            // A block ends with an empty line.
            if (wasNewline && bytes[0] === 10) blocks++;
            for (let at = bytes.indexOf("\n\n"); at >= 0; at = bytes.indexOf("\n\n", at + 2)) blocks++;
            wasNewline = bytes[bytes.length - 1] === 10;
          },
        },
      });
    };
    const sockets: Awaited<ReturnType<typeof open>>[] = [];
    for (let n = 0; n < CROWD; n++) sockets.push(await open());
    while (blocks < CROWD) await Bun.sleep(10);
    ready = blocks;
    return {
      size: CROWD,
      received: () => blocks - ready,
      end: () => {
        for (const socket of sockets) socket.terminate();
      },
    };
  },
};

interface Cost {
  /** The server's CPU for each delivery, in us. */
  readonly paced: number;
  readonly full: number;
}

/** Publishes to all crowds until `seconds` are over; returns the server's CPU for each delivery in us. */
async function play(
  server: RunningServer,
  publisher: Publisher,
  crowds: readonly Crowd[],
  isPaced: boolean,
): Promise<number> {
  const size = crowds.reduce((sum, crowd) => sum + crowd.size, 0);
  const received = () => crowds.reduce((sum, crowd) => sum + crowd.received(), 0);
  const times = isPaced ? 1 : BATCH;
  const message = phoenix.publication("bench", "message", paddedPayload(100), times);
  const before = received();
  const cpu = fineCpuMs(server.pid);
  let expected = 0;
  for (const until = performance.now() + secs * 1000; performance.now() < until; ) {
    if (isPaced || expected - (received() - before) <= (IN_FLIGHT - BATCH) * size) {
      publisher.send(message);
      expected += times * size;
    }
    await Bun.sleep(isPaced ? 1000 / PER_SECOND : 0);
  }
  for (let waits = 0; received() - before < expected; waits++) {
    if (waits > 1000) throw new Error(`${expected - (received() - before)} deliveries lost`);
    await Bun.sleep(10);
  }
  return ((fineCpuMs(server.pid) - cpu) * 1000) / expected;
}

async function costOf(
  redisUrl: string,
  kinds: readonly (keyof typeof KINDS)[],
): Promise<Cost & { readonly bytes: readonly number[] }> {
  const server = await ours.start({ redisUrl, env: {}, profileInto: null });
  const publisher = await Publisher.connect(redisUrl);
  const crowds: Crowd[] = [];
  const bytes: number[] = [];
  for (const kind of kinds) {
    // The first crowd goes again: what the server allocates once is no weight of a client.
    const first = await KINDS[kind](server);
    await play(server, publisher, [...crowds, first], false);
    first.end();
    await Bun.sleep(SETTLE_MS);
    const empty = pssBytes(server.pid);
    crowds.push(await KINDS[kind](server));
    await Bun.sleep(SETTLE_MS);
    bytes.push((pssBytes(server.pid) - empty) / CROWD);
  }
  await play(server, publisher, crowds, false);
  const full = await play(server, publisher, crowds, false);
  const paced = await play(server, publisher, crowds, true);
  publisher.end();
  await server.stop();
  return { full, paced, bytes };
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const redis = await startRedis();
const results = new Map<string, (Cost & { readonly bytes: readonly number[] })[]>();
for (let round = 0; round < rounds; round++) {
  for (const kinds of [["sockets"], ["streams"], ["sockets", "streams"]] as const) {
    const name = kinds.join(" + ");
    const found = await costOf(redis.url, kinds);
    results.set(name, [...(results.get(name) ?? []), found]);
    console.error(`${name}: ${JSON.stringify(found)}`);
  }
}
await redis.stop();

const of = (name: string, what: "full" | "paced") =>
  median((results.get(name) ?? []).map((each) => each[what]));
const memory = (name: string) => median((results.get(name) ?? []).map(({ bytes }) => bytes[0] ?? Number.NaN));
console.log(`sse-fan-out: 1 channel, ${CROWD} clients of each kind, 100 B, medians of ${rounds}`);
for (const name of results.keys()) {
  const weight = name.includes("+") ? "" : `, ${(memory(name) / 1024).toFixed(1)} KB a client`;
  console.log(
    `${name}: ${of(name, "full").toFixed(2)} us a delivery at full speed, ${of(name, "paced").toFixed(2)} us at ${PER_SECOND} a second${weight}`,
  );
}
const ratio = (what: "full" | "paced") => (of("streams", what) / of("sockets", what)).toFixed(2);
console.log(
  `streams / sockets: ${ratio("full")} at full speed, ${ratio("paced")} at ${PER_SECOND} a second, ${(memory("streams") / memory("sockets")).toFixed(2)} in memory`,
);
process.exit(0);
