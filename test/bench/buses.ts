/**
 * `npm run bench:bus`: Redis beside RabbitMQ, without the rest of the server. Messages a second that a bus receives, and that it
 * publishes with an ack for each, and its CPU for one of them. The broker and the backend run in processes of their own.
 */
import { createAmqpBus } from "../../src/bus/amqp/amqp-bus.ts";
import type { Bus } from "../../src/bus/bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import type { Log } from "../../src/log.ts";
import { AmqpBackend } from "../integration/amqp-backend.ts";
import { AMQP, LIMITS } from "../integration/bus-implementations.ts";
import { Backend } from "../integration/bus-rig.ts";
import { startRabbit } from "../integration/rabbit-process.ts";
import { startRedis } from "../integration/redis-process.ts";

const MESSAGES = 200_000;
/** Messages that wait for an ack at once. */
const OPEN = 1000;
const ROUNDS = 3;
const PAYLOAD = JSON.stringify({ text: "x".repeat(185) });

const none = (): void => {};
const log: Log = { debug: none, info: none, warn: none, error: none };

const [role, url] = Bun.argv.slice(2);
if (role === "backend" && url !== undefined) await publishAll(url);
else await compare();

/** The backend's process. */
async function publishAll(address: string): Promise<void> {
  const backend = address.startsWith("amqp")
    ? await AmqpBackend.connect(address)
    : await Backend.connect(Number(new URL(address).port));
  for (let sent = 0; sent < MESSAGES; sent += OPEN) {
    await Promise.all(Array.from({ length: OPEN }, () => backend.publish("to:bench:x", PAYLOAD)));
  }
  process.exit(0);
}

async function compare(): Promise<void> {
  const [redis, rabbit] = [await startRedis(), await startRabbit()];
  const buses: readonly (readonly [string, string, (url: string) => Bus])[] = [
    ["Redis", redis.url, (at) => createRedisBus({ url: at, maxPayload: LIMITS.maxPayload, log })],
    ["RabbitMQ", rabbit.url, (at) => createAmqpBus({ url: at, ...AMQP, maxPayload: LIMITS.maxPayload, log })],
  ];
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [name, at, create] of buses) {
      const bus = create(at);
      const received = Promise.withResolvers<void>();
      let count = 0;
      await bus.subscribe(["to"], {
        message: () => void (++count === MESSAGES && received.resolve()),
        changed: none,
      });
      const intake = await measured(async () => {
        const backend = Bun.spawn([process.execPath, import.meta.path, "backend", at], { stdout: "inherit" });
        await received.promise;
        await backend.exited;
      });
      const pushes = await measured(() => pushAll(bus));
      console.log(`${round} ${name}: intake ${intake}; pushes ${pushes}`);
      await bus.stop();
    }
  }
  await Promise.all([redis.stop(), rabbit.stop()]);
}

async function measured(work: () => Promise<void>): Promise<string> {
  const before = process.cpuUsage();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  return `${Math.round(MESSAGES / seconds)}/s, ${((user + system) / MESSAGES).toFixed(1)} us of CPU each`;
}

function pushAll(bus: Bus): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let sent = 0;
  let answered = 0;
  const ack = {
    settled(accepted: boolean) {
      if (!accepted) return reject(new Error("not accepted"));
      if (++answered === MESSAGES) resolve();
      else if (sent < MESSAGES) send();
    },
  };
  const send = (): void => {
    sent++;
    bus.publish("from:bench:x", PAYLOAD, ack);
  };
  for (let i = 0; i < OPEN; i++) send();
  return promise;
}
