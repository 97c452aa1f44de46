import type { Publisher } from "../../hub/publisher.ts";
import type { Client } from "../../transports/client.ts";

/** Time (ms) between two heartbeats of a socket (Channelstream 0.7). */
const INTERVAL = 5000;

/** An empty list of messages. */
const BEAT = "[]";

/** Heartbeats of all sockets without a timer for each: a socket subscribes to one of the turns within the interval. */
export class Heartbeat {
  readonly #publisher: Publisher;
  readonly #turns: number;
  #turn = 0;
  #next = 0;

  /** @param tick ms between two calls of `tick` */
  constructor(publisher: Publisher, tick: number) {
    this.#publisher = publisher;
    this.#turns = Math.max(1, Math.round(INTERVAL / tick));
  }

  add(client: Client): void {
    this.#next = (this.#next + 1) % this.#turns;
    client.subscribe(topic(this.#next));
  }

  tick(): void {
    this.#turn = (this.#turn + 1) % this.#turns;
    this.#publisher.publish(topic(this.#turn), BEAT);
  }
}

function topic(turn: number): string {
  return `channelstream heartbeat\u0000${turn}`;
}
