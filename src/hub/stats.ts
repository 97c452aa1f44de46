/** Counters since start. Each message that is not delivered is counted under its reason. */
export interface Stats {
  /** Messages received from the bus, delivered or not, and their payload bytes. */
  readonly received: { messages: number; bytes: number };
  /** Messages of the bus that had listeners; those without are dropped as `unheard`. */
  delivered: number;
  /** Frames sent to listeners: one for each listener of each message. */
  deliveries: number;
  /** Payload bytes of these frames. */
  deliveredBytes: number;
  /** Messages of the bus that were not delivered, by reason. */
  readonly dropped: Record<DropReason, number>;
  /** Binary messages that a protocol cannot carry: one for each client that did not get one. */
  unsendable: number;
  /** Messages of clients passed to the bus; those that it does not accept are also in `refused.backend_unavailable`. */
  readonly pushes: { messages: number; bytes: number };
  /** Messages of clients that were also sent to other members, on all servers. */
  clientEvents: number;
  /** Messages of clients that a backend was to answer, by result. */
  readonly calls: Record<CallResult, number>;
  /** Answers to calls that came after the deadline. */
  lateCalls: number;
  /** Time from calls to the answers of backends, summed, in seconds. */
  callSeconds: number;
  /** Requests to publish that repeated an `id`, so that nothing was published. */
  repeated: number;
  /** Messages of this server itself to backends (presence, `admin`, joins, heartbeats) that the bus did not accept. */
  unpublished: number;
  /** Messages that `history_store` did not keep when they came: Redis refuses them, or is not connected. */
  unstored: number;
  /** Joins on which the application was asked: by result, and the time (s) that they waited in all. */
  readonly authorizations: { readonly results: Record<AuthorizationResult, number>; seconds: number };
  readonly joins: { accepted: number; left: number };
  /** Joins with a position, by result: `recovered`, or the reason; and `overtaken`, of those that recovered. */
  readonly recoveries: Record<string, number>;
  /** Refused requests of clients, by the reason in the reply. */
  readonly refused: Record<string, number>;
  readonly connections: { opened: number; closed: number };
  /** Connections that the server ended, by reason. */
  readonly closed: Record<string, number>;
}

export type AuthorizationResult = "allowed" | "denied" | "unavailable";

/** `ok` and `error`: a backend answered. Others: why there was no answer, as the client got it. */
export type CallResult =
  | "ok"
  | "error"
  | "no_backend"
  | "backend_busy"
  | "backend_failed"
  | "backend_unavailable"
  | "timeout"
  | "too_many_calls";

export type DropReason =
  /** `to:` without a channel or an event, or not UTF-8. */
  | "malformed"
  /** A channel or event over 255 bytes or with a control character: no frame can carry it. */
  | "invalid_name"
  | "empty"
  /** Over `max_payload`. */
  | "too_large"
  /** An event of the protocol (`phx_*`, `heartbeat`, `presence_state`) from a backend. */
  | "reserved"
  /** An event that servers export (`presence_diff`, `channel.*` on `admin`), of this server or another. */
  | "own"
  /** The channel has no listeners here. */
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
    clientEvents: 0,
    calls: {
      ok: 0,
      error: 0,
      no_backend: 0,
      backend_busy: 0,
      backend_failed: 0,
      backend_unavailable: 0,
      timeout: 0,
      too_many_calls: 0,
    },
    lateCalls: 0,
    callSeconds: 0,
    repeated: 0,
    unpublished: 0,
    unstored: 0,
    authorizations: { results: { allowed: 0, denied: 0, unavailable: 0 }, seconds: 0 },
    joins: { accepted: 0, left: 0 },
    recoveries: {},
    refused: {},
    connections: { opened: 0, closed: 0 },
    closed: {},
  };
}

/** Adds one to a counter, which is created on first use. `reason` is a constant of this program, never outside text. */
export function count(counters: Record<string, number>, reason: string): void {
  counters[reason] = (counters[reason] ?? 0) + 1;
}

/** Counts a refusal under the reason in the reply. */
export function countRefusal(stats: Stats, reason: string): void {
  count(stats.refused, reason.replaceAll(" ", "_"));
}
