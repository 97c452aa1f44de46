import type { ConfirmChannel } from "amqplib";
import type { Greeting, PublishAck } from "../bus.ts";
import { CLOSED } from "../network-reasons.ts";
import type { AmqpAddress } from "./amqp-address.ts";
import { AmqpConnection } from "./amqp-connection.ts";
import { AmqpPublisher } from "./amqp-publisher.ts";
import { reasonOf } from "./amqp-reasons.ts";
import { AmqpSubscription, PING } from "./amqp-subscription.ts";
import type { AmqpTopology } from "./amqp-topology.ts";

/** Ticks of 200 ms without a message after which one is sent through the broker (1 s), and after which it is given up (2.6 s). */
const PING_AFTER = 5;
const GIVE_UP_AFTER = 13;

/** How long what was published last may take to be written at the end, in ms. */
const CLOSE_TIMEOUT_MS = 1000;

/** The exchange that delivers to the queue that the key names. */
const DEFAULT_EXCHANGE = "";

export interface AmqpLinkOwner {
  message(name: Buffer, payload: Buffer): void;
  /** The greeting of the subscription that begins. */
  greeting(): Greeting | null;
  /** Messages were dropped at the bound of the queue. */
  dropped(): void;
  blocked(reason: string | null): void;
  /** The broker closed the publishing channel, as for a message that it does not permit. */
  refused(reason: string): void;
  /** Called at most once. */
  lost(reason: string): void;
}

export interface AmqpLinkOptions {
  readonly address: AmqpAddress;
  readonly topology: AmqpTopology;
  /** Bytes that may wait for the broker. */
  readonly maxWaiting: number;
}

/**
 * Both connections to the broker, from the first byte to the loss of either: one subscribes, one publishes, so that a
 * broker that blocks publishers still delivers. Not reconnected: a new link is opened instead.
 */
export class AmqpLink {
  readonly #options: AmqpLinkOptions;
  #owner: AmqpLinkOwner | null;
  #subscribing: AmqpConnection | null = null;
  #publishing: AmqpConnection | null = null;
  #subscription: AmqpSubscription | null = null;
  #publisher: AmqpPublisher | null = null;
  /** The channel of `#publisher`. */
  #channel: ConfirmChannel | null = null;
  #blocked: string | null = null;
  #reopening = false;
  #received = 0;
  #silent = 0;

  constructor(options: AmqpLinkOptions, owner: AmqpLinkOwner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** Connects and subscribes. @throws Error with the reason; the link is closed then */
  async open(): Promise<void> {
    const { address } = this.#options;
    try {
      await this.#open();
    } catch (error) {
      this.destroy();
      throw new Error(this.#blocked ?? reasonOf(error, address));
    }
    if (this.#owner === null) throw new Error(CLOSED);
  }

  async #open(): Promise<void> {
    const { address, topology } = this.#options;
    await Promise.all([
      this.#connect("channel-publisher", (connection) => {
        this.#publishing = connection;
      }),
      this.#connect("channel-subscriber", (connection) => {
        this.#subscribing = connection;
      }),
    ]);
    if (this.#subscribing === null) return;
    const subscription = await AmqpSubscription.open(this.#subscribing, address, topology, {
      message: (name, payload) => this.#owner?.message(name, payload),
      dropped: () => this.#owner?.dropped(),
      failed: (reason) => this.#lost(reason),
    });
    this.#subscription = subscription;
    await this.#openPublisher();
    await this.#greet();
    await subscription.bind();
  }

  get isBlocked(): boolean {
    return this.#blocked !== null;
  }

  publish(exchange: string, key: string, payload: string | Uint8Array, ack: PublishAck | undefined): void {
    if (this.#publisher === null) ack?.settled(false);
    else this.#publisher.publish(exchange, key, payload, ack);
  }

  /** Publishes to this server's own queue, in the order of all messages. */
  publishToSelf(type: string, payload: string | Uint8Array, ack?: PublishAck): void {
    const queue = this.#subscription?.queues.main;
    if (this.#publisher === null || queue === undefined) ack?.settled(false);
    else this.#publisher.publish(DEFAULT_EXCHANGE, queue, payload, ack, type);
  }

  /** To be called every 200 ms. */
  tick(): void {
    const subscription = this.#subscription;
    if (subscription === null) return;
    this.#publisher?.tick();
    subscription.tick();
    const { received } = subscription;
    if (received !== this.#received) {
      this.#received = received;
      this.#silent = 0;
    } else if (this.#blocked === null) this.#silent++;
    if (this.#silent >= GIVE_UP_AFTER) this.#lost("no answer");
    else if (this.#silent % PING_AFTER === PING_AFTER - 1 || (this.#publisher?.idle ?? 0) >= PING_AFTER) {
      this.publishToSelf(PING, "");
    }
  }

  /** Closes after what was published is written. The owner is not called any more. */
  async close(): Promise<void> {
    const channel = this.#channel;
    this.#detach();
    await Promise.all([
      this.#publishing?.close(CLOSE_TIMEOUT_MS, channel),
      this.#subscribing?.close(CLOSE_TIMEOUT_MS, null),
    ]);
  }

  /** Closes at once. The owner is not called any more. */
  destroy(): void {
    this.#detach();
    this.#publishing?.destroy();
    this.#subscribing?.destroy();
  }

  #detach(): void {
    this.#owner = null;
    this.#subscription?.close();
    this.#publisher?.close();
    this.#publisher = null;
    this.#channel = null;
  }

  async #connect(name: string, opened: (connection: AmqpConnection) => void): Promise<void> {
    const connection = await AmqpConnection.open(this.#options.address, name, {
      lost: (reason) => this.#lost(reason),
      blocked: (reason) => this.#block(reason),
    });
    // The link may have been closed meanwhile.
    if (this.#owner === null) connection.destroy();
    else opened(connection);
  }

  async #openPublisher(): Promise<void> {
    const { address, maxWaiting } = this.#options;
    const channel = await this.#publishing?.createConfirmChannel();
    if (channel === undefined || this.#owner === null) return;
    const publisher = new AmqpPublisher(channel, { failed: (reason) => this.#lost(reason) }, maxWaiting);
    publisher.blocked = this.#blocked !== null;
    this.#publisher = publisher;
    this.#channel = channel;
    let reason = CLOSED;
    channel.on("error", (error) => {
      reason = reasonOf(error, address);
    });
    channel.on("close", () => {
      publisher.close();
      if (this.#publisher !== publisher) return;
      this.#publisher = null;
      this.#owner?.refused(reason);
      void this.#reopenPublisher();
    });
  }

  /** One message that the broker does not permit closes the channel: that must not end the subscription. */
  async #reopenPublisher(): Promise<void> {
    if (this.#reopening) return;
    this.#reopening = true;
    try {
      await this.#openPublisher();
    } catch (error) {
      this.#lost(reasonOf(error, this.#options.address));
    } finally {
      this.#reopening = false;
    }
  }

  /** Before the binding: the greeting is the first message. */
  async #greet(): Promise<void> {
    const greeting = this.#owner?.greeting() ?? null;
    if (greeting === null) return;
    const accepted = await new Promise<boolean>((resolve) => {
      this.publishToSelf(greeting.name, greeting.payload, { settled: resolve });
    });
    if (!accepted) throw new Error("the broker accepts no messages");
  }

  #block(reason: string | null): void {
    this.#blocked = reason === null ? null : `the broker accepts no messages: ${reason}`;
    this.#silent = 0;
    if (this.#publisher !== null) this.#publisher.blocked = reason !== null;
    this.#owner?.blocked(this.#blocked);
  }

  #lost(reason: string): void {
    const owner = this.#owner;
    if (owner === null) return;
    this.destroy();
    owner.lost(reason);
  }
}
