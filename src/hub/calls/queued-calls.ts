import type { Bus } from "../../bus/bus.ts";
import type { CallQueues } from "../../bus/call-queues.ts";
import type { CallBackend, OutgoingCall } from "./call-backend.ts";

/** Calls in a list of the bus: each goes to one of the backends that wait there. */
export class QueuedCalls implements CallBackend<{ readonly kind: "queue"; readonly name: string }> {
  readonly #bus: Pick<Bus, "hears">;
  readonly #queues: CallQueues;

  constructor(bus: Pick<Bus, "hears">, queues: CallQueues) {
    this.#bus = bus;
    this.#queues = queues;
  }

  send(call: OutgoingCall, envelope: string, { name }: { readonly name: string }): void {
    if (this.#bus.hears("reply")) void this.#push(call, envelope, name);
    else call.fail("backend unavailable");
  }

  async #push(call: OutgoingCall, envelope: string, name: string): Promise<void> {
    const result = await this.#queues.push(name, envelope, call.due - performance.now());
    if (result === "full") call.fail("backend busy");
    else if (result === "away") call.fail("backend unavailable");
  }
}
