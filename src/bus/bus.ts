import type { CallQueues } from "./call-queues.ts";
import type { Family } from "./topics.ts";

/** What a bus can be: a Redis server, a RabbitMQ, or the one inside this process. */
export type BusKind = "redis" | "amqp" | "embedded";

/**
 * Whether messages flow in both directions right now. `detail` is one sentence for an operator: never a password,
 * never empty (`"connected to 127.0.0.1:6379"`, `"cannot reach 127.0.0.1:6379: connection refused"`).
 */
export interface BusState {
  readonly live: boolean;
  readonly detail: string;
  /** Subscriptions lost since start. Messages published until the next subscription are missed. */
  readonly gaps: number;
  /** The server in use, while live: `127.0.0.1:6379`. Of a cluster or Sentinels, the node connected to. */
  readonly where?: string;
  /** Unix time in ms of the last change of `live`. */
  readonly since: number;
}

/** Families that a server can subscribe to. */
export type SubscribedFamily = Exclude<Family, "from" | "push" | "call">;

/** A message that a server publishes on its own subscribing connection. */
export interface Greeting {
  /** Of the family `hub`, without the prefix. */
  readonly name: string;
  readonly payload: string | Uint8Array;
}

/** Bytes behind a payload that may be overwritten, if there are any before it. */
export const ROOM_BEHIND = 2;

/** Receives what is published on the subscribed families. No method may throw. */
export interface BusListener {
  /**
   * A message; `name` is without the configured prefix. Messages of one publisher on one name arrive in order.
   * Both buffers are valid until this returns. The `room` bytes before the payload (default: 0) may be overwritten, and with
   * any of those `ROOM_BEHIND` bytes behind it: `name` is lost then.
   */
  message(name: Buffer, payload: Buffer, room?: number): void;
  /** Called instead of `message` if the channel of a message on `to:` had no listeners here when it came. @param bytes size of its payload */
  unheard?(name: Buffer, bytes: number): void;
  /** Called once for each change of `state.live`. */
  changed(state: BusState): void;
  /**
   * Called before each subscription and resubscription. The result is published at the moment at which the subscription
   * begins, so it is the first message that this listener receives, and all other subscribers receive it at the same place of
   * the order of messages. `null`: nothing is published. Not called without the family `hub`.
   * @param brokerTime the broker's clock, as Unix time in microseconds; the local clock where the broker's is not available
   * @param node the node of a cluster that is subscribed: its id, or its address; otherwise empty
   */
  greeting?(brokerTime: number, node: string): Greeting | null;
  /**
   * A confirmed subscription ended: messages may be missing between the last one and the next one. Called once for each,
   * before any message of the next subscription.
   */
  lost?(): void;
}

/** Called once with whether the bus accepted a message. An object, so that a publish needs no closure. */
export interface PublishAck {
  /** @param unheard whether nobody is subscribed to it; false where the bus cannot know, as in a cluster */
  settled(accepted: boolean, unheard?: boolean): void;
}

/** One payload on several names, to be published at once. */
export interface MessageGroup {
  /** Without the prefix. */
  readonly names: readonly string[];
  readonly payload: string | Uint8Array;
  /** Published before and again after them, if the bus permits it; `null`: nothing. */
  readonly note: Greeting | null;
}

/**
 * How a group was published: `together`, with no message of others between; `apart`, one by one, since the bus permits nothing
 * else; or not, and then nothing of it, unless it was permitted only one by one.
 */
export type GroupResult = "together" | "apart" | "not";

/** Called once. */
export interface GroupAck {
  /** @param noted whether the note was published before and after the messages */
  finished(result: GroupResult, noted: boolean): void;
}

/**
 * The connection to backends and other servers. Implementations: `redis/`, `amqp/`, `embedded/`. Contract test:
 * `test/integration/bus.test.ts`.
 */
export interface Bus {
  readonly kind: BusKind;
  readonly state: BusState;
  /** Longest `<channel>:<event>` in bytes; longer ones are not accepted. Absent: no bound. */
  readonly maxName?: number;
  /** Lists that backends take calls from, if the bus has its own. */
  readonly queues?: CallQueues;
  /** Whether the subscription to a family is confirmed. */
  hears(family: SubscribedFamily): boolean;
  /**
   * Connects, and delivers every message on the names of `families` to `listener`. Called once. Resolves after the first
   * attempt, successful or not; an unreachable broker is retried until `stop`. Rejects with a BusError where retrying
   * cannot help (`port-taken`).
   */
  subscribe(families: readonly SubscribedFamily[], listener: BusListener): Promise<void>;
  /**
   * Publishes at most once: nothing is queued while the bus is away, nothing is retried. `ack` is settled within 2 s,
   * immediately with `false` while the bus is away. Order is kept.
   */
  publish(name: string, payload: string | Uint8Array, ack?: PublishAck): void;
  /** As `publish`, for several messages at once. Absent on a bus that has no such thing. */
  publishGroup?(group: MessageGroup, ack: GroupAck): void;
  /** Closes all connections. The listener is not called afterwards; open acks are settled `false`. */
  stop(): Promise<void>;
}
