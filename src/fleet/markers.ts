import { printHub } from "../bus/topics.ts";
import { printMarker } from "../hub/history/positions.ts";
import type { Hub } from "../hub/hub.ts";
import type { FleetMessages } from "./fleet-messages.ts";

const KIND = "marker";

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

  constructor(messages: FleetMessages, hub: Hub) {
    this.#messages = messages;
    this.#hub = hub;
    messages.on(KIND, (body) => this.#received(body.toString("utf8")));
  }

  /** The marker to publish as the first message of a subscription. @param brokerTime Unix time in microseconds */
  greeting(brokerTime: number, node: string): { readonly name: string; readonly payload: string } {
    this.#node = node;
    const random = Math.floor(Math.random() * 36 ** RANDOM_CHARACTERS).toString(36);
    const id = printMarker(Math.max(brokerTime, this.#hub.positions.newestMarker + 1), random);
    return { name: printHub(KIND), payload: this.#messages.sign(KIND, `${id} ${node}`) };
  }

  #received(body: string): void {
    const space = body.indexOf(" ");
    if (space >= 0 && body.slice(space + 1) === this.#node) this.#hub.marker(body.slice(0, space));
  }
}
