import type { PublishAck } from "../bus/bus.ts";
import type { Message } from "./message.ts";

/** A message to members of a channel on all servers that is not on `to:`: not kept, without a position. */
export interface Addressed {
  readonly channel: string;
  readonly event: string;
  /** JSON text or binary, passed on unchanged. */
  readonly payload: string | Uint8Array;
  /** Connections that do not get it. Those that are not on the channel are ignored. */
  readonly except: readonly string[];
  /** The only connection that gets it, if it is on the channel; `null`: all. */
  readonly connection: string | null;
  /** The connection of the client that sent it; `null` for a backend. */
  readonly sender: string | null;
}

/** An addressed message that was received. Its payload is valid until the handler returns. */
export interface ReceivedAddressed extends Addressed {
  readonly payload: Buffer;
}

/** Carries addressed messages to all servers, this one included. Those of one server arrive in the order in which it published them. */
export interface AddressedBus {
  publish(message: Addressed, ack?: PublishAck): void;
  /** Sets the only handler, which must not throw. */
  receive(handler: (message: ReceivedAddressed) => void): void;
}

/** The subscription of one connection to one channel, for messages that not all subscribers get. */
export interface Listening {
  /** Leaves it out of what is delivered until `resume`, which must be called in the same turn of the event loop. */
  pause(event: string): void;
  resume(event: string): void;
  /** Sends a message to this connection alone. Returns whether it gets it. */
  deliver(message: Message): boolean;
}
