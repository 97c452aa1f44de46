import type { Channel, ConsumeMessage } from "amqplib";
import { CLOSED } from "../network-reasons.ts";
import type { AmqpAddress } from "./amqp-address.ts";
import type { AmqpConnection } from "./amqp-connection.ts";
import { reasonOf } from "./amqp-reasons.ts";
import {
  type AmqpQueues,
  type AmqpTopology,
  declareExchanges,
  declareQueues,
  openChannel,
} from "./amqp-topology.ts";

/** The type of a message by which a server checks that its own queue is delivered. */
export const PING = "ping";

/** What the client library makes of bytes that are not UTF-8. */
const REPLACED = "\ufffd";
const NOT_UTF8 = Buffer.from("to:\xff", "latin1");

/** Ticks of 200 ms between two reports of dropped messages (1 s). */
const REPORT_EVERY = 5;

export interface AmqpSubscriptionOwner {
  /** `name` is `to:<channel>:<event>`, or `hub:<kind>` of this server itself. */
  message(name: Buffer, payload: Buffer): void;
  /** The queue exceeded its bound: messages were dropped. */
  dropped(): void;
  /** The broker ended the subscription. */
  failed(reason: string): void;
}

/** This server's queue, and what is delivered from it. */
export class AmqpSubscription {
  /** Messages delivered. */
  received = 0;
  readonly queues: AmqpQueues;
  readonly #channel: Channel;
  readonly #topology: AmqpTopology;
  readonly #owner: AmqpSubscriptionOwner;
  readonly #notices: Channel;
  #notice: ConsumeMessage | null = null;
  #reportIn = 0;
  #closed = false;

  private constructor(
    channel: Channel,
    notices: Channel,
    queues: AmqpQueues,
    topology: AmqpTopology,
    owner: AmqpSubscriptionOwner,
  ) {
    this.#channel = channel;
    this.#notices = notices;
    this.queues = queues;
    this.#topology = topology;
    this.#owner = owner;
  }

  /** Declares exchanges and queues and consumes, without the binding. @throws Error if the broker refuses */
  static async open(
    connection: AmqpConnection,
    address: AmqpAddress,
    topology: AmqpTopology,
    owner: AmqpSubscriptionOwner,
  ): Promise<AmqpSubscription> {
    await declareExchanges(connection, topology);
    const channel = await openChannel(connection);
    const queues = await declareQueues(channel, topology);
    const notices = await openChannel(connection);
    const subscription = new AmqpSubscription(channel, notices, queues, topology, owner);
    for (const each of [channel, notices]) {
      let reason = CLOSED;
      each.on("error", (error) => {
        reason = reasonOf(error, address);
      });
      each.on("close", () => subscription.#failed(reason));
    }
    // One at a time: dropped messages may be large and many.
    await notices.prefetch(1);
    await notices.consume(queues.dropped, (message) => subscription.#noticed(message));
    await channel.consume(queues.main, (message) => subscription.#deliver(message), { noAck: true });
    return subscription;
  }

  /** From now on the queue receives what is published. */
  async bind(): Promise<void> {
    await this.#channel.bindQueue(this.queues.main, this.#topology.exchangeTo, "#");
  }

  /** To be called every 200 ms. */
  tick(): void {
    if (this.#reportIn > 0) this.#reportIn--;
    else if (this.#notice !== null) this.#report(this.#notice);
  }

  /** Nothing is delivered afterwards. */
  close(): void {
    this.#closed = true;
  }

  #deliver(message: ConsumeMessage | null): void {
    if (this.#closed) return;
    if (message === null) return this.#failed("the broker deleted the queue");
    this.received++;
    const { exchange, routingKey } = message.fields;
    if (exchange !== "") {
      const name = routingKey.includes(REPLACED) ? NOT_UTF8 : Buffer.from(`to:${routingKey}`);
      this.#owner.message(name, message.content);
      return;
    }
    const type: unknown = message.properties.type;
    if (typeof type === "string" && type.startsWith("hub:")) {
      this.#owner.message(Buffer.from(type), message.content);
    }
  }

  #noticed(message: ConsumeMessage | null): void {
    if (this.#closed) return;
    if (message === null) return this.#failed("the broker deleted a queue");
    this.received++;
    if (this.#reportIn > 0) this.#notice = message;
    else this.#report(message);
  }

  #report(message: ConsumeMessage): void {
    this.#notice = null;
    this.#reportIn = REPORT_EVERY;
    try {
      this.#notices.ack(message);
    } catch {
      // The channel is closed, and its owner hears of it.
    }
    this.#owner.dropped();
  }

  #failed(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#owner.failed(reason);
  }
}
