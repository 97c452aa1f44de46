import type { PublishClient } from "../bus/redis/redis-client.ts";
import { closedOnes, connectAll, joinAll, type Membership, quiet } from "./clients.ts";
import { Deliveries, pace } from "./deliveries.ts";
import { paddedPayload } from "./payload.ts";
import { phoenix } from "./phoenix-driver.ts";
import { cpuMs, pidListeningOn, pssBytes } from "./process-times.ts";
import type { Publication, Sender } from "./publisher.ts";
import { now, writeStamp } from "./stamp.ts";

/** What an operator asks of the load generator. */
export interface Load {
  /** Where clients connect, path and all. */
  readonly url: URL;
  readonly memberships: readonly Membership[];
  /** Each has as many members as any other. */
  readonly channels: readonly string[];
  /** Messages a second, in all channels together. */
  readonly rate: number;
  /** Bytes of each. */
  readonly payload: number;
  readonly seconds: number;
  readonly speaker: PublishClient;
  /** Told now and then how far it has come. */
  progress(line: string): void;
  /** Resolves when the operator has had enough. */
  readonly enough: Promise<void>;
}

/** What it found. Times in ms. */
export interface Found {
  readonly clients: number;
  readonly connectSeconds: number;
  readonly joinSeconds: number;
  readonly joinP50: number | null;
  readonly joinP99: number | null;
  readonly published: number;
  readonly seconds: number;
  readonly expected: number;
  readonly arrived: number;
  readonly p50: number | null;
  readonly p99: number | null;
  readonly max: number | null;
  /** Messages that the bus did not take: it was away. They are neither published nor expected. */
  readonly unpublished: number;
  /** Connections that the server closed. */
  readonly closed: number;
  /** The generator's own CPU while messages went out, in cores. */
  readonly ownCores: number;
  /** Of the server's process, where it runs on this machine and may be looked at. */
  readonly server: { readonly cores: number; readonly usEach: number; readonly bytesEach: number } | null;
}

/** Nobody was sent what was published: the server is on another Redis, most likely. */
export class Unheard extends Error {}

const FIRST_MS = 3000;

/** Connects and joins everyone, publishes evenly, and measures until the last message has come. */
export async function drive(load: Load): Promise<Found> {
  const { url, memberships, channels, rate, seconds, progress } = load;
  const pid = serverOf(url);
  const memoryBefore = pid === null ? 0 : pssBytes(pid);
  const count = memberships.length;

  const interrupted: Promise<never> = load.enough.then(() => {
    throw new Error("ended before anything was measured");
  });
  interrupted.catch(() => {});

  progress(`connecting ${count} clients to ${url.host}`);
  const connecting = performance.now();
  const clients = await Promise.race([connectAll(phoenix, url, count), interrupted]);
  const connectSeconds = (performance.now() - connecting) / 1000;
  try {
    progress("joining");
    const joining = joinAll(phoenix, clients, ({ index }) => memberships[index] ?? NO_MEMBERSHIP);
    const joined = await Promise.race([joining, interrupted]);
    await Promise.race([quiet(clients), interrupted]);
    const bytesEach = pid === null ? 0 : (pssBytes(pid) - memoryBefore) / count;

    const publications = channels.map((channel) =>
      phoenix.publication(channel, "message", paddedPayload(load.payload)),
    );
    const each = count / channels.length;
    const deliveries = new Deliveries(phoenix, clients, 1);
    const sender = through(load.speaker, () => {
      deliveries.expected -= each;
    });
    await probe(deliveries, sender, publications, each);
    await sender.settled();
    const untaken = sender.failures;

    const own = process.cpuUsage();
    const cpuBefore = pid === null ? 0 : cpuMs(pid);
    const began = performance.now();
    let enough = false;
    void load.enough.then(() => {
      enough = true;
    });
    let published = 0;
    for (let left = seconds; left > 0 && !enough; left -= 1) {
      const slice = Math.min(1, left);
      // The first one of each second is the next channel's, whatever the rate.
      await pace(deliveries, sender, rotated(publications, published), rate, each, slice);
      published += Math.round(rate * slice);
      progress(
        `${Math.round((performance.now() - began) / 1000)} of ${seconds} s: ${percent(deliveries.received, deliveries.expected)} of the messages so far have come`,
      );
    }
    await sender.settled();
    await deliveries.drained();
    const unpublished = sender.failures - untaken;
    const took = (deliveries.lastAt - began) / 1000;
    const used = process.cpuUsage(own);
    const serverMs = pid === null ? 0 : cpuMs(pid) - cpuBefore;
    const { latency, received } = deliveries;
    return {
      clients: count,
      connectSeconds,
      joinSeconds: joined.seconds,
      joinP50: joined.latency.quantileMs(0.5),
      joinP99: joined.latency.quantileMs(0.99),
      published: published - unpublished,
      unpublished,
      seconds: took,
      expected: deliveries.expected,
      arrived: received,
      p50: latency.quantileMs(0.5),
      p99: latency.quantileMs(0.99),
      max: latency.quantileMs(1),
      closed: closedOnes(clients),
      ownCores: (used.user + used.system) / 1e6 / took,
      server:
        pid === null || received === 0
          ? null
          : { cores: serverMs / 1000 / took, usEach: (serverMs * 1000) / received, bytesEach },
    };
  } finally {
    for (const client of clients) client.end();
  }
}

const NO_MEMBERSHIP: Membership = { topic: "", token: "" };

/** "99.98 %", never rounded up to all. */
export function percent(part: number, whole: number): string {
  if (part >= whole) return "100 %";
  return `${(Math.floor((part / whole) * 10_000) / 100).toFixed(2)} %`;
}

function rotated(publications: readonly Publication[], by: number): readonly Publication[] {
  const at = by % publications.length;
  return [...publications.slice(at), ...publications.slice(0, at)];
}

/** Each channel once: warms up, and finds out whether the server hears this Redis at all. */
async function probe(
  deliveries: Deliveries,
  sender: Sender,
  publications: readonly Publication[],
  each: number,
): Promise<void> {
  for (const publication of publications) sender.send(publication);
  deliveries.expected = publications.length * each;
  const until = performance.now() + FIRST_MS;
  while (deliveries.received === 0) {
    if (performance.now() > until) throw new Unheard();
    await Bun.sleep(10);
  }
  await deliveries.drained();
  deliveries.reset();
}

interface ThroughClient extends Sender {
  /** Messages that could not be published. */
  readonly failures: number;
  /** Resolves when of each message so far is known whether it was. */
  settled(): Promise<void>;
}

function through(client: PublishClient, failed: () => void): ThroughClient {
  let failures = 0;
  let open = 0;
  let done: (() => void) | null = null;
  const settle = (): void => {
    open--;
    if (open === 0) done?.();
  };
  return {
    get failures() {
      return failures;
    },
    settled: () =>
      new Promise((resolve) => {
        done = resolve;
        if (open === 0) resolve();
      }),
    send({ name, payload, stampEnd }) {
      const stamped = Buffer.from(payload);
      writeStamp(stamped, stampEnd, now());
      open++;
      client.publish(name, stamped).then(settle, () => {
        failures++;
        failed();
        settle();
      });
    },
  };
}

/** The process behind an address of this machine; `null` where that cannot be found out. */
function serverOf(url: URL): number | null {
  try {
    const pid = pidListeningOn(Number(url.port || 80));
    pssBytes(pid);
    return pid;
  } catch {
    return null;
  }
}
