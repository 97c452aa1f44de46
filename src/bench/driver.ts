import type { Publication } from "./publisher.ts";
import type { Client } from "./websocket-client.ts";

/** What a server and the backends behind it say, as far as the load generator has to know it. */
export interface Driver {
  readonly name: string;
  /** Where clients connect, given `ws://host:port[/path]`. */
  socketUrl(base: string): URL;
  /** Connects, and greets where the protocol wants that before anything else. */
  connect(index: number, url: URL): Promise<Client>;
  joinFrame(topic: string, token: string): Buffer;
  /** Whether a message answers a join or a push. */
  isReply(client: Client, bytes: Buffer, start: number, end: number): boolean;
  /** Whether the answer is yes. */
  isOk(bytes: Buffer, start: number, end: number): boolean;
  /** A push of JSON text on a topic that was joined by `joinFrame`. */
  pushFrame(topic: string, event: string, payload: string): Buffer;
  /** Whether a push is answered; where not, the generator asks Redis whether it came. */
  readonly answersPushes: boolean;
  /** What a backend sends to Redis, once or several times in one write; `payload` is ASCII and ends with a stamp and `}`. */
  publication(topic: string, event: string, payload: string, times?: number): Publication;
  /** Bytes behind the stamp in what clients receive. */
  readonly behindStamp: number;
  /** How many deliveries a message holds; one, where this is absent. */
  deliveriesIn?(bytes: Buffer, start: number, end: number): number;
}
