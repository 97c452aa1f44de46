import type { Client } from "../../transports/client.ts";
import type { Session } from "../../transports/session.ts";
import type { Departure, Engine } from "./engine.ts";
import type { Listener } from "./listener.ts";

export interface SessionOptions {
  /** Called when the transport is up. */
  readonly opened: () => void;
  /** Asked when the transport is gone: how it went. */
  readonly departure: () => Departure;
}

/** What joins a client to the connection that it named. */
export class ChannelstreamSession implements Session {
  readonly #engine: Engine;
  readonly #client: Client;
  readonly #listener: Listener;
  readonly #options: SessionOptions;

  constructor(engine: Engine, client: Client, listener: Listener, options: SessionOptions) {
    this.#engine = engine;
    this.#client = client;
    this.#listener = listener;
    this.#options = options;
  }

  get protocol(): string {
    return "channelstream";
  }

  get users(): readonly string[] {
    return [this.#listener.user.name];
  }

  get channels(): readonly string[] {
    return [...this.#listener.channels].map(({ name }) => name);
  }

  opened(): void {
    this.#options.opened();
  }

  /** Whatever a client sends is a sign of life and nothing else. */
  receive(): void {
    this.#engine.active(this.#listener);
  }

  closed(): void {
    this.#engine.detach(this.#listener, this.#client, this.#options.departure());
  }
}
