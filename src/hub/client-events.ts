import { nameCovers } from "../auth/claims.ts";
import { RESERVED_EVENTS } from "../bus/topics.ts";
import type { ChannelSettings } from "../config/config.ts";

/** Channels on which members get what the server itself sends, and nothing from clients. */
export const SERVER_CHANNELS: ReadonlySet<string> = new Set(["phoenix", "admin", "system"]);

/** Events of the server to members, besides the reserved ones, which no client may send at all. */
const SERVER_EVENTS: ReadonlySet<string> = new Set(["position", "gap", "skipped", "presence_count"]);

/** The begin of the events under which phoenix.js dispatches the replies to its pushes. */
const REPLY_EVENT = "chan_reply_";

const NO_BYTES = new Uint8Array();

/** Bytes of payload that count as one event. */
const EVENT_BYTES = 4096;

/** Seconds of sustained rate that a client may send at once. */
const BURST_SECS = 10;

/** Which pushes of a channel its other members get. */
export interface ClientEventRules {
  /** Whether they get the sender's user with the payload. */
  readonly namesUser: boolean;
  /** The names and patterns of these pushes, as JSON text; empty if only a server may send them all. */
  readonly listed: string;
  covers(event: string): boolean;
}

type ClientEventSettings = Pick<ChannelSettings, "clientEvents" | "clientEventsSender">;

/** The rules of a pattern; `null` where members get no pushes. */
export function clientEventRulesOf({
  clientEvents,
  clientEventsSender,
}: ClientEventSettings): ClientEventRules | null {
  if (clientEvents.length === 0) return null;
  const sendable = clientEvents.filter((event) => !isOfServer(event));
  return {
    namesUser: clientEventsSender,
    listed: sendable.length === 0 ? "" : JSON.stringify(sendable),
    covers(event) {
      if (isOfServer(event)) return false;
      for (const pattern of clientEvents) if (nameCovers(pattern, event)) return true;
      return false;
    },
  };
}

/** Whether only a server may send an event: a client could forge what others rely on. */
function isOfServer(event: string): boolean {
  return RESERVED_EVENTS.has(event) || SERVER_EVENTS.has(event) || event.startsWith(REPLY_EVENT);
}

/** A payload with the user that sent it: JSON text with the payload unchanged, or as `base64`. */
export function stamped(user: string, payload: string | Uint8Array): string {
  const body = typeof payload === "string" ? `"payload":${payload}` : `"base64":"${payload.toBase64()}"`;
  return `{"user":${JSON.stringify(user)},${body}}`;
}

/** Bytes of a payload as other members get it. */
export function sharedSize(user: string | null, payload: string | Uint8Array): number {
  const bytes = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length;
  if (user === null) return bytes;
  const quoted = typeof payload === "string" ? bytes : 4 * Math.ceil(bytes / 3);
  return quoted + Buffer.byteLength(stamped(user, typeof payload === "string" ? "" : NO_BYTES));
}

/** What one client may still send to other members: each event costs them more than it costs the client. */
export class ClientEventBudget {
  readonly #perSecond: number;
  readonly #burst: number;
  #left: number;
  #refilledAt: number;

  /** @param now `performance.now()` */
  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#burst = perSecond * BURST_SECS;
    this.#left = this.#burst;
    this.#refilledAt = now;
  }

  /**
   * Whether an event may be sent; then it counts. A large one may cost more than is left: nothing more is sent until the rate has made
   * up for all of it.
   *
   * @param bytes of its payload, as members get it
   */
  spend(bytes: number, now: number): boolean {
    const secs = (now - this.#refilledAt) / 1000;
    this.#refilledAt = now;
    this.#left = Math.min(this.#left + secs * this.#perSecond, this.#burst);
    if (this.#left < 1) return false;
    this.#left -= Math.max(1, bytes / EVENT_BYTES);
    return true;
  }
}
