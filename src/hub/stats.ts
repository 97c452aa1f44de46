/** Counters since start. Everything that was not delivered stands under its reason: nothing vanishes uncounted. */
export interface Stats {
  /** Messages and bytes that the bus brought, whatever became of them. */
  readonly received: { messages: number; bytes: number };
  /** Messages for which somebody was listening; those with nobody are `unheard`. */
  delivered: number;
  /** Frames handed to members of channels, one for each member that a message was sent to. */
  deliveries: number;
  /** Bytes of the payloads of these. */
  deliveredBytes: number;
  /** Messages of the bus that were not delivered, by reason. */
  readonly dropped: Record<DropReason, number>;
  /** Binary messages that a client's protocol cannot carry, one for each client that did not get one. */
  unsendable: number;
  /** Messages of clients handed to the bus; those that it did not take stand under `refused.backend_unavailable`. */
  readonly pushes: { messages: number; bytes: number };
  /** Our own notices to backends (presence, `admin`, joins, heartbeats) that the bus did not take. */
  unpublished: number;
  readonly joins: { accepted: number; left: number };
  /** What clients asked for and were refused, by the reason they were told. */
  readonly refused: Record<string, number>;
  /** Connections opened, and closed by the server, by reason. */
  readonly connections: { opened: number; closed: number };
  readonly closed: Record<string, number>;
}

export type DropReason =
  /** `to:` without a channel or an event, or not UTF-8. */
  | "malformed"
  /** A channel or event that no frame can carry: over 255 bytes, a control character. */
  | "invalid_name"
  | "empty"
  /** Over `max_payload`. */
  | "too_large"
  /** An event of the protocol (`phx_*`, `heartbeat`, `presence_state`) from a backend. */
  | "reserved"
  /** An event that servers export (`presence_diff`, `channel.*` on `admin`), of this server or another. */
  | "own"
  | "unheard";

export function createStats(): Stats {
  return {
    received: { messages: 0, bytes: 0 },
    delivered: 0,
    deliveries: 0,
    deliveredBytes: 0,
    unsendable: 0,
    dropped: { malformed: 0, invalid_name: 0, empty: 0, too_large: 0, reserved: 0, own: 0, unheard: 0 },
    pushes: { messages: 0, bytes: 0 },
    unpublished: 0,
    joins: { accepted: 0, left: 0 },
    refused: {},
    connections: { opened: 0, closed: 0 },
    closed: {},
  };
}

/** Adds one to a counter that exists from its first use. Keys are reasons of our own, never text from outside. */
export function count(counters: Record<string, number>, reason: string): void {
  counters[reason] = (counters[reason] ?? 0) + 1;
}
