import type { Publication } from "./publisher.ts";
import type { Client } from "./websocket-client.ts";

/** The parts of a protocol that the load generator uses: frames of clients and messages of backends. */
export interface Driver {
  readonly name: string;
  /** WebSocket address, from `ws://host:port[/path]`. */
  socketUrl(base: string): URL;
  /** Connects, and completes the handshake of the protocol if it has one. */
  connect(index: number, url: URL): Promise<Client>;
  joinFrame(topic: string, token: string): Buffer;
  /** Whether a message is a reply to a join or push. */
  isReply(client: Client, bytes: Buffer, start: number, end: number): boolean;
  /** Whether the reply is positive. */
  isOk(bytes: Buffer, start: number, end: number): boolean;
  /** A push of JSON text on a topic joined with `joinFrame`. */
  pushFrame(topic: string, event: string, payload: string): Buffer;
  /** Whether pushes are acknowledged; if not, the generator counts them in Redis. */
  readonly answersPushes: boolean;
  /** HTTP address where backends publish, from `ws://host:port[/path]`; absent: Redis. */
  intakeUrl?(base: string): string;
  /** A message of a backend, `times` times in one write; `payload` is ASCII and ends with a stamp and `}`. */
  publication(topic: string, event: string, payload: string, times?: number): Publication;
  /** Bytes after the stamp in a delivery. */
  readonly bytesAfterStamp: number;
  /** Number of deliveries in a message; default 1. */
  deliveriesIn?(bytes: Buffer, start: number, end: number): number;
}
