import type { ServerMessageHandler, ServerMessages } from "../hub/server-messages.ts";
import { atMostOncePer, type Log } from "../log.ts";
import type { Fleet } from "./fleet.ts";
import { type FleetMessages, MAX_BYTES } from "./fleet-messages.ts";

/** Minimum time between two log lines about messages that are too long, in ms. */
const LOG_INTERVAL = 60_000;

/** The most servers whose last message is remembered. */
const MAX_SENDERS = 1000;

/** What precedes a body: the incarnation of the sender, and a number that grows. */
const HEAD = /^([0-9A-Za-z]{1,32}):(\d{1,15}):/;

/** Longest head and signature, in bytes. */
const MAX_HEAD = 128;

export interface ProtocolMessagesOptions {
  /** The messages travel on `hub:<kind>`. */
  readonly kind: string;
  readonly messages: FleetMessages;
  /** `null` for a server that is alone. */
  readonly fleet: () => Fleet | null;
  readonly log: Log;
}

/** Messages of one protocol between servers. Accepted are those of living servers, each once and none that was repeated. */
export class ProtocolMessages implements ServerMessages {
  readonly #options: ProtocolMessagesOptions;
  readonly #reportTooLong: () => void;
  /** The number of the last message of each server, the one that sent longest ago first. */
  readonly #last = new Map<string, number>();
  #seq = 0;

  constructor(options: ProtocolMessagesOptions) {
    this.#options = options;
    const { kind, log } = options;
    this.#reportTooLong = atMostOncePer(LOG_INTERVAL, (times) =>
      log.warn("message too long for other servers", { kind, times, max_bytes: MAX_BYTES }),
    );
  }

  get hasOthers(): boolean {
    return (this.#options.fleet()?.others.size ?? 0) > 0;
  }

  send(body: string): boolean {
    const { kind, messages, fleet } = this.#options;
    const sender = fleet();
    if (sender === null || sender.others.size === 0) return false;
    if (Buffer.byteLength(body) > MAX_BYTES - MAX_HEAD) {
      this.#reportTooLong();
      return false;
    }
    messages.publish(kind, `${sender.incarnation}:${++this.#seq}:${body}`);
    return true;
  }

  receive(handler: ServerMessageHandler): void {
    this.#options.messages.on(this.#options.kind, (bytes) => {
      const [head = "", from = "", seq = ""] = HEAD.exec(bytes.toString("latin1", 0, MAX_HEAD)) ?? [];
      if (head !== "" && this.#isNew(from, Number(seq))) handler(bytes.toString("utf8", head.length));
    });
  }

  /** Whether it comes from another living server and is no repetition. */
  #isNew(from: string, seq: number): boolean {
    if (this.#options.fleet()?.others.has(from) !== true || seq <= (this.#last.get(from) ?? 0)) return false;
    this.#last.delete(from);
    this.#last.set(from, seq);
    const [oldest] = this.#last.keys();
    if (this.#last.size > MAX_SENDERS && oldest !== undefined) this.#last.delete(oldest);
    return true;
  }
}
