/** A part that observes: one client, to which a message is published every few ms. The latest of them is the longest stall. */

import { joinAll } from "../../../src/bench/clients.ts";
import { Deliveries } from "../../../src/bench/deliveries.ts";
import type { Driver } from "../../../src/bench/driver.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import { type Publication, Publisher } from "../../../src/bench/publisher.ts";
import { dialects } from "../dialects.ts";
import { answerAll } from "../part.ts";
import { mint } from "../tokens.ts";
import type { Place } from "./crowd.ts";

const CHANNEL = "observer";
const EVERY_MS = 5;
/** How long the last message is waited for. */
const LATE_MS = 10_000;

export interface Observed {
  /** From publishing to receiving, of all since `begin`. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  /** By how much this process itself was late at most: what it may have added. */
  readonly ownMs: number;
  /** Messages published, and how many of them did not come. */
  readonly sent: number;
  readonly lost: number;
}

let deliveries: Deliveries | null = null;
let publisher: Publisher | null = null;
let message: Publication | null = null;
let timer: Timer | undefined;
let ownMs = 0;

function observing(): Deliveries {
  if (deliveries === null) throw new Error("open comes first");
  return deliveries;
}

export const answers = {
  async open(place: Place): Promise<void> {
    const driver: Driver | undefined = dialects.find(({ name }) => name === place.dialect);
    if (driver === undefined) throw new Error(`no dialect is called ${place.dialect}`);
    const client = await driver.connect(0, driver.socketUrl(place.url));
    await joinAll(driver, [client], () => ({
      topic: CHANNEL,
      token: mint(place.secret, "observer", CHANNEL),
    }));
    deliveries = new Deliveries(driver, [client], 1);
    publisher = await Publisher.connect(driver.intakeUrl?.(place.url) ?? place.redisUrl);
    message = driver.publication(CHANNEL, "message", paddedPayload(60));
  },

  begin(_request: null): void {
    const counted = observing();
    counted.reset();
    ownMs = 0;
    let due = performance.now() + EVERY_MS;
    timer = setInterval(() => {
      const now = performance.now();
      ownMs = Math.max(ownMs, now - due);
      due = now + EVERY_MS;
      if (message !== null) publisher?.send(message);
      counted.expected++;
    }, EVERY_MS);
  },

  async end(_request: null): Promise<Observed> {
    clearInterval(timer);
    const { latency, expected } = observing();
    const giveUp = performance.now() + LATE_MS;
    while (observing().received < expected && performance.now() < giveUp) await Bun.sleep(EVERY_MS);
    return {
      p50Ms: latency.quantileMs(0.5) ?? Number.NaN,
      p99Ms: latency.quantileMs(0.99) ?? Number.NaN,
      worstMs: latency.quantileMs(1) ?? Number.NaN,
      ownMs,
      sent: expected,
      lost: Math.max(0, expected - observing().received),
    };
  },
};

if (import.meta.main) answerAll(answers);
