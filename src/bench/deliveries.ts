import type { Driver } from "./driver.ts";
import { Latency } from "./latency.ts";
import type { Publication, Publisher, Sender } from "./publisher.ts";
import { now, readStamp, STAMP_DIGITS } from "./stamp.ts";
import type { Client } from "./websocket-client.ts";

/**
 * Between two looks at whether anything comes, in ms. Patience is counted in polls, so that a pause of the generator's
 * own is not taken for one of the server's.
 */
const POLL_MS = 100;
/** Polls without progress after which missing messages count as lost: 10 s, because a server may only be slow. */
const LOST_POLLS = 100;
/** The same during a flood, which stalls when messages are lost: 2 s. */
const FLOOD_POLLS = 20;

const ONE = 0x31;
const QUOTE = 0x22;
const COLON = 0x3a;

/** Whether a message is a delivery; presence, for example, has no stamp. */
function endsWithStamp(bytes: Buffer, start: number, end: number): boolean {
  const at = end - STAMP_DIGITS;
  if (at <= start || bytes[at] !== ONE) return false;
  const before = bytes[at - 1];
  return before === COLON || before === QUOTE;
}

function oneDelivery(): number {
  return 1;
}

/** Counts deliveries to clients and records the latency of a sample. */
export class Deliveries {
  readonly clients: readonly Client[];
  readonly latency = new Latency();
  received = 0;
  expected = 0;
  lastAt = 0;
  /** Called once when `received` reaches `wakeAt`. */
  wake: () => void = () => {};
  wakeAt = Number.POSITIVE_INFINITY;

  /** @param stampEvery stamps of every n-th client are read: reading all is too slow at a million deliveries per second */
  constructor(driver: Driver, clients: readonly Client[], stampEvery: number) {
    this.clients = clients;
    const { bytesAfterStamp } = driver;
    const deliveriesIn = driver.deliveriesIn ?? oneDelivery;
    const count = (_client: Client, bytes: Buffer, start: number, end: number): void => {
      if (!endsWithStamp(bytes, start, end - bytesAfterStamp)) return;
      this.received += deliveriesIn(bytes, start, end);
      if (this.received >= this.wakeAt) this.#wakeUp();
    };
    const countAndRead = (client: Client, bytes: Buffer, start: number, end: number): void => {
      if (endsWithStamp(bytes, start, end - bytesAfterStamp)) {
        this.latency.record(now() - readStamp(bytes, end - bytesAfterStamp));
      }
      count(client, bytes, start, end);
    };
    for (const client of clients) client.onMessage = client.index % stampEvery === 0 ? countAndRead : count;
  }

  reset(): void {
    this.received = 0;
    this.expected = 0;
    this.latency.clear();
    for (const client of this.clients) client.received = 0;
  }

  /** Resolves when all expected deliveries have arrived, or after `LOST_POLLS` without progress. */
  async drained(): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.wakeAt = this.expected;
    this.wake = done.resolve;
    if (this.received >= this.expected) this.#wakeUp();
    this.lastAt = performance.now();
    const stop = this.watch(LOST_POLLS, done.resolve);
    await done.promise;
    stop();
    if (this.received >= this.expected) this.lastAt = performance.now();
    this.wakeAt = Number.POSITIVE_INFINITY;
  }

  /** Calls `stuck` after each `polls` polls without progress and keeps `lastAt` current. Returns a function that stops it. */
  watch(polls: number, stuck: () => void): () => void {
    let last = this.received;
    let still = 0;
    const timer = setInterval(() => {
      if (this.received !== last) {
        last = this.received;
        this.lastAt = performance.now();
        still = 0;
      } else if (++still === polls) {
        still = 0;
        stuck();
      }
    }, POLL_MS);
    return () => clearInterval(timer);
  }

  #wakeUp(): void {
    this.wakeAt = Number.POSITIVE_INFINITY;
    this.wake();
  }
}

/**
 * Publishes as fast as clients receive: sends a new batch while at most `inFlight` messages are undelivered, so that no queue
 * grows. Each message goes to `each` clients: by default to every one.
 */
export async function flood(
  deliveries: Deliveries,
  publisher: Publisher,
  batch: Publication,
  inFlight: number,
  seconds: number,
  each = deliveries.clients.length,
): Promise<void> {
  const size = batch.stampEnds.length;
  const until = performance.now() + seconds * 1000;
  const over = Promise.withResolvers<void>();
  let lost = 0;
  const refill = (): void => {
    if (performance.now() >= until) {
      over.resolve();
      return;
    }
    while (deliveries.expected - lost - deliveries.received <= (inFlight - size) * each) {
      publisher.send(batch);
      deliveries.expected += size * each;
    }
    deliveries.wakeAt = deliveries.expected - lost - (inFlight - size) * each;
  };
  deliveries.wake = refill;
  refill();
  const stop = deliveries.watch(FLOOD_POLLS, () => {
    lost = deliveries.expected - deliveries.received;
    refill();
  });
  await over.promise;
  stop();
  deliveries.wakeAt = Number.POSITIVE_INFINITY;
}

/** Publishes in rotation at an even rate of `perSecond` in total; each message goes to `each` clients. */
export async function pace(
  deliveries: Deliveries,
  sender: Sender,
  publications: readonly Publication[],
  perSecond: number,
  each: number,
  seconds: number,
): Promise<void> {
  const total = Math.round(perSecond * seconds);
  const began = performance.now();
  const over = Promise.withResolvers<void>();
  let sent = 0;
  const timer = setInterval(
    () => {
      const due = Math.min(total, Math.floor(((performance.now() - began) / 1000) * perSecond));
      while (sent < due) {
        const publication = publications[sent % publications.length];
        if (publication !== undefined) sender.send(publication);
        sent++;
        deliveries.expected += each;
      }
      if (sent === total) over.resolve();
    },
    Math.max(1, 1000 / perSecond),
  );
  await over.promise;
  clearInterval(timer);
}
