import { Redis } from "ioredis";
import { connectAll, countClosed, joinAll, quiet } from "../../../src/bench/clients.ts";
import { Latency } from "../../../src/bench/latency.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import { Publisher } from "../../../src/bench/publisher.ts";
import type { Client } from "../../../src/bench/websocket-client.ts";
import { type Figures, type Scene, type Stage, spending } from "../scene.ts";
import { mint } from "../tokens.ts";

export const SOCKETS = 100;
const FROM = "from:desk-";
export const topicOf = (index: number): string => `desk-${index}`;

/**
 * Each socket pushes, waits for the answer, and pushes again; what Redis has had is compared with what was answered. Where a
 * server answers no push, the next one goes out when Redis passes the last one on.
 */
export const pushes: Scene = {
  name: "pushes",
  title: "pushes of 100 B from 100 sockets to Redis, each answered before the next",
  unit: "push",
  env: { LIMITS_FRAMES_PER_SECOND: "1000000", LIMITS_BYTES_PER_SECOND: "1GiB" },
  play: async (stage) => {
    const clients = await connectAll(stage.dialect, stage.dialect.socketUrl(stage.url), SOCKETS);
    await joinAll(stage.dialect, clients, ({ index }) => {
      return { topic: topicOf(index), token: mint(stage.secret, `user-${index}`, topicOf(index)) };
    });
    await quiet(clients);
    await push(stage, clients, stage.short ? 1 : 2);
    return measure(stage, clients);
  },
};

async function measure(stage: Stage, clients: readonly Client[]): Promise<Figures> {
  const redis = await Publisher.connect(stage.redisUrl);
  const before = await redis.publishes();
  const spent = spending(stage);
  const { sent, latency, seconds } = await push(stage, clients, stage.short ? 1.5 : 8);
  const cost = spent();
  const taken = (await redis.publishes()) - before;
  redis.end();
  return {
    arrived: Math.min(latency.total, taken),
    expected: sent,
    seconds,
    ...cost,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    connectUs: null,
    againUs: null,
    bytesEach: null,
    closed: countClosed(clients),
  };
}

const LAST_ANSWER_MS = 3000;

interface Pushed {
  readonly sent: number;
  readonly latency: Latency;
  readonly seconds: number;
}

/** Pushes for some seconds. */
export async function push(
  stage: Stage,
  clients: readonly Client[],
  seconds: number,
  event = "custom_event",
): Promise<Pushed> {
  const { dialect } = stage;
  const frames = clients.map(({ index }) => dialect.pushFrame(topicOf(index), event, paddedPayload(100)));
  const sentAt = new Float64Array(clients.length);
  const latency = new Latency();
  const over = Promise.withResolvers<void>();
  const began = performance.now();
  const until = began + seconds * 1000;
  let sent = 0;
  let refusal: string | null = null;
  const pushNext = (client: Client): void => {
    const frame = frames[client.index];
    if (frame === undefined) return;
    sentAt[client.index] = performance.now();
    client.send(frame);
    sent++;
  };
  const came = (client: Client): void => {
    const at = performance.now();
    latency.record((at - (sentAt[client.index] ?? 0)) * 1000);
    if (at < until) pushNext(client);
    else if (latency.total === sent) over.resolve();
  };
  const ear = dialect.answersPushes
    ? null
    : await listen(stage.redisUrl, (index) => {
        const client = clients[index];
        if (client !== undefined) came(client);
      });
  for (const client of clients) {
    client.onMessage = (client, bytes, start, end) => {
      if (!dialect.answersPushes || !dialect.isReply(client, bytes, start, end)) return;
      if (dialect.isOk(bytes, start, end)) came(client);
      else refusal ??= bytes.toString("latin1", start, end);
    };
    pushNext(client);
  }
  await Promise.race([over.promise, Bun.sleep(seconds * 1000 + LAST_ANSWER_MS)]);
  ear?.disconnect();
  if (refusal !== null) throw new Error(`push refused: ${refusal}`);
  return { sent, latency, seconds: (performance.now() - began) / 1000 };
}

/** Tells whose push has come to Redis. */
async function listen(redisUrl: string, heard: (index: number) => void): Promise<Redis> {
  const redis = new Redis(redisUrl);
  redis.on("pmessage", (_pattern: string, name: string) => {
    heard(Number(name.slice(FROM.length, name.indexOf(":", FROM.length))));
  });
  await redis.psubscribe(`${FROM}*`);
  return redis;
}
