import type { BusListener, BusState } from "../bus/bus.ts";
import type { Hub } from "../hub/hub.ts";
import type { FleetMessages } from "./fleet-messages.ts";
import type { Markers } from "./markers.ts";

/** The first byte of `hub:` names, and of `reply:` names. */
const H = 0x68;
const R = 0x72;

/**
 * Passes what the bus delivers to the hub (`to:`) and to the handlers of messages between servers (`hub:`), in one order; answers
 * to calls (`reply:`) to those.
 */
export class BusDispatcher implements BusListener {
  readonly #hub: Hub;
  readonly #messages: FleetMessages;
  readonly #markers: Markers;

  constructor(hub: Hub, messages: FleetMessages, markers: Markers) {
    this.#hub = hub;
    this.#messages = messages;
    this.#markers = markers;
  }

  greeting(brokerTime: number, node: string): { readonly name: string; readonly payload: string } {
    return this.#markers.greeting(brokerTime, node);
  }

  message(name: Buffer, payload: Buffer, room = 0): void {
    if (name[0] === H) this.#messages.message(name, payload);
    else if (name[0] === R) this.#hub.calls?.answer(name, payload);
    else this.#hub.message(name, payload, room);
  }

  unheard(name: Buffer, bytes: number): void {
    this.#hub.unheard(name, bytes);
  }

  lost(): void {
    this.#hub.lost();
  }

  changed(state: BusState): void {
    this.#hub.changed(state);
  }
}
