import { connectAll, countClosed, joinAll, quiet } from "../../../src/bench/clients.ts";
import { Deliveries, pace } from "../../../src/bench/deliveries.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import { fineCpuMs } from "../../../src/bench/process-times.ts";
import { Publisher } from "../../../src/bench/publisher.ts";
import type { Client } from "../../../src/bench/websocket-client.ts";
import { type Figures, intake, type Scene, type Stage, spending } from "../scene.ts";
import { mint } from "../tokens.ts";

const MEMBER_SIZES = [10, 100, 1000, 10_000];
const CHANNEL_SIZES = [...MEMBER_SIZES, 100_000];

/** A process may open 20,000 files: beyond so many channels each client joins several. */
const MOST_CLIENTS = 10_000;

/** Deliveries a second, whatever the size: what grows is what there is, not what is done. */
const CHANNELS_PER_SECOND = 4000;
const MEMBERS_PER_SECOND = 20_000;

/** Those whose joining is measured, when the others have joined. */
const JOINERS = 500;

/** The same traffic with ever more channels of one member, and with ever more members of one channel. */
export const growth: readonly Scene[] = [
  ...CHANNEL_SIZES.map((size) => ({
    name: `channels-${size}`,
    title: `${size} channels of one member, 100 B, ${CHANNELS_PER_SECOND} messages a second in all; then ${JOINERS} join a new one each`,
    unit: "delivery" as const,
    play: (stage: Stage) => grow(stage, size, (index) => `own-${index}`, size, CHANNELS_PER_SECOND),
  })),
  ...MEMBER_SIZES.map((size) => ({
    name: `members-${size}`,
    title: `1 channel of ${size} members, 100 B, ${MEMBERS_PER_SECOND} deliveries a second in all; then ${JOINERS} join it`,
    unit: "delivery" as const,
    play: (stage: Stage) => grow(stage, size, () => "hall", 1, MEMBERS_PER_SECOND),
  })),
];

async function grow(
  stage: Stage,
  size: number,
  topic: (index: number) => string,
  channels: number,
  perSecond: number,
): Promise<Figures> {
  const { dialect } = stage;
  const members = Array.from({ length: size + JOINERS }, (_, index) => {
    return { topic: topic(index), token: mint(stage.secret, `user-${index}`, topic(index)) };
  });
  const membership = (client: Client, from = 0) => members[from + client.index] ?? { topic: "", token: "" };
  const url = dialect.socketUrl(stage.url);
  const count = Math.min(size, MOST_CLIENTS);
  const clients = await connectAll(dialect, url, count);
  for (let from = 0; from < size; from += count) {
    await joinAll(dialect, clients, (client) => membership(client, from));
  }
  await quiet(clients);

  const publisher = await Publisher.connect(intake(stage));
  const messages = Array.from({ length: channels }, (_, index) =>
    dialect.publication(topic(index), "message", paddedPayload(100)),
  );
  const each = size / channels;
  const deliveries = new Deliveries(dialect, clients, 1);
  const send = (seconds: number) =>
    pace(deliveries, publisher, messages, perSecond / each, each, seconds).then(() => deliveries.drained());
  await send(stage.short ? 1 : 3);
  deliveries.reset();
  const spent = spending(stage);
  const before = fineCpuMs(stage.pid);
  const began = performance.now();
  await send(stage.short ? 2 : 5);
  const cost = { ...spent(), serverMs: fineCpuMs(stage.pid) - before };
  const seconds = (deliveries.lastAt - began) / 1000;
  publisher.end();

  const joiners = await connectAll(dialect, url, JOINERS, size);
  const beforeJoins = fineCpuMs(stage.pid);
  await joinAll(dialect, joiners, (client) => membership(client));
  // The joins are paid for when everyone has been told of them.
  await quiet([...clients, ...joiners]);
  const joinUs = ((fineCpuMs(stage.pid) - beforeJoins) * 1000) / JOINERS;

  return {
    arrived: deliveries.received,
    expected: deliveries.expected,
    seconds,
    ...cost,
    p50Ms: deliveries.latency.quantileMs(0.5),
    p99Ms: deliveries.latency.quantileMs(0.99),
    connectUs: null,
    againUs: null,
    joinUs,
    bytesEach: null,
    closed: countClosed(clients),
  };
}
