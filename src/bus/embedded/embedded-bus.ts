import type { Log } from "../../log.ts";
import type {
  Bus,
  BusListener,
  BusState,
  GroupAck,
  MessageGroup,
  PublishAck,
  SubscribedFamily,
} from "../bus.ts";
import { type CallQueues, MAX_QUEUED_CALLS, QUEUE_MARGIN, type QueueResult } from "../call-queues.ts";
import { printQueue } from "../topics.ts";
import { Lists } from "./lists.ts";
import { listenResp, type RespListener } from "./resp-server.ts";
import { type Message, type Subscriber, Subscriptions } from "./subscriptions.ts";

export interface EmbeddedBusOptions {
  /** Loopback only. Default: 127.0.0.1. */
  readonly host?: "127.0.0.1" | "::1";
  /** The port for clients of the Redis protocol; 0 picks one. */
  readonly port: number;
  /** Added before each name, as in a Redis. Default: none. */
  readonly prefix?: string;
  /** Largest message of a client, in bytes. */
  readonly maxPayload: number;
  /** Bytes that may wait for all subscribers together. */
  readonly maxBuffered: number;
  /** What clients authenticate with (`AUTH`). Default: no authentication. */
  readonly password?: string | null;
  /** Whether it replaces a Redis that was not found, for the log. */
  readonly noRedis?: boolean;
  readonly log: Log;
}

export interface EmbeddedBus extends Bus {
  readonly kind: "embedded";
  /** The port for clients of the Redis protocol; 0 before `subscribe`. */
  readonly port: number;
}

/**
 * A bus inside this process, with the Redis protocol on a loopback port for backends. `subscribe` rejects with a BusError
 * (`port-taken`) if it cannot listen.
 */
export function createEmbeddedBus(options: EmbeddedBusOptions): EmbeddedBus {
  return new InProcessBus(options);
}

interface Pending {
  readonly name: string;
  readonly payload: string | Buffer;
  readonly ack: PublishAck | undefined;
}

/** Memory of all lists, in bytes. */
const MAX_LIST_BYTES = 64 * 1024 * 1024;

class InProcessBus implements EmbeddedBus {
  readonly kind = "embedded";
  readonly queues: CallQueues = { push: async (...call) => this.#enqueue(...call) };
  readonly #options: EmbeddedBusOptions;
  readonly #subscriptions = new Subscriptions();
  readonly #lists: Lists;
  #families: readonly SubscribedFamily[] = [];
  #listener: BusListener | null = null;
  #resp: RespListener | null = null;
  #pending: Pending[] = [];
  #state: BusState = { live: false, detail: "the embedded bus is not started", gaps: 0, since: Date.now() };

  constructor(options: EmbeddedBusOptions) {
    this.#options = options;
    const { maxBuffered, maxPayload } = options;
    this.#lists = new Lists(Math.min(maxBuffered, Math.max(MAX_LIST_BYTES, 2 * maxPayload)));
  }

  get state(): BusState {
    return this.#state;
  }

  get port(): number {
    return this.#resp?.port ?? 0;
  }

  async subscribe(families: readonly SubscribedFamily[], listener: BusListener): Promise<void> {
    const {
      host = "127.0.0.1",
      prefix = "",
      port,
      maxPayload,
      maxBuffered,
      password = null,
      log,
    } = this.#options;
    const options = { host, port, maxPayload, maxBuffered, password, log };
    const resp = listenResp(this.#subscriptions, this.#lists, options);
    this.#resp = resp;
    this.#families = families;
    this.#listener = listener;
    const server: Subscriber = {
      receive: ({ name, payload }: Message) => this.#listener?.message(name.subarray(prefix.length), payload),
    };
    for (const family of families) {
      this.#subscriptions.add(server, Buffer.from(`${prefix}${family}:*`), true);
    }
    const where = host === "::1" ? `[::1]:${resp.port}` : `${host}:${resp.port}`;
    this.#state = {
      live: true,
      detail: `embedded bus, with the Redis protocol on ${where}`,
      gaps: 0,
      since: Date.now(),
    };
    const why = this.#options.noRedis === true ? "no Redis found, " : "";
    log.info(`${why}using the embedded bus (development only)`, { where });
    listener.changed(this.#state);
    if (families.includes("hub")) this.#greet(listener);
  }

  /** Published at once: no client can publish before. The subscription is never lost. */
  #greet(listener: BusListener): void {
    const greeting = listener.greeting?.(Date.now() * 1000, "") ?? null;
    if (greeting === null) return;
    const { prefix = "" } = this.#options;
    this.#subscriptions.publish(Buffer.from(prefix + greeting.name), Buffer.from(greeting.payload));
  }

  hears(family: SubscribedFamily): boolean {
    return this.#resp !== null && this.#families.includes(family);
  }

  #enqueue(queue: string, call: string, timeLeft: number): QueueResult {
    if (this.#resp === null) return "away";
    const { prefix = "" } = this.#options;
    const key = Buffer.from(prefix + printQueue(queue));
    if (this.#lists.length(key) > MAX_QUEUED_CALLS) return "full";
    if (this.#lists.push(key, [Buffer.from(call)]) === null) return "full";
    this.#lists.expireAt(key, performance.now() + timeLeft + QUEUE_MARGIN);
    return "queued";
  }

  /** Delivers at the end of the tick: as with a Redis, never within the call. */
  publish(name: string, payload: string | Uint8Array, ack?: PublishAck): void {
    if (this.#resp === null) {
      ack?.settled(false);
      return;
    }
    if (this.#pending.length === 0) setImmediate(() => this.#deliver());
    // Copied, since the caller reuses its buffer before this is delivered.
    const own = typeof payload === "string" ? payload : Buffer.from(payload);
    const { prefix = "" } = this.#options;
    this.#pending.push({ name: prefix + name, payload: own, ack });
  }

  /** What is published in one tick is delivered without messages of clients between. */
  publishGroup({ names, payload, note }: MessageGroup, ack: GroupAck): void {
    const last = {
      settled: (accepted: boolean) => ack.finished(accepted ? "together" : "not", accepted && note !== null),
    };
    if (note !== null) this.publish(note.name, note.payload);
    names.forEach((name, i) => {
      this.publish(name, payload, note === null && i === names.length - 1 ? last : undefined);
    });
    if (note !== null) this.publish(note.name, note.payload, last);
  }

  async stop(): Promise<void> {
    this.#listener = null;
    const resp = this.#resp;
    if (resp === null) return;
    this.#deliver();
    this.#resp = null;
    this.#state = { live: false, detail: "the embedded bus is stopped", gaps: 0, since: Date.now() };
    resp.stop();
  }

  #deliver(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const { name, payload, ack } of pending) {
      const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
      const receivers = this.#subscriptions.publish(Buffer.from(name), bytes);
      ack?.settled(true, receivers === 0);
    }
    this.#resp?.flush();
  }
}
