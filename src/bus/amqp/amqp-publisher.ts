import type { ConfirmChannel } from "amqplib";
import type { PublishAck } from "../bus.ts";

/** Ticks of 200 ms after which a message without a confirm counts as not accepted (2 s). */
const CONFIRM_TIMEOUT = 10;

/** Bytes that a message costs here beside its payload. */
const OVERHEAD = 256;

const NO_OPTIONS = {};

/** A message whose confirm is missing. */
interface Unconfirmed {
  /** `null` once it is settled. */
  ack: PublishAck | null;
  readonly bytes: number;
  answer: "none" | "accepted" | "refused";
}

/** Receives what concerns more than one message. */
export interface AmqpPublisherOwner {
  /** The broker confirmed nothing for 2 s, or closed the channel. */
  failed(reason: string): void;
}

/** Publishes on a channel with confirms. Acks are settled in the order of the messages, each within 2 s. */
export class AmqpPublisher {
  readonly #owner: AmqpPublisherOwner;
  /** Bytes that may wait for the broker. */
  readonly #maxWaiting: number;
  #channel: ConfirmChannel | null;
  /** From the delivery tag `#firstTag`. */
  #open: (Unconfirmed | undefined)[] = [];
  #first = 0;
  #firstTag = 1;
  #waiting = 0;
  #blocked = false;
  /** The last delivery tag at each of the last ticks. */
  #marks: number[] = [];
  /** Ticks without a confirm while some are missing. */
  #silent = 0;
  /** Ticks without a message. */
  #idle = 0;

  constructor(channel: ConfirmChannel, owner: AmqpPublisherOwner, maxWaiting: number) {
    this.#channel = channel;
    this.#owner = owner;
    this.#maxWaiting = maxWaiting;
    channel.on("ack", ({ deliveryTag, multiple }) => this.#confirmed(deliveryTag, multiple, "accepted"));
    channel.on("nack", ({ deliveryTag, multiple }) => this.#confirmed(deliveryTag, multiple, "refused"));
  }

  /** While the broker blocks, messages are refused at once. */
  set blocked(blocked: boolean) {
    this.#blocked = blocked;
  }

  /** Ticks since the last message. */
  get idle(): number {
    return this.#idle;
  }

  /** @param type property of the message; empty: none */
  publish(
    exchange: string,
    key: string,
    payload: string | Uint8Array,
    ack: PublishAck | undefined,
    type = "",
  ): void {
    const channel = this.#channel;
    if (channel === null || this.#blocked || this.#waiting > this.#maxWaiting) {
      ack?.settled(false);
      return;
    }
    // The library copies the bytes into frames before it returns.
    const bytes =
      typeof payload === "string"
        ? Buffer.from(payload)
        : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    try {
      channel.publish(exchange, key, bytes, type === "" ? NO_OPTIONS : { type });
    } catch {
      // The channel is being closed: its owner hears of it next.
      ack?.settled(false);
      return;
    }
    const size = bytes.length + OVERHEAD;
    this.#waiting += size;
    this.#idle = 0;
    this.#open.push({ ack: ack ?? null, bytes: size, answer: "none" });
  }

  /** To be called every 200 ms. Time is counted in ticks, so that a pause of this process is not blamed on the broker. */
  tick(): void {
    if (this.#channel === null) return;
    this.#idle++;
    if (this.#first === this.#open.length) this.#silent = 0;
    else if (++this.#silent >= CONFIRM_TIMEOUT && !this.#blocked) {
      this.#owner.failed("no answer");
      return;
    }
    if (this.#marks.length === CONFIRM_TIMEOUT) this.#giveUp(this.#marks.shift() ?? 0);
    this.#marks.push(this.#firstTag + this.#open.length - this.#first - 1);
  }

  /** Settles open acks `false`, in order. */
  close(): void {
    this.#channel = null;
    const open = this.#open;
    const first = this.#first;
    this.#open = [];
    this.#first = 0;
    this.#waiting = 0;
    for (let i = first; i < open.length; i++) open[i]?.ack?.settled(false);
  }

  /** Settles what is not confirmed up to a delivery tag; it still counts as waiting. */
  #giveUp(tag: number): void {
    const count = Math.min(tag - this.#firstTag + 1, this.#open.length - this.#first);
    const open = this.#open;
    const start = this.#first;
    for (let i = start; i < start + count; i++) {
      const message = open[i];
      if (message === undefined || message.ack === null) continue;
      const { ack } = message;
      message.ack = null;
      ack.settled(false);
      if (this.#channel === null) return;
    }
  }

  #confirmed(tag: number, multiple: boolean, answer: "accepted" | "refused"): void {
    if (this.#channel === null) return;
    this.#silent = 0;
    const last = this.#first + tag - this.#firstTag;
    for (let i = multiple ? this.#first : last; i <= last; i++) {
      const message = this.#open[i];
      if (message !== undefined && message.answer === "none") message.answer = answer;
    }
    this.#settle();
  }

  /** Settles the messages at the front that have an answer. */
  #settle(): void {
    for (let next = this.#open[this.#first]; next !== undefined && next.answer !== "none"; ) {
      const { ack, answer, bytes } = next;
      this.#open[this.#first] = undefined;
      this.#first++;
      this.#firstTag++;
      this.#waiting -= bytes;
      if (this.#first === this.#open.length) {
        this.#open = [];
        this.#first = 0;
      } else if (this.#first >= 4096 && this.#first * 2 > this.#open.length) {
        this.#open = this.#open.slice(this.#first);
        this.#first = 0;
      }
      // RabbitMQ does not say whether a message reached a queue.
      ack?.settled(answer === "accepted", false);
      next = this.#open[this.#first];
    }
  }
}
