/**
 * How frames reach one client. Each implementation passes test/unit/transports/contract.test.ts. No method throws, and all
 * may be called after the end.
 */
export interface Transport {
  /** Sends a frame, or queues it within `maxBuffered` bytes. A client with a larger backlog is cut off as `slow`. */
  send(frame: string | Buffer): void;
  /** Bytes (long polling: UTF-16 units) that wait for the client to read. */
  buffered(): number;
  /** Subscribes to a Bun topic. Returns false where the transport cannot: then each frame has to be sent to it. */
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): void;
  /** Asks for a sign of life, where the transport can. */
  ping(): void;
  /** Ends the session now, and the transport with a code that the client sees if the network allows. */
  close(code: number, reason: string): void;
}
