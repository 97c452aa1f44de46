/**
 * What the intake of several workers costs: a subscription each, as it is, the same read by `Bun.connect`, or one for all, whose process passes
 * messages on to the one worker with listeners, by unix sockets or in shared memory. `npx bun test/bench/relay.bench.ts [seconds]`
 */
import { isAscii } from "node:buffer";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Deliveries, pace } from "../../src/bench/deliveries.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { fineCpuMs } from "../../src/bench/process-times.ts";
import { Publisher } from "../../src/bench/publisher.ts";
import { SocketWriter } from "../../src/bench/socket-writer.ts";
import { RedisSubscriber } from "../../src/bus/redis/redis-subscriber.ts";
import { startRedis } from "../integration/redis-process.ts";
import { aircraftPayload } from "./payloads.ts";

const MODES = ["subscriptions", "bun", "sockets", "memory"] as const;
const COUNTS = [1, 2, 4, 10];
const CHANNELS = 100;
const PER_SECOND = 100;
const BYTES = 200_000;
/** More than is on its way to a worker, and little enough for the caches of a processor. */
const RING = 4 * 1024 * 1024;

/** CPU for a message, in us. */
interface Cost {
  readonly workers: number;
  readonly redis: number;
}

const [first = "5", ...rest] = Bun.argv.slice(2);
if (first === "worker") work(rest);
else await compare(Number(first));

async function compare(seconds: number): Promise<void> {
  console.log(
    `us of CPU of all workers for a message of ${BYTES} bytes, ${PER_SECOND} a second, each for one worker; Redis`,
  );
  for (const count of COUNTS) {
    for (const mode of count === 1 ? MODES.slice(0, 2) : MODES) {
      const { workers, redis } = await measure(mode, count, seconds);
      console.log(
        `  ${String(count).padStart(2)} ${mode.padEnd(14)} ${workers.toFixed(0).padStart(5)} ${redis.toFixed(0).padStart(5)}`,
      );
    }
  }
  process.exit(0);
}

async function measure(mode: string, count: number, seconds: number): Promise<Cost> {
  const redis = await startRedis();
  const folder = mkdtempSync(join(tmpdir(), "channel-relay-"));
  writeFileSync(join(folder, "ring"), "");
  truncateSync(join(folder, "ring"), RING);
  const workers: Bun.Subprocess[] = [];
  try {
    // The first one passes on to the others, which listen by then.
    for (let number = count - 1; number >= 0; number--) {
      const ready = Promise.withResolvers<void>();
      const args = [mode, String(number), String(count), folder, String(redis.port)];
      workers.push(
        Bun.spawn([process.execPath, import.meta.path, "worker", ...args], {
          stdio: ["ignore", "inherit", "inherit"],
          ipc: () => ready.resolve(),
        }),
      );
      await ready.promise;
    }
    const publisher = await Publisher.connect(redis.url);
    const messages = Array.from({ length: CHANNELS }, (_, i) =>
      phoenix.publication(`streaming-${i}`, "message", aircraftPayload(BYTES, i)),
    );
    const send = (secs: number) =>
      pace(new Deliveries(phoenix, [], 1), publisher, messages, PER_SECOND, 1, secs);
    await send(2);
    const processes = [redis.pid, ...workers.map(({ pid }) => pid)];
    const before = processes.map(fineCpuMs);
    await send(seconds);
    await Bun.sleep(200);
    const [ofRedis = 0, ...ofWorkers] = processes.map(
      (pid, i) => ((fineCpuMs(pid) - (before[i] ?? 0)) * 1000) / (PER_SECOND * seconds),
    );
    publisher.end();
    return { redis: ofRedis, workers: ofWorkers.reduce((sum, us) => sum + us, 0) };
  } finally {
    for (const worker of workers) worker.kill("SIGKILL");
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A worker that does nothing but receive. */
function work([mode = "", number = "", count = "", folder = "", port = ""]: readonly string[]): void {
  const own = Number(number);
  const others = Number(count);
  const ready = () => process.send?.("ready");
  const ring = Buffer.from(Bun.mmap(join(folder, "ring"), { shared: true }).buffer);
  const isRelayed = mode === "sockets" || mode === "memory";
  if (isRelayed && own > 0) {
    const read = mode === "sockets" ? joins() : reads(ring);
    Bun.listen({ unix: socketOf(folder, own), socket: { data: (_socket, chunk) => read(chunk) } });
    ready();
    return;
  }
  const writers: SocketWriter<undefined>[] = [];
  const passOn = mode === "sockets" ? sends() : stores(ring);
  const message = (name: Buffer, payload: Buffer): void => {
    const target = Number(/\d+/.exec(name.toString("latin1"))?.[0]) % others;
    const writer = writers[target];
    if (target === own) isAscii(payload);
    else if (writer !== undefined) passOn(writer, payload);
  };
  const fail = (reason: string): void => {
    throw new Error(reason);
  };
  const subscriber = new RedisSubscriber(
    { subscribed: ready, permitted() {}, refused() {}, failed: fail, message },
    { families: ["to"], prefix: "", maxPayload: 2 * BYTES },
  );
  const subscribe = mode === "bun" ? subscribeByBun : subscribeByNode;
  if (!isRelayed) return subscribe(subscriber, Number(port));
  void connectOthers(folder, others, writers).then(() => subscribe(subscriber, Number(port)));
}

function socketOf(folder: string, worker: number): string {
  return join(folder, `${worker}.sock`);
}

async function connectOthers(
  folder: string,
  count: number,
  writers: SocketWriter<undefined>[],
): Promise<void> {
  for (let worker = 1; worker < count; worker++) {
    const socket = await Bun.connect({
      unix: socketOf(folder, worker),
      socket: { data() {}, drain: () => writers[worker]?.drain() },
    });
    writers[worker] = new SocketWriter(socket);
  }
}

/** As the server does it: on a connection of ioredis, which is one of node:net. */
function subscribeByNode(subscriber: RedisSubscriber, port: number): void {
  const stream = connect(port, "127.0.0.1");
  stream.on("connect", () => subscriber.take(stream));
}

function subscribeByBun(subscriber: RedisSubscriber, port: number): void {
  let listener: (chunk: Buffer) => void = () => {};
  void Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: { data: (_socket, chunk) => listener(chunk) },
  }).then((socket) =>
    subscriber.take({
      on: (_event, data) => {
        listener = data;
      },
      removeAllListeners() {},
      write: (data) => socket.write(data),
    }),
  );
}

type PassOn = (writer: SocketWriter<undefined>, payload: Buffer) => void;

/** Passes messages on by a socket. */
function sends(): PassOn {
  const head = Buffer.alloc(8);
  return (writer, payload) => {
    head.writeUInt32LE(payload.length, 4);
    writer.write(head);
    writer.write(payload);
  };
}

/** Passes messages on in shared memory; only their places go by a socket. */
function stores(ring: Buffer): PassOn {
  const place = Buffer.alloc(8);
  let at = 0;
  return (writer, payload) => {
    if (at + payload.length > RING) at = 0;
    payload.copy(ring, at);
    place.writeUInt32LE(at, 0);
    place.writeUInt32LE(payload.length, 4);
    at += payload.length;
    writer.write(place);
  };
}

/** Joins messages as they come by a socket. */
function joins(): (chunk: Buffer) => void {
  const joint = Buffer.alloc(2 * BYTES);
  let joined = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      const wanted = joined < 8 ? 8 : 8 + joint.readUInt32LE(4);
      const end = Math.min(chunk.length, at + wanted - joined);
      chunk.copy(joint, joined, at, end);
      joined += end - at;
      at = end;
      if (joined < 8 || joined < 8 + joint.readUInt32LE(4)) continue;
      isAscii(joint.subarray(8, joined));
      joined = 0;
    }
  };
}

/** Reads messages where they are; only their places come by a socket. */
function reads(ring: Buffer): (chunk: Buffer) => void {
  return (chunk) => {
    for (let at = 0; at + 8 <= chunk.length; at += 8) {
      const from = chunk.readUInt32LE(at);
      isAscii(ring.subarray(from, from + chunk.readUInt32LE(at + 4)));
    }
  };
}
