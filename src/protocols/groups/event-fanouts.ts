import type { Channel, Receiver } from "../../hub/channel.ts";
import { conflationOf } from "../../hub/conflation/conflation-of.ts";
import { type Encoder, Fanout, type FanoutContext, type Subscriber } from "../../hub/fanout.ts";
import type { Message } from "../../hub/message.ts";
import type { Stats } from "../../hub/stats.ts";

const PROTOCOL = "groups";

/** Subscribers get the bare payload of an event. The protocol has no notice that messages were left out. */
function encoderFor(channel: Channel): Encoder<Message> {
  return {
    protocol: PROTOCOL,
    encode: (message) => message.json,
    conflation: conflationOf(channel, () => null),
  };
}

/** The subscribers of one group (a channel): one fanout for each of its events. */
export class EventFanouts implements Receiver {
  readonly protocol = PROTOCOL;
  readonly channel: Channel;
  readonly #context: FanoutContext;
  readonly #encoder: Encoder<Message>;
  readonly #stats: Stats;
  readonly #byEvent = new Map<string, Fanout<Message>>();

  constructor(channel: Channel, context: FanoutContext, stats: Stats) {
    this.channel = channel;
    this.#context = context;
    this.#encoder = encoderFor(channel);
    this.#stats = stats;
  }

  get empty(): boolean {
    return this.#byEvent.size === 0;
  }

  get listeners(): number {
    let listeners = 0;
    for (const fanout of this.#byEvent.values()) listeners += fanout.listeners;
    return listeners;
  }

  /** To be called once for each client and event, before `remove` once. */
  add(subscriber: Subscriber, event: string): void {
    let fanout = this.#byEvent.get(event);
    if (fanout === undefined) {
      // No name contains the separator: two different pairs never share a topic, nor does another protocol.
      const topic = `groups\u0000${this.channel.name}\u0000${event}`;
      // Only Bun knows the subscribers of an event: after a drop all connections are checked.
      fanout = new Fanout(topic, this.#encoder, this.#context.connections, this.#context);
      this.#byEvent.set(event, fanout);
    }
    fanout.add(subscriber);
  }

  remove(subscriber: Subscriber, event: string): void {
    const fanout = this.#byEvent.get(event);
    if (fanout === undefined) return;
    fanout.remove(subscriber);
    if (fanout.empty) this.#byEvent.delete(event);
  }

  pause(subscriber: Subscriber, event: string): void {
    this.#byEvent.get(event)?.pause(subscriber);
  }

  resume(subscriber: Subscriber, event: string): void {
    this.#byEvent.get(event)?.resume(subscriber);
  }

  /** Sends a message to one subscriber of its event. Returns whether it gets it. */
  deliverTo(subscriber: Subscriber, message: Message): boolean {
    const fanout = this.#byEvent.get(message.event);
    if (fanout === undefined) return false;
    const frame = this.#encoder.encode(message);
    if (frame === null) this.#stats.unsendable++;
    else fanout.sendTo(subscriber, frame);
    return frame !== null;
  }

  deliver(message: Message): number {
    const fanout = this.#byEvent.get(message.event);
    if (fanout === undefined || message.presence) return 0;
    if (message.isJson) return fanout.deliver(message);
    this.#stats.unsendable += fanout.listeners;
    return 0;
  }
}
