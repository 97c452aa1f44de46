import { printHub } from "../bus/topics.ts";
import { printMarker } from "../hub/history/positions.ts";
import type { Hub } from "../hub/hub.ts";
import type { FleetMessages } from "./fleet-messages.ts";

const KIND = "marker";

/** Longest pause in ms before a further marker is published, random, so that one of all servers does it. */
const RENEWED_WITHIN = 100;

/** Random characters of a marker: two servers may subscribe in the same microsecond. */
const RANDOM_CHARACTERS = 4;

/**
 * The markers that positions count from. Each server publishes one at each subscription, as the first message of it; all
 * servers receive it at the same place among the messages. In a cluster that holds for the servers subscribed to one node
 * only: a marker names the node, and servers on other nodes ignore it.
 */
export class Markers {
  readonly #messages: FleetMessages;
  readonly #hub: Hub;
  /** The node of a cluster that this server is subscribed to; empty without a cluster. */
  #node = "";
  #renewing: Timer | null = null;

  constructor(messages: FleetMessages, hub: Hub) {
    this.#messages = messages;
    this.#hub = hub;
    messages.on(KIND, (body) => this.#received(body.toString("utf8")));
  }

  /** The marker to publish as the first message of a subscription. @param brokerTime Unix time in microseconds */
  greeting(brokerTime: number, node: string): { readonly name: string; readonly payload: string } {
    this.#node = node;
    return { name: printHub(KIND), payload: this.#messages.sign(KIND, this.#next(brokerTime)) };
  }

  /** The body of a marker above the newest. */
  #next(micros: number): string {
    const random = Math.floor(Math.random() * 36 ** RANDOM_CHARACTERS).toString(36);
    return `${printMarker(Math.max(micros, this.#hub.positions.newestMarker + 1), random)} ${this.#node}`;
  }

  #received(body: string): void {
    const space = body.indexOf(" ");
    if (space < 0 || body.slice(space + 1) !== this.#node) return;
    if (!this.#hub.marker(body.slice(0, space))) this.#renew();
  }

  /**
   * Servers that subscribe at the same time may publish their markers in another order than they made them. The server whose
   * marker the others ignored has not received theirs: it has no position in common with them until a marker that all accept.
   */
  #renew(): void {
    if (this.#renewing !== null) return;
    const newest = this.#hub.positions.newestMarker;
    this.#renewing = setTimeout(() => {
      this.#renewing = null;
      if (this.#hub.positions.newestMarker === newest) this.#messages.publish(KIND, this.#next(0));
    }, Math.random() * RENEWED_WITHIN);
    this.#renewing.unref();
  }
}
