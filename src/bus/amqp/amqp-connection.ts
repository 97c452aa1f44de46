import { Duplex } from "node:stream";
import { type Channel, type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import { VERSION } from "../../version.ts";
import { CLOSED } from "../network-reasons.ts";
import type { AmqpAddress } from "./amqp-address.ts";
import { reasonOf } from "./amqp-reasons.ts";

/** Silence during the handshake after which an attempt fails, in ms. */
const HANDSHAKE_TIMEOUT_MS = 3000;

/** Seconds between heartbeats. A silent connection is noticed earlier by other means, except while the broker blocks it. */
const HEARTBEAT_SECONDS = 5;

/** Bytes of a frame, at most: RabbitMQ's own default. */
const FRAME_BYTES = 128 * 1024;

/** Receives what concerns a whole connection. */
export interface AmqpConnectionOwner {
  /** The connection ended; called at most once, and not after `destroy`. */
  lost(reason: string): void;
  /** The broker accepts no messages on this connection, and why; `null`: it does again. */
  blocked(reason: string | null): void;
}

/** One connection to the broker. Nothing is repeated or reconnected here. */
export class AmqpConnection {
  readonly #model: ChannelModel;
  #owner: AmqpConnectionOwner | null;

  private constructor(model: ChannelModel, address: AmqpAddress, owner: AmqpConnectionOwner) {
    this.#model = model;
    this.#owner = owner;
    let reason: string | null = null;
    model.on("error", (error) => {
      reason = reasonOf(error, address);
    });
    model.on("close", (error) => this.#lost(reason ?? reasonOf(error, address)));
    model.on("blocked", (why) => this.#owner?.blocked(why));
    model.on("unblocked", () => this.#owner?.blocked(null));
  }

  /** @param name shown by the broker's management @throws Error if the broker refuses or does not answer */
  static async open(address: AmqpAddress, name: string, owner: AmqpConnectionOwner): Promise<AmqpConnection> {
    const model = await connect(
      {
        protocol: address.secure ? "amqps" : "amqp",
        hostname: address.host,
        port: address.port,
        username: address.username,
        password: address.password,
        vhost: encodeURIComponent(address.vhost),
        frameMax: FRAME_BYTES,
        heartbeat: HEARTBEAT_SECONDS,
      },
      {
        noDelay: true,
        timeout: HANDSHAKE_TIMEOUT_MS,
        clientProperties: { product: "channel", version: VERSION, connection_name: name },
      },
    );
    return new AmqpConnection(model, address, owner);
  }

  createChannel(): Promise<Channel> {
    return this.#model.createChannel();
  }

  createConfirmChannel(): Promise<ConfirmChannel> {
    return this.#model.createConfirmChannel();
  }

  /** Closes at once: the broker may not answer. What was not yet written is lost. */
  destroy(): void {
    this.#owner = null;
    const stream: unknown = Reflect.get(this.#model.connection, "stream");
    // With an error: the library then ends its timers and its open operations.
    if (stream instanceof Duplex) stream.destroy(new Error(CLOSED));
  }

  /** Writes what waits on `channel`, then closes. Resolves after `timeout` ms at the latest. */
  async close(timeout: number, channel: Channel | null): Promise<void> {
    this.#owner = null;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeout);
    void this.#closeInOrder(channel).then(resolve, resolve);
    await promise;
    clearTimeout(timer);
    this.destroy();
  }

  /** The library would write the end of a connection before what waits on its channels. */
  async #closeInOrder(channel: Channel | null): Promise<void> {
    await channel?.close();
    await this.#model.close();
  }

  #lost(reason: string): void {
    const owner = this.#owner;
    this.#owner = null;
    owner?.lost(reason);
  }
}
