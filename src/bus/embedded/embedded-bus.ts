import type { Log } from "../../log.ts";
import type { Bus, BusListener, BusState, PublishAck } from "../bus.ts";
import { listenResp, type RespListener } from "./resp-server.ts";
import { type Message, type Subscriber, Subscriptions } from "./subscriptions.ts";

export interface EmbeddedBusOptions {
  /** Loopback only. Default: 127.0.0.1. */
  readonly host?: "127.0.0.1" | "::1";
  /** Where to listen with the Redis protocol; 0 picks a port. */
  readonly port: number;
  /** Bytes of one message from outside. */
  readonly maxPayload: number;
  /** Bytes that may wait for all subscribers that do not read. */
  readonly maxBuffered: number;
  /** What clients sign in with (`AUTH`). Default: nothing, nobody has to. */
  readonly password?: string | null;
  readonly log: Log;
}

/** The embedded bus, and where it listens. */
export interface EmbeddedBus extends Bus {
  readonly kind: "embedded";
  /** 0 until it is started. */
  readonly port: number;
}

/**
 * A bus inside this process, with the Redis protocol on a loopback port for backends (bridge.md, "Without a Redis").
 * `start` rejects with a BusError (`port-taken`) where it can't listen.
 */
export function createEmbeddedBus(options: EmbeddedBusOptions): EmbeddedBus {
  return new InProcessBus(options);
}

interface Pending {
  readonly name: string;
  readonly payload: string | Buffer;
  readonly receipt: PublishAck | undefined;
}

/** What the server itself subscribes to, as it would with a Redis. */
const PATTERN = Buffer.from("to:*");

class InProcessBus implements EmbeddedBus {
  readonly kind = "embedded";
  readonly #options: EmbeddedBusOptions;
  readonly #subscriptions = new Subscriptions();
  #listener: BusListener | null = null;
  #resp: RespListener | null = null;
  #pending: Pending[] = [];
  #state: BusState = { live: false, detail: "the embedded bus is not started", gaps: 0, since: Date.now() };

  constructor(options: EmbeddedBusOptions) {
    this.#options = options;
  }

  get state(): BusState {
    return this.#state;
  }

  get port(): number {
    return this.#resp?.port ?? 0;
  }

  async start(listener: BusListener): Promise<void> {
    const { host = "127.0.0.1", port, maxPayload, maxBuffered, password = null, log } = this.#options;
    const resp = listenResp(this.#subscriptions, { host, port, maxPayload, maxBuffered, password, log });
    this.#resp = resp;
    this.#listener = listener;
    const hub: Subscriber = {
      hear: ({ name, payload }: Message) => this.#listener?.message(name, payload, 0),
    };
    this.#subscriptions.add(hub, PATTERN, true);
    const where = host === "::1" ? `[::1]:${resp.port}` : `${host}:${resp.port}`;
    this.#state = {
      live: true,
      detail: `embedded bus, with the Redis protocol on ${where}`,
      gaps: 0,
      since: Date.now(),
    };
    log.info("embedded bus in use: for one machine and for trying things", { where });
    listener.changed(this.#state);
  }

  /** Delivered when this tick's work is done, as with a Redis: a subscriber never hears a publish inside of it. */
  publish(name: string, payload: string | Uint8Array, receipt?: PublishAck): void {
    if (this.#resp === null) {
      receipt?.settled(false);
      return;
    }
    if (this.#pending.length === 0) setImmediate(() => this.#deliver());
    // Copied, since the caller has its buffer back before this is delivered.
    const own = typeof payload === "string" ? payload : Buffer.from(payload);
    this.#pending.push({ name, payload: own, receipt });
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
    for (const { name, payload, receipt } of pending) {
      const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
      this.#subscriptions.publish(Buffer.from(name), bytes);
      receipt?.settled(true);
    }
    this.#resp?.flush();
  }
}
