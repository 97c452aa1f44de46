import type { Bus, PublishAck } from "../bus/bus.ts";
import { printHub } from "../bus/topics.ts";
import { atMostOncePer, type Log } from "../log.ts";
import type { Signer } from "./signer.ts";

/** Minimum time between two log lines about messages that do not verify, in ms. */
const LOG_INTERVAL = 60_000;

/** Longest message that is verified, in bytes, with its signature. */
export const MAX_BYTES = 1024 * 1024;

/** Receives the messages of one kind. `body` is valid until it returns. Must not throw. */
export type FleetHandler = (body: Buffer) => void;

/** Messages between servers: signed, on `hub:<kind>`. A server receives its own too. */
export class FleetMessages {
  /** Messages that no configured secret signed, or that are too long. */
  rejected = 0;
  readonly #bus: Bus;
  readonly #signer: Signer;
  readonly #handlers = new Map<string, FleetHandler>();
  readonly #reportRejected: () => void;

  constructor(bus: Bus, signer: Signer, log: Log) {
    this.#bus = bus;
    this.#signer = signer;
    this.#reportRejected = atMostOncePer(LOG_INTERVAL, (times) => {
      const message =
        "ignored messages of servers that another secret signed: fleet_secret must be the same on all";
      log.error(message, { times });
    });
  }

  /** Sets the handler of a kind. */
  on(kind: string, handler: FleetHandler): void {
    this.#handlers.set(printHub(kind), handler);
  }

  /** A payload for `hub:<kind>`. */
  sign(kind: string, body: string): string {
    return this.#signer.sign(printHub(kind), body);
  }

  publish(kind: string, body: string, ack?: PublishAck): void {
    this.#bus.publish(printHub(kind), this.sign(kind, body), ack);
  }

  /** A message of the bus on a `hub:` name. */
  message(name: Buffer, payload: Buffer): void {
    const text = name.toString("latin1");
    const handler = this.#handlers.get(text);
    if (handler === undefined) return;
    const body = payload.length > MAX_BYTES ? null : this.#signer.open(text, payload);
    if (body !== null) return handler(body);
    this.rejected++;
    this.#reportRejected();
  }
}
