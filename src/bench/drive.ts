import type { PublishClient } from "../bus/redis/redis-client.ts";
import { connectAll, countClosed, joinAll, type Membership, quiet } from "./clients.ts";
import { Deliveries, pace } from "./deliveries.ts";
import { paddedPayload } from "./payload.ts";
import { phoenix } from "./phoenix-driver.ts";
import { cpuMs, pidListeningOn, pssBytes } from "./process-times.ts";
import type { Publication, Sender } from "./publisher.ts";
import { now, writeStamp } from "./stamp.ts";

/** Parameters of the load. */
export interface Load {
  /** WebSocket address, with its path. */
  readonly url: URL;
  readonly memberships: readonly Membership[];
  /** The clients are distributed evenly. */
  readonly channels: readonly string[];
  /** Messages per second, all channels together. */
  readonly rate: number;
  /** Size of a message, bytes. */
  readonly payload: number;
  readonly seconds: number;
  readonly speaker: PublishClient;
  /** Called with a progress line about once per second. */
  progress(line: string): void;
  /** Resolves when the operator stops the run. */
  readonly stopped: Promise<void>;
}

/** Results. Times in ms unless the name says `Seconds`. */
export interface Result {
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
  /** Messages that could not be published; not in `published` or `expected`. */
  readonly unpublished: number;
  /** Connections that the server closed. */
  readonly closed: number;
  /** CPU of the generator while publishing, cores. */
  readonly ownCores: number;
  /** The server's process, if it runs on this machine and is readable; CPU in cores and us per delivery, memory in bytes per client. */
  readonly server: { readonly cores: number; readonly usEach: number; readonly bytesEach: number } | null;
}

/** No client received the first messages: most likely the server uses another Redis. */
export class NothingReceived extends Error {}

const PROBE_TIMEOUT_MS = 3000;

/** Connects and joins all clients, publishes at an even rate, and measures until the last delivery. */
export async function drive(load: Load): Promise<Result> {
  const { url, memberships, channels, rate, seconds, progress } = load;
  const pid = serverOf(url);
  const memoryBefore = pid === null ? 0 : pssBytes(pid);
  const count = memberships.length;

  const interrupted: Promise<never> = load.stopped.then(() => {
    throw new Error("stopped before anything was measured");
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
    const sender = busSender(load.speaker, () => {
      deliveries.expected -= each;
    });
    await probe(deliveries, sender, publications, each);
    await sender.settled();
    const probeFailures = sender.failures;

    const own = process.cpuUsage();
    const cpuBefore = pid === null ? 0 : cpuMs(pid);
    const began = performance.now();
    let stopped = false;
    void load.stopped.then(() => {
      stopped = true;
    });
    let published = 0;
    for (let left = seconds; left > 0 && !stopped; left -= 1) {
      const slice = Math.min(1, left);
      // Continue with the next channel, whatever the rate.
      await pace(deliveries, sender, rotated(publications, published), rate, each, slice);
      published += Math.round(rate * slice);
      // By the load, not by the clock: a pause of this process would skip a line, or go beyond the end.
      progress(
        `${Math.round(seconds - left + slice)} of ${seconds} s: ${percent(deliveries.received, deliveries.expected)} delivered so far`,
      );
    }
    await sender.settled();
    await deliveries.drained();
    const unpublished = sender.failures - probeFailures;
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
      closed: countClosed(clients),
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

/** "99.98 %"; never rounded up to 100 %. */
export function percent(part: number, whole: number): string {
  if (part >= whole) return "100 %";
  return `${(Math.floor((part / whole) * 10_000) / 100).toFixed(2)} %`;
}

function rotated(publications: readonly Publication[], by: number): readonly Publication[] {
  const at = by % publications.length;
  return [...publications.slice(at), ...publications.slice(0, at)];
}

/** Publishes once to each channel: a warm-up, and a check that the server uses this Redis. */
async function probe(
  deliveries: Deliveries,
  sender: Sender,
  publications: readonly Publication[],
  each: number,
): Promise<void> {
  for (const publication of publications) sender.send(publication);
  deliveries.expected = publications.length * each;
  const until = performance.now() + PROBE_TIMEOUT_MS;
  while (deliveries.received === 0) {
    if (performance.now() > until) throw new NothingReceived();
    await Bun.sleep(10);
  }
  await deliveries.drained();
  deliveries.reset();
}

interface BusSender extends Sender {
  /** Messages that could not be published. */
  readonly failures: number;
  /** Resolves when the outcome of each message so far is known. */
  settled(): Promise<void>;
}

function busSender(speaker: PublishClient, failed: () => void): BusSender {
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
      speaker.publish(name, stamped).then(settle, () => {
        failures++;
        failed();
        settle();
      });
    },
  };
}

/** PID of the server at an address of this machine; `null` if it cannot be determined. */
function serverOf(url: URL): number | null {
  try {
    const pid = pidListeningOn(Number(url.port || 80));
    pssBytes(pid);
    return pid;
  } catch {
    return null;
  }
}
