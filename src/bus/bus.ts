import { isUtf8 } from "node:buffer";

/** What a bus can be: a Redis server, or the one inside this process. */
export type BusKind = "redis" | "embedded";

/**
 * Whether messages flow in both directions right now. `detail` is one sentence for an operator: never a password,
 * never empty (`"connected to 127.0.0.1:6379"`, `"cannot reach 127.0.0.1:6379: connection refused"`).
 */
export interface BusState {
  readonly live: boolean;
  readonly detail: string;
  /** How often the subscription was lost since start: each is a gap in which backends' messages went by unheard. */
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

/** The longest channel name or event, in bytes of UTF-8: the binary frame of Phoenix has one byte for each length. */
export const MAX_NAME_BYTES = 255;

/** A name in the topic grammar: `to:<channel>:<event>`; the event is what follows the last colon. */
export interface BusName {
  readonly channel: string;
  readonly event: string;
}

const TO = "to:";
const FROM = "from:";

/**
 * Parses `to:<channel>:<event>`. `null` where it is none: no second colon, an empty channel or event, or not UTF-8.
 */
export function parseTo(name: Buffer): BusName | null {
  if (!isUtf8(name)) return null;
  const text = name.toString("utf8");
  if (!text.startsWith(TO)) return null;
  const colon = text.lastIndexOf(":");
  if (colon <= TO.length || colon === text.length - 1) return null;
  return { channel: text.slice(TO.length, colon), event: text.slice(colon + 1) };
}

/** The name on which backends speak to the members of a channel. */
export function printTo(channel: string, event: string): string {
  return `${TO}${channel}:${event}`;
}

/** The name on which clients of a channel speak to backends. */
export function printFrom(channel: string, event: string): string {
  return `${FROM}${channel}:${event}`;
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** Whether a text may name a channel: 1 to 255 bytes of UTF-8, well-formed, no control character. */
export function isChannelName(text: string): boolean {
  return isName(text);
}

/** Whether a text may name an event: as a channel, and without a colon, since it stands behind the last one. */
export function isEventName(text: string): boolean {
  return isName(text) && !text.includes(":");
}

function isName(text: string): boolean {
  const { length } = text;
  if (length === 0 || length > MAX_NAME_BYTES || CONTROL.test(text) || !text.isWellFormed()) return false;
  return length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(text) <= MAX_NAME_BYTES;
}
