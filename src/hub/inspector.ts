import type { Channel, Member, PushObserver, Receiver } from "./channel.ts";
import type { Hub } from "./hub.ts";
import type { Message } from "./message.ts";

/** Observes the traffic of a channel. Payloads belong to the sender: copy what is kept. No method may throw. */
export interface TrafficObserver extends PushObserver {
  /** A message to the listeners. `payload` is JSON text, or bytes; `size` its length in bytes. */
  sent(event: string, payload: string | Uint8Array, size: number): void;
}

/**
 * Adds an observer to a channel, opened if it was not. A channel without observers has no inspector and costs nothing.
 * @returns removes the observer; to be called once
 */
export function inspect(hub: Hub, name: string, observer: TrafficObserver): () => void {
  const channel = hub.open(name);
  const inspector = channel.receivers.find((each) => each instanceof Inspector) ?? new Inspector(channel);
  inspector.add(observer);
  return () => {
    inspector.remove(observer);
    hub.release(channel);
  };
}

/** All observers of one channel. */
export class Inspector implements Receiver, PushObserver {
  readonly protocol = "inspector";
  /** Observers are not members of the channel. */
  readonly listeners = 0;
  readonly #channel: Channel;
  readonly #observers = new Set<TrafficObserver>();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  add(observer: TrafficObserver): void {
    if (this.#observers.size === 0) {
      this.#channel.addReceiver(this);
      this.#channel.observer = this;
    }
    this.#observers.add(observer);
  }

  remove(observer: TrafficObserver): void {
    if (!this.#observers.delete(observer) || this.#observers.size > 0) return;
    this.#channel.removeReceiver(this);
    this.#channel.observer = null;
  }

  deliver({ event, json, bytes, size }: Message): number {
    for (const observer of this.#observers) observer.sent(event, json ?? bytes, size);
    return 0;
  }

  pushed(sender: Member | null, event: string, payload: string | Uint8Array): void {
    for (const observer of this.#observers) observer.pushed(sender, event, payload);
  }
}
