import type { Bus, BusListener, BusState, PublishAck, SubscribedFamily } from "../../../src/bus/bus.ts";

export interface Published {
  readonly name: string;
  readonly payload: string | Uint8Array;
}

/** A bus without a broker: records what is published, and delivers what a test passes to `bring`. */
export class FakeBus implements Bus {
  readonly kind = "redis";
  readonly published: Published[] = [];
  state: BusState = { live: true, detail: "a fake", gaps: 0, since: 0 };
  /** Whether payloads are recorded. */
  keepsPayloads = true;
  #listener: BusListener | null = null;
  #echoed = 0;

  async subscribe(_families: readonly SubscribedFamily[], listener: BusListener): Promise<void> {
    this.#listener = listener;
  }

  hears(): boolean {
    return this.state.live;
  }

  publish(name: string, payload: string | Uint8Array, ack?: PublishAck): void {
    if (this.state.live) this.published.push({ name, payload: this.keepsPayloads ? payload : "" });
    ack?.settled(this.state.live);
  }

  async stop(): Promise<void> {
    this.#listener = null;
  }

  /** A backend publishes. */
  bring(name: string | Buffer, payload: string | Buffer): void {
    this.#listener?.message(Buffer.from(name), Buffer.from(payload));
  }

  /** Delivers what was published on `to:` since the last call, as Redis does to subscribers. */
  echo(): void {
    const fresh = this.published.slice(this.#echoed);
    this.#echoed = this.published.length;
    for (const { name, payload } of fresh) {
      if (name.startsWith("to:")) this.#listener?.message(Buffer.from(name), Buffer.from(payload));
    }
  }

  turn(live: boolean): void {
    this.state = { ...this.state, live };
    this.#listener?.changed(this.state);
  }

  /** What was published on one name, as text. */
  on(name: string): string[] {
    return this.published.filter((each) => each.name === name).map((each) => String(each.payload));
  }
}
