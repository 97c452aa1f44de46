import type { Listening } from "../../hub/addressed.ts";
import type { Client } from "../../transports/client.ts";
import type { Session } from "../../transports/session.ts";
import type { Departure, Engine } from "./engine.ts";
import type { Listener } from "./listener.ts";

export interface SessionOptions {
  /** Called when the transport is open. */
  readonly opened: () => void;
  /** How the client disconnected; called when its transport is closed. */
  readonly departure: () => Departure;
}

/** Attaches a client to the connection of its conn_id. */
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

  listening(name: string): Listening | null {
    const channel = this.#engine.channels.get(name);
    const listener = this.#listener;
    const { dispatch } = this.#engine;
    // The engine may know the client no more, or another one in its place.
    if (channel === undefined || listener.client !== this.#client || !listener.channels.has(channel))
      return null;
    const before = dispatch.seq;
    return {
      pause: () => channel.pause(listener),
      resume: () => {
        channel.resume(listener);
        if (dispatch.seq > before) listener.exclude(dispatch.seq);
      },
      deliver: (message) => dispatch.deliverTo(listener, channel, message),
    };
  }

  opened(): void {
    this.#options.opened();
  }

  /** Frames of clients are ignored, except as a sign of life. */
  receive(): void {
    this.#engine.active(this.#listener);
  }

  closed(): void {
    this.#engine.detach(this.#listener, this.#client, this.#options.departure());
  }
}
