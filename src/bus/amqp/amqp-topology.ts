import { randomUUID } from "node:crypto";
import type { Channel } from "amqplib";
import type { AmqpConnection } from "./amqp-connection.ts";

/** The exchanges of an installation, and the bound of each server's queue in bytes. */
export interface AmqpTopology {
  readonly exchangeTo: string;
  readonly exchangeFrom: string;
  readonly queueBytes: number;
}

/** The queues of one subscription. */
export interface AmqpQueues {
  readonly main: string;
  /** Holds one of the messages that the main queue dropped. */
  readonly dropped: string;
}

const ACCESS_REFUSED = 403;

/** Queues begin with this, so that permissions can name them. */
const QUEUE = "channel.server.";

/** Queues end with the connection that declared them. */
const OWN = { exclusive: true, autoDelete: true, durable: false };

/** Declares both exchanges: durable, `topic`. Where that is not permitted, they must exist. */
export async function declareExchanges(
  connection: AmqpConnection,
  { exchangeTo, exchangeFrom }: AmqpTopology,
): Promise<void> {
  for (const exchange of [exchangeTo, exchangeFrom]) {
    const channel = await openChannel(connection);
    try {
      await channel.assertExchange(exchange, "topic", { durable: true });
      await channel.close();
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error) || error.code !== ACCESS_REFUSED) throw error;
      const again = await openChannel(connection);
      await again.checkExchange(exchange);
      await again.close();
    }
  }
}

/**
 * Declares the queues of a subscription, not yet bound. What the bound of the main queue drops goes to the other one, which
 * keeps one message.
 */
export async function declareQueues(channel: Channel, topology: AmqpTopology): Promise<AmqpQueues> {
  const main = QUEUE + randomUUID();
  const dropped = `${main}.dropped`;
  await checkMayPublish(channel, topology);
  await channel.assertQueue(dropped, { ...OWN, maxLength: 1 });
  await channel.assertQueue(main, {
    ...OWN,
    deadLetterExchange: "",
    deadLetterRoutingKey: dropped,
    arguments: { "x-max-length-bytes": topology.queueBytes, "x-overflow": "drop-head" },
  });
  return { main, dropped };
}

/**
 * Rejects with the broker's own words where messages may not be published. The broker checks that permission for a queue
 * that would send there what it drops, so nothing has to be published.
 */
async function checkMayPublish(channel: Channel, { exchangeTo, exchangeFrom }: AmqpTopology): Promise<void> {
  for (const deadLetterExchange of [exchangeFrom, exchangeTo]) {
    const queue = `${QUEUE}${randomUUID()}`;
    await channel.assertQueue(queue, { ...OWN, deadLetterExchange });
    await channel.deleteQueue(queue);
  }
}

/** A channel whose errors are those of its operations. */
export async function openChannel(connection: AmqpConnection): Promise<Channel> {
  const channel = await connection.createChannel();
  channel.on("error", () => {});
  return channel;
}
