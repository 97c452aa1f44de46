import type { Log } from "../../log.ts";
import type { Bus, BusListener, BusState, PublishAck, SubscribedFamily } from "../bus.ts";
import { type AmqpAddress, parseAmqpAddress } from "./amqp-address.ts";
import { AmqpLink } from "./amqp-link.ts";
import { isPersistent } from "./amqp-reasons.ts";
import type { AmqpTopology } from "./amqp-topology.ts";

export interface AmqpBusOptions extends AmqpTopology {
  /** `amqp_url`; the forms are those of `parseAmqpAddress`. */
  readonly url: string;
  /** Bytes. Sixteen such messages may wait for a broker that does not read; beyond them publishes are refused. */
  readonly maxPayload: number;
  readonly log: Log;
}

/** Bytes of the longest routing key, `<channel>:<event>`. */
const MAX_KEY_BYTES = 255;

/** Between two checks of both connections, in ms. */
const TICK = 200;
/** Ticks after which the first attempt counts as failed (3 s). */
const FIRST_ATTEMPT = 15;
/** Ticks between two log entries about refused messages (1 minute). */
const REFUSALS_EVERY = 300;
/** Pause before the second attempt, and the longest one, in ms. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/**
 * The bus over RabbitMQ (AMQP 0-9-1). Backends publish to one topic exchange and receive from another; each server has a
 * queue of its own. Messages on `hub:` reach this server only: servers on one broker do not know each other.
 * @throws BusError if the address is invalid.
 */
export function createAmqpBus(options: AmqpBusOptions): Bus {
  return new AmqpBus(options);
}

class AmqpBus implements Bus {
  readonly kind = "amqp";
  readonly maxName = MAX_KEY_BYTES;
  readonly #options: AmqpBusOptions;
  readonly #address: AmqpAddress;
  readonly #attempted = Promise.withResolvers<void>();
  #families: readonly SubscribedFamily[] = [];
  #listener: BusListener | null = null;
  #state: BusState;
  /** The link in use, or the one that is being opened. */
  #link: AmqpLink | null = null;
  /** Whether messages of `#link` are received. */
  #subscribed = false;
  #attempts = 0;
  #ticker: Timer | null = null;
  #again: Timer | null = null;
  #ticks = 0;
  /** Whether the log has the loss of the connection, and the last reason that somebody has to act on. */
  #logged = false;
  #persistent = false;
  #refusedAt: number | null = null;

  constructor(options: AmqpBusOptions) {
    this.#options = options;
    this.#address = parseAmqpAddress(options.url);
    const detail = `not yet connected to ${this.#address.shown}`;
    this.#state = { live: false, detail, gaps: 0, since: Date.now() };
  }

  get state(): BusState {
    return this.#state;
  }

  subscribe(families: readonly SubscribedFamily[], listener: BusListener): Promise<void> {
    this.#families = families;
    this.#listener = listener;
    this.#ticker = setInterval(() => this.#tick(), TICK);
    void this.#connect();
    return this.#attempted.promise;
  }

  hears(family: SubscribedFamily): boolean {
    return this.#subscribed && family !== "reply" && this.#families.includes(family);
  }

  publish(name: string, payload: string | Uint8Array, ack?: PublishAck): void {
    const link = this.#subscribed ? this.#link : null;
    const colon = name.indexOf(":");
    const key = name.slice(colon + 1);
    if (link === null || (key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES)) {
      ack?.settled(false);
      return;
    }
    const { exchangeTo, exchangeFrom } = this.#options;
    if (name.startsWith("from:")) link.publish(exchangeFrom, key, payload, ack);
    else if (name.startsWith("to:")) link.publish(exchangeTo, key, payload, ack);
    else if (name.startsWith("hub:")) link.publishToSelf(name, payload, ack);
    else ack?.settled(false);
  }

  async stop(): Promise<void> {
    this.#listener = null;
    if (this.#ticker !== null) clearInterval(this.#ticker);
    if (this.#again !== null) clearTimeout(this.#again);
    this.#ticker = null;
    this.#again = null;
    const link = this.#link;
    const wasSubscribed = this.#subscribed;
    this.#link = null;
    this.#subscribed = false;
    this.#attempted.resolve();
    if (wasSubscribed) await link?.close();
    else link?.destroy();
  }

  async #connect(): Promise<void> {
    this.#again = null;
    this.#attempts++;
    const { exchangeTo, exchangeFrom, queueBytes, maxPayload } = this.#options;
    const link: AmqpLink = new AmqpLink(
      {
        address: this.#address,
        topology: { exchangeTo, exchangeFrom, queueBytes },
        maxWaiting: 16 * maxPayload,
      },
      {
        message: (name, payload) => this.#message(name, payload),
        greeting: () => this.#greeting(),
        dropped: () => this.#dropped(),
        blocked: (reason) => this.#update(reason ?? undefined),
        refused: (reason) => this.#refused(reason),
        lost: (reason) => this.#lost(link, reason),
      },
    );
    this.#link = link;
    try {
      await link.open();
    } catch (error) {
      this.#lost(link, error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.#link !== link) return;
    this.#attempts = 0;
    this.#subscribed = true;
    this.#update();
  }

  #lost(link: AmqpLink, reason: string): void {
    if (this.#link !== link) return;
    link.destroy();
    this.#link = null;
    if (this.#subscribed) {
      this.#subscribed = false;
      this.#gap();
    }
    this.#update(reason);
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(this.#attempts, 10), LONGEST_PAUSE_MS);
    this.#again = setTimeout(() => void this.#connect(), pause * (0.5 + Math.random() / 2));
  }

  #message(name: Buffer, payload: Buffer): void {
    const family = name[0] === 0x74 ? "to" : "hub";
    if (this.#families.includes(family)) this.#listener?.message(name, payload);
  }

  #greeting(): ReturnType<NonNullable<BusListener["greeting"]>> {
    if (!this.#families.includes("hub")) return null;
    return this.#listener?.greeting?.(Date.now() * 1000, "") ?? null;
  }

  /** Positions before the next greeting say nothing: it is published once more, behind what the queue kept. */
  #dropped(): void {
    if (!this.#subscribed) return;
    this.#gap();
    this.#options.log.warn("RabbitMQ dropped messages, this server's queue is full", {
      where: this.#address.shown,
      amqp_queue_bytes: this.#options.queueBytes,
    });
    const greeting = this.#greeting();
    if (greeting !== null) this.#link?.publishToSelf(greeting.name, greeting.payload);
  }

  #gap(): void {
    this.#state = { ...this.#state, gaps: this.#state.gaps + 1 };
    this.#listener?.lost?.();
  }

  /** Updates the state; calls the listener if `live` changed. `reason`: why the bus is not live. */
  #update(reason?: string): void {
    const live = this.#subscribed && this.#link?.isBlocked === false;
    const before = this.#state;
    const { log } = this.#options;
    const { shown } = this.#address;
    const { gaps } = before;
    if (live) {
      if (before.live) return;
      this.#state = { live, detail: `connected to ${shown}`, where: shown, gaps, since: Date.now() };
      const away = this.#logged ? { awayMs: Date.now() - before.since, gaps } : {};
      log.info("RabbitMQ connected", { where: shown, ...away });
      this.#logged = false;
      this.#persistent = false;
      this.#attempted.resolve();
      this.#listener?.changed(this.#state);
      return;
    }
    if (reason === undefined) return;
    const isUnusable = this.#subscribed || isPersistent(reason);
    const detail = `cannot ${isUnusable ? "use" : "reach"} ${shown}: ${reason}`;
    this.#state = { live, detail, gaps, since: before.live ? Date.now() : before.since };
    if (!this.#logged) {
      const message = before.live ? "RabbitMQ connection lost, retrying" : "RabbitMQ not reachable, retrying";
      log.warn(this.#subscribed ? "RabbitMQ accepts no messages" : message, { where: shown, reason });
    } else if (isPersistent(reason) && !this.#persistent) {
      // An operator has to act, and "connection closed" alone does not say so.
      log.warn("RabbitMQ refuses this server, retrying", { where: shown, reason });
    }
    this.#logged = true;
    this.#persistent ||= isPersistent(reason);
    this.#attempted.resolve();
    if (before.live) this.#listener?.changed(this.#state);
  }

  #tick(): void {
    this.#ticks++;
    if (this.#ticks === FIRST_ATTEMPT) this.#attempted.resolve();
    this.#link?.tick();
  }

  #refused(reason: string): void {
    if (this.#refusedAt !== null && this.#ticks - this.#refusedAt < REFUSALS_EVERY) return;
    this.#refusedAt = this.#ticks;
    this.#options.log.warn("RabbitMQ refused a message", { where: this.#address.shown, reason });
  }
}
