import type { Bus, Greeting, PublishAck } from "../bus/bus.ts";
import { printHub } from "../bus/topics.ts";
import { atMostOncePer, type Log } from "../log.ts";
import type { Signer } from "./signer.ts";

/** Minimum time between two log lines about messages that do not verify, in ms. */
const LOG_INTERVAL = 60_000;

/** Longest message of most kinds that is verified, in bytes, with its signature. */
export const MAX_BYTES = 1024 * 1024;

/** Receives the messages of one kind. `body` is valid until it returns. Must not throw. */
export type FleetHandler = (body: Buffer) => void;

interface Handling {
  readonly handler: FleetHandler;
  readonly maxBytes: number;
}

/** Messages between servers: signed, on `hub:<kind>`. A server receives its own too. */
export class FleetMessages {
  /** Messages that no configured secret signed, or that are too long. */
  rejected = 0;
  readonly #bus: Bus;
  readonly #signer: Signer;
  readonly #handlers = new Map<string, Handling>();
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

  /** Sets the handler of a kind. @param maxBytes longest message that is verified, with its signature */
  on(kind: string, handler: FleetHandler, maxBytes = MAX_BYTES): void {
    this.#handlers.set(printHub(kind), { handler, maxBytes });
  }

  /** A payload for `hub:<kind>`. */
  sign(kind: string, body: string): string {
    return this.#signer.sign(printHub(kind), body);
  }

  /** A message for the bus. */
  encode(kind: string, body: string | Uint8Array): Greeting {
    const name = printHub(kind);
    const payload =
      typeof body === "string" ? this.#signer.sign(name, body) : this.#signer.signBytes(name, body);
    return { name, payload };
  }

  publish(kind: string, body: string | Uint8Array, ack?: PublishAck): void {
    const { name, payload } = this.encode(kind, body);
    this.#bus.publish(name, payload, ack);
  }

  /** A message of the bus on a `hub:` name. */
  message(name: Buffer, payload: Buffer): void {
    const text = name.toString("latin1");
    const handling = this.#handlers.get(text);
    if (handling === undefined) return;
    const body = payload.length > handling.maxBytes ? null : this.#signer.open(text, payload);
    if (body !== null) return handling.handler(body);
    this.rejected++;
    this.#reportRejected();
  }
}
