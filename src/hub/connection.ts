import type { RevocationKind } from "../auth/revocations.ts";
import type { Listening } from "./addressed.ts";

/** One client of any protocol and transport, as the hub sees it. No method may throw. */
export interface Connection {
  readonly id: string;
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** The client's address, after trusted proxies. */
  readonly address: string;
  /** Unix ms. */
  readonly openedAt: number;
  /** When the last frame or pong was received (`performance.now()`, ms). */
  readonly lastSeen: number;
  /** When it connected, while no frame has been received and one is required (same clock); else `null`. */
  readonly idleSince: number | null;
  /** The users of its memberships, or of its token. */
  readonly users: readonly string[];
  /** The channels that it is a member of or subscribed to. */
  readonly channels: readonly string[];
  /** Its subscription to a channel; `null` without one. */
  listening(channel: string): Listening | null;
  /** Whether it was authorized by this session or token. */
  reliesOn(kind: RevocationKind, id: string): boolean;
  /** Whether it was cut off: it ends, and its backlog is freed, at the end of this turn of the event loop. */
  readonly wasCutOff: boolean;
  /** Its backlog: bytes that wait for the client to read. */
  buffered(): number;
  /** To be called when a frame for this client was dropped. Cuts it off if its backlog is over the limit. */
  checkBacklog(): void;
  /** Sends a ping. */
  ping(): void;
  /** To be called before it is closed because the server stops: clients get what they need to continue on another server. */
  draining(): void;
  /** Whether a backend has not answered all of its calls. */
  readonly awaitsAnswers?: boolean;
  /** To be called before it is closed because the server stops: such calls are answered with an error. */
  abandonCalls?(): void;
  /** Closes it now, with a code that the client sees if the network allows. */
  close(code: number, reason: string): void;
  /** As `close`, counted under the reason. With a backlog it stays open for up to 1 s, so that the client can read it. */
  finish(code: number, reason: string): void;
  /** Ends its memberships now and the connection in 2 to 5 s, so that the client does not reconnect at once. */
  dismiss(code: number, reason: string): void;
  /** Ends it without a close frame and frees its backlog: for a client that does not read. Counted under the reason. */
  cutOff(reason: string): void;
}
