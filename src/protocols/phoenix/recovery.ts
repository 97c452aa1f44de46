import type { Channel } from "../../hub/channel.ts";
import type { KeptMessage, Lost } from "../../hub/history/history.ts";
import type { Hub } from "../../hub/hub.ts";

/** What a join asks for. */
export interface RecoveryRequest {
  /** The client's position; `null`: it has none yet; `undefined`: its `recover` is no text. */
  readonly recover: string | null | undefined;
  /** The number of the newest messages that it asks for. */
  readonly replay: number;
}

/** What a member gets before live messages, and what its join is answered with. */
export interface Recovery {
  /** Where the client stands before it gets anything of this; `null` if positions are not known. */
  readonly position: string | null;
  /** `null` for a client without a position. */
  readonly recovered: boolean | null;
  readonly reason: Lost | null;
  /** Messages to send first, whose numbers are at most `cursor`. */
  readonly first: readonly KeptMessage[];
  /** All messages after this number follow. */
  readonly cursor: number;
}

/** The request in a join's payload; `null` without the key `recover`. */
export function recoveryIn(payload: string | Uint8Array): RecoveryRequest | null {
  // Most joins have none and are not parsed again. A name may be written with escapes.
  if (typeof payload !== "string" || !(payload.includes('"recover"') || payload.includes("\\u"))) return null;
  const value: unknown = JSON.parse(payload);
  if (typeof value !== "object" || value === null || Array.isArray(value) || !("recover" in value))
    return null;
  const { recover } = value;
  const replay = "replay" in value && typeof value.replay === "number" ? value.replay : 0;
  return {
    recover: typeof recover === "string" || recover === null ? recover : undefined,
    replay: replay >= 1 ? Math.min(Math.floor(replay), Number.MAX_SAFE_INTEGER) : 0,
  };
}

/** Whether another server may have received the message that a position names before this one does. */
export function isAhead(hub: Hub, channel: string, request: RecoveryRequest | null): boolean {
  if (typeof request?.recover !== "string" || hub.positions.resolve(request.recover) !== "ahead")
    return false;
  return isKept({ history: hub.historyRules(channel) });
}

/** Whether what a store has of the channel is being read for a join. Ends within 3 s. */
export function isLoading(hub: Hub, channel: string, request: RecoveryRequest | null): boolean {
  if (hub.history?.prepare === undefined || request?.recover === undefined) return false;
  if (request.recover === null && request.replay === 0) return false;
  const rules = hub.historyRules(channel);
  return rules !== null && hub.history.prepare(channel, rules, request.recover) !== null;
}

/** Whether frames of a channel carry positions. */
export function isKept({ history }: Pick<Channel, "history">): boolean {
  return history !== null && history.count > 0;
}

/** What a member that joins now gets first. @param request `null`: it did not ask for recovery */
export function recoveryOf(hub: Hub, channel: Channel, request: RecoveryRequest | null): Recovery {
  if (request === null) return startAt(hub, channel, null, null, 0);
  if (request.recover === null) return startAt(hub, channel, null, null, request.replay);
  const seq = resume(hub, channel, request.recover);
  if (typeof seq === "string") return startAt(hub, channel, false, seq, 0);
  // It is the client's own: known, so that it is safe to send it back.
  return { position: request.recover ?? null, recovered: true, reason: null, first: [], cursor: seq };
}

/** The number of a position from which all messages are kept, or why there is none. */
function resume({ history, positions }: Hub, channel: Channel, position: string | undefined): number | Lost {
  if (history === null || channel.history === null || !isKept(channel)) return "history off";
  if (position === undefined) return "unknown position";
  const seq = positions.resolve(position);
  // It was waited for.
  if (seq === "ahead") return positions.current === null ? "gap" : "unknown position";
  if (typeof seq === "string") return seq;
  const missed = history.since(channel.name, channel.history, seq, 1);
  return typeof missed === "string" ? missed : seq;
}

/** Starts with the newest `replay` messages and the last values of other events. */
function startAt(
  { history, positions }: Hub,
  { name, history: rules }: Channel,
  recovered: false | null,
  reason: Lost | null,
  replay: number,
): Recovery {
  const { current, seq } = positions;
  // While the subscription is lost, a member that joins misses messages too.
  const cursor = current === null ? seq - 1 : seq;
  if (history === null || rules === null) return { position: null, recovered, reason, first: [], cursor };
  const last =
    replay === 0 || rules.count === 0 ? [] : history.last(name, rules, Math.min(replay, rules.count));
  const start = last[0]?.seq ?? Number.POSITIVE_INFINITY;
  const values = rules.lastValue ? history.lastValues(name).filter((value) => value.seq < start) : [];
  const first = [...values, ...last];
  const before = first[0] === undefined || current === null ? current : positions.at(first[0].seq - 1);
  return { position: rules.count === 0 ? null : before, recovered, reason, first, cursor };
}

/**
 * The answer to a join, as JSON text.
 *
 * @param recovery `null`: it did not ask for recovery
 * @param clientEvents what it may send to other members, as JSON text; empty for nothing
 */
export function joinAnswer(agent: string, recovery: Recovery | null, clientEvents: string): string {
  const id = JSON.stringify(agent);
  const events = clientEvents === "" ? "" : `,"client_events":${clientEvents}`;
  if (recovery === null) return `{"id":${id}${events}}`;
  const { position, recovered, reason } = recovery;
  const quoted = position === null ? "null" : `"${position}"`;
  const because = reason === null ? "" : `,"reason":"${reason}"`;
  return `{"id":${id},"position":${quoted},"recovered":${recovered}${because}${events}}`;
}
