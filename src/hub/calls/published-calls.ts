import type { Bus } from "../../bus/bus.ts";
import { printCall } from "../../bus/topics.ts";
import type { CallBackend, OutgoingCall } from "./call-backend.ts";

/** Calls that all subscribed backends get; the first answer counts. */
export class PublishedCalls implements CallBackend {
  readonly #bus: Pick<Bus, "publish" | "hears">;

  constructor(bus: Pick<Bus, "publish" | "hears">) {
    this.#bus = bus;
  }

  send(call: OutgoingCall, envelope: string): void {
    if (this.#bus.hears("reply")) this.#bus.publish(printCall(call.channel, call.event), envelope, call);
    else call.fail("backend unavailable");
  }
}
