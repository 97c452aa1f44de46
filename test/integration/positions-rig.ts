import type { Redis } from "ioredis";
import { MAX_PAYLOAD, type PositionServer } from "./position-server.ts";

/** How often two servers held the position of the one against the message of the other. */
export interface Agreement {
  /** Positions that both gave to a message. */
  both: number;
  /** Positions of one server that the other translated into a number of its own. */
  resolved: number;
  /** What differed; empty if all is well. */
  readonly differing: string[];
}

/** Holds all positions that both servers know against each other. */
export function compare(one: PositionServer, other: PositionServer, agreement: Agreement): void {
  for (const [position, message] of one.records.byPosition) {
    const others = other.records.byPosition.get(position);
    if (others === undefined) continue;
    agreement.both++;
    if (others !== message) agreement.differing.push(`${position}: ${message} and ${others}`);
  }
}

/** A client moves from one server to another: the position of its newest message must lead to the same message there. */
export function resolveElsewhere(one: PositionServer, other: PositionServer, agreement: Agreement): void {
  const { newest } = one.records;
  if (newest === null) return;
  const seq = other.hub.positions.resolve(newest.position);
  if (typeof seq !== "number") return;
  const message = other.records.bySeq.get(seq);
  agreement.resolved++;
  if (message !== newest.message) {
    agreement.differing.push(`${newest.position} resolved: ${newest.message} and ${message}`);
  }
}

/** Publishes numbered messages until it is stopped, on names of all kinds, some of which are dropped. */
export class Publishing {
  /** Messages published. */
  sent = 0;
  readonly #ended: Promise<unknown>;
  readonly #redis: () => Redis;
  #stopped = false;

  /** @param redis the connection to publish on, which may change; `perSecond` messages of all `publishers` together */
  constructor(redis: () => Redis, { publishers = 3, perSecond = 6000 } = {}) {
    this.#redis = redis;
    const pause = (1000 * BATCH * publishers) / perSecond;
    this.#ended = Promise.all(Array.from({ length: publishers }, () => this.#run(pause)));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
  }

  async #run(pause: number): Promise<void> {
    let due = performance.now();
    while (!this.#stopped) {
      const pipeline = this.#redis().pipeline();
      for (let i = 0; i < BATCH; i++) {
        const number = ++this.sent;
        pipeline.publish(nameOf(number), payloadOf(number));
      }
      await pipeline.exec().catch(() => {});
      due = Math.max(due + pause, performance.now() - pause);
      await Bun.sleep(Math.max(0, due - performance.now()));
    }
  }
}

const BATCH = 40;

/** Mostly one channel; also names that are malformed, reserved, or of exports. */
function nameOf(number: number): string {
  if (number % 17 === 0) return "to:malformed";
  if (number % 19 === 0) return "to:room:presence_diff";
  if (number % 23 === 0) return "to:room:phx_reply";
  return `to:room:${number % 7 === 0 ? 2 : 1}:news`;
}

/** The number as JSON, some over `MAX_PAYLOAD`. */
function payloadOf(number: number): string {
  return `${number}${" ".repeat(number % 29 === 0 ? 2 * MAX_PAYLOAD : 1)}`;
}

/** Unix time in ms of the marker in a position: a server knows no marker from before its start. */
export function markerTime(position: string | null): number {
  return Number.parseInt(String(position).split(".")[0] ?? "", 36) / 1000;
}

/** Ends the subscribing connections of a Redis, all of them or a random one. Returns how many. */
export async function killSubscribers(redis: Redis, all = false): Promise<number> {
  const list = String(await redis.client("LIST"));
  const ids = [...list.matchAll(/^id=(\d+) .* name=channel-subscriber /gm)].map(([, id]) => id ?? "");
  const chosen = all ? ids : ids.slice(Math.floor(Math.random() * ids.length)).slice(0, 1);
  let killed = 0;
  for (const id of chosen) killed += Number(await redis.call("CLIENT", "KILL", "ID", id));
  return killed;
}
