/** Receives a message of another living server, once. Must not throw. */
export type ServerMessageHandler = (body: string) => void;

/** Messages of a protocol to the same protocol of all other servers, at most once, in the order of one sender. */
export interface ServerMessages {
  /** Whether there are other servers now. */
  readonly hasOthers: boolean;
  /** @returns whether it was sent: not without other servers, and not if it is too long */
  send(body: string): boolean;
  /** Sets the only handler. */
  receive(handler: ServerMessageHandler): void;
}
