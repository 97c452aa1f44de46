import type { Channel, Receiver, Watcher } from "./channel.ts";
import type { Hub } from "./hub.ts";
import type { Message } from "./message.ts";

/** Reads along in a channel. What it is given belongs to the sender: it copies what it keeps. No method may throw. */
export interface Reader {
  /** To those who listen. `payload` is JSON text, or bytes. */
  sent(event: string, payload: string | Uint8Array, size: number): void;
  /** From a member to the backends; of a notice about one `agent` is empty. */
  pushed(agent: string, event: string, payload: string | Uint8Array): void;
}

/**
 * Lets somebody read along in a channel, opened if it was not. Nothing is spent on a channel that nobody reads: the
 * inspector is one more receiver of the channel, and its watcher, for as long as it has a reader.
 * @returns what ends it; to be called once
 */
export function inspect(hub: Hub, name: string, reader: Reader): () => void {
  const channel = hub.open(name);
  const inspector =
    channel.receivers.find((receiver) => receiver instanceof Inspector) ?? new Inspector(channel);
  inspector.add(reader);
  return () => {
    inspector.remove(reader);
    hub.release(channel);
  };
}

/** All who read along in one channel. */
export class Inspector implements Receiver, Watcher {
  readonly protocol = "inspector";
  /** Whoever reads along is not in the channel. */
  readonly listeners = 0;
  readonly #channel: Channel;
  readonly #readers = new Set<Reader>();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  add(reader: Reader): void {
    if (this.#readers.size === 0) {
      this.#channel.addReceiver(this);
      this.#channel.watcher = this;
    }
    this.#readers.add(reader);
  }

  remove(reader: Reader): void {
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return;
    this.#channel.removeReceiver(this);
    this.#channel.watcher = null;
  }

  deliver({ event, json, bytes, size }: Message): number {
    for (const reader of this.#readers) reader.sent(event, json ?? bytes, size);
    return 0;
  }

  pushed(agent: string, event: string, payload: string | Uint8Array): void {
    for (const reader of this.#readers) reader.pushed(agent, event, payload);
  }
}
