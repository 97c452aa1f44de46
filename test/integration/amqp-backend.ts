import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import type { Message } from "./bus-rig.ts";
import { Inbox, short } from "./inbox.ts";

/** A backend on RabbitMQ. Names are those of the bus: `to:` goes to the exchange `channel.to`, all else to `channel.from`. */
export class AmqpBackend {
  readonly #model: ChannelModel;
  readonly #channel: ConfirmChannel;
  readonly received = new Inbox<Message>(
    "backend",
    ({ name, payload }) => `${name}: ${short(payload.toString())}`,
  );

  private constructor(model: ChannelModel, channel: ConfirmChannel) {
    this.#model = model;
    this.#channel = channel;
    for (const each of [model, channel]) each.on("error", () => {});
  }

  static async connect(url: string): Promise<AmqpBackend> {
    const model = await connect(url);
    const channel = await model.createConfirmChannel();
    const backend = new AmqpBackend(model, channel);
    for (const exchange of ["channel.to", "channel.from"]) {
      await channel.assertExchange(exchange, "topic", { durable: true });
    }
    const { queue } = await channel.assertQueue("", { exclusive: true, autoDelete: true });
    await channel.bindQueue(queue, "channel.from", "#");
    await channel.consume(
      queue,
      (message) => {
        if (message === null) return;
        const name = Buffer.from(`from:${message.fields.routingKey}`);
        backend.received.put({ name, payload: message.content });
      },
      { noAck: true },
    );
    return backend;
  }

  /** Resolves when the broker has confirmed it. */
  publish(name: string | Buffer, payload: string | Buffer): Promise<void> {
    const text = name.toString();
    const isTo = text.startsWith("to:");
    const key = isTo ? text.slice(3) : text.replace(/^from:/, "");
    return new Promise((resolve, reject) => {
      this.#channel.publish(
        isTo ? "channel.to" : "channel.from",
        key,
        Buffer.from(payload),
        {},
        (error: unknown) => (error === null ? resolve() : reject(error)),
      );
    });
  }

  async on(name: string): Promise<Buffer> {
    const message = await this.received.until((each) => each.name.equals(Buffer.from(name)), name);
    return message.payload;
  }

  close(): void {
    void this.#model.close().catch(() => {});
  }
}
