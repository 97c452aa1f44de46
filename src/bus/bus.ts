/** What a bus can be: a Redis server, or the one inside this process. */
export type BusKind = "redis" | "embedded";

/**
 * Whether messages flow in both directions right now. `detail` is one sentence for an operator: never a password,
 * never empty (`"connected to 127.0.0.1:6379"`, `"cannot reach 127.0.0.1:6379: connection refused"`).
 */
export interface BusState {
  readonly live: boolean;
  readonly detail: string;
  /** Subscriptions lost since start. Messages published until the next subscription are missed. */
  readonly gaps: number;
  /** The server in use, while live: `127.0.0.1:6379`. Of a cluster or Sentinels, the one that they led to. */
  readonly where?: string;
  /** Unix time in ms since which the bus is as it is. */
  readonly since: number;
}

/** The one who hears what backends publish. No method may throw. */
export interface BusListener {
  /**
   * A message on a name that starts with `to:`. Messages of one publisher on one name arrive in their order.
   * Both buffers are the listener's until it returns; it copies what it keeps. So that a frame can be made where the
   * payload lies, `room` bytes before it and, unless that is 0, two behind it may be written to, in the payload's own
   * memory; the name may lie there.
   */
  message(name: Buffer, payload: Buffer, room: number): void;
  /** The state turned: called once for each change of `live`, not for each try. */
  changed(state: BusState): void;
}

/** Told once whether the bus took a message. An object of its own for each publish needs no closure. */
export interface PublishAck {
  settled(taken: boolean): void;
}

/**
 * The way to the backends. Implementations: `redis.ts` and `embedded.ts`; `test/integration/bus.test.ts` holds them to
 * one contract. To replace Redis is to write another.
 */
export interface Bus {
  readonly kind: BusKind;
  readonly state: BusState;
  /**
   * Subscribes to `to:*` and starts to deliver. Resolves after the first try, whether it succeeded or not: a Redis
   * that is away is tried again for as long as the bus runs. Rejects only where trying again is no use (a port taken).
   */
  start(listener: BusListener): Promise<void>;
  /**
   * Publishes once, now or never: nothing is queued for later and nothing repeated. The receipt is settled within 2 s,
   * and at once with `false` while the bus is away. Publishes of one tick may travel together, always in order.
   */
  publish(name: string, payload: string | Uint8Array, receipt?: PublishAck): void;
  /** Ends all connections. No message and no change is told afterwards; receipts still open are settled `false`. */
  stop(): Promise<void>;
}
