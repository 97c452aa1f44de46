import { connectAll, countClosed, joinAll, quiet } from "../../../src/bench/clients.ts";
import { Deliveries } from "../../../src/bench/deliveries.ts";
import type { Driver } from "../../../src/bench/driver.ts";
import { Publisher } from "../../../src/bench/publisher.ts";
import type { Client } from "../../../src/bench/websocket-client.ts";
import { type Figures, intake, type Stage, spending } from "../scene.ts";
import { mint } from "../tokens.ts";

export interface Traffic {
  /** Stamps are read for one client in so many. */
  readonly stampEvery: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  send(deliveries: Deliveries, publisher: Publisher, seconds: number): Promise<void>;
}

export interface MessageScene extends Traffic {
  readonly clients: number;
  readonly topic: (index: number) => string;
}

/** Joins the crowd, and measures what it is sent. */
export async function playMessages(stage: Stage, scene: MessageScene): Promise<Figures> {
  const members = Array.from({ length: scene.clients }, (_, index) => {
    const topic = scene.topic(index);
    return { topic, token: mint(stage.secret, `user-${index}`, topic) };
  });
  const clients = await connectAll(stage.dialect, stage.dialect.socketUrl(stage.url), scene.clients);
  await joinAll(stage.dialect, clients, (client) => members[client.index] ?? { topic: "", token: "" });
  return playTo(stage, stage.dialect, clients, scene);
}

/** Warms up a crowd with the same traffic, then measures until the last message has come. */
export async function playTo(
  stage: Stage,
  dialect: Driver,
  clients: readonly Client[],
  scene: Traffic,
): Promise<Figures> {
  await quiet(clients);
  const publisher = await Publisher.connect(intake(stage));
  const deliveries = new Deliveries(dialect, clients, scene.stampEvery);
  await scene.send(deliveries, publisher, scene.warmUpSeconds);
  await deliveries.drained();
  deliveries.reset();
  const spent = spending(stage);
  const began = performance.now();
  await scene.send(deliveries, publisher, scene.seconds);
  await deliveries.drained();
  const cost = spent();
  publisher.end();
  return {
    arrived: deliveries.received,
    expected: deliveries.expected,
    seconds: (deliveries.lastAt - began) / 1000,
    ...cost,
    p50Ms: deliveries.latency.quantileMs(0.5),
    p99Ms: deliveries.latency.quantileMs(0.99),
    connectUs: null,
    againUs: null,
    bytesEach: null,
    closed: countClosed(clients),
  };
}
