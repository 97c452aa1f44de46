import type { Subscriber } from "../hub/fanout.ts";

/**
 * Carries frames to one client. Each implementation passes test/unit/transports/contract.test.ts. No method throws, also
 * after the end.
 */
export interface Transport extends Subscriber {
  /** Sends a frame, or queues it. A client whose backlog exceeds `maxBuffered` is cut off as `slow`. */
  send(frame: string | Buffer): void;
  /** The backlog: bytes (long polling: UTF-16 units) that the client has not read yet. */
  buffered(): number;
  /** Subscribes to a Bun topic. Returns false where the transport cannot: then each frame has to be sent to it. */
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
  /** Asks for a sign of life, where the transport can. */
  ping(): void;
  /** Ends the session now, and the transport with a code that the client sees if the network allows. */
  close(code: number, reason: string): void;
}
