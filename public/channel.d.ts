/*
 * Types for TypeScript of what a page sends to Channel and receives from it. Every server has them at `/channel.d.ts`,
 * where the lists of codes and reasons and the types of the HTTP API follow.
 *
 *     import type { JoinAnswer, JoinError, PresenceState } from "./channel";
 */

/** Any JSON object. */
export type JsonObject = { readonly [name: string]: unknown };

/** Where a client stands in the messages of all channels: sent back as it is, never parsed. */
export type Position = string;

/** Why missed messages are not sent. */
export type LostReason = "unknown position" | "too old" | "too many" | "gap" | "history off";

/* Phoenix Channels: joins */

/** Payload of a join. Backends get the other keys, and not the token. */
export interface JoinPayload<Meta extends JsonObject = JsonObject> {
  /** By default the one of the socket. */
  readonly token?: string | undefined;
  /** What the presence of this member shows to others. At most 1 KiB. */
  readonly presence?: Meta | undefined;
  /** Asks for positions: `null` at first, later the newest position that was received. */
  readonly recover?: Position | null | undefined;
  /** With `recover: null`: how many of the newest messages to send first. */
  readonly replay?: number | undefined;
  readonly [key: string]: unknown;
}

/** Answer to a join: `channel.join().receive("ok", (answer: JoinAnswer) => ...)`. */
export interface JoinAnswer {
  /** `<connection>:<topic>:<join_ref>`; a topic may contain colons. */
  readonly id: string;
  /** Events and patterns (`draw*`) that this member may send to the other members. Absent if there are none. */
  readonly client_events?: readonly string[];
  /** With `recover`: where the messages that follow begin. `null` without history, or while the bus is disconnected. */
  readonly position?: Position | null;
  /** With `recover`: `true`, all missed messages follow; `false`, none does; `null`, there was no position. */
  readonly recovered?: boolean | null;
  /** Why `recovered` is `false`. */
  readonly reason?: LostReason;
}

/**
 * A refused join: `channel.join().receive("error", (error: JoinError) => ...)`. Also of a refused `access_token`. With the
 * reasons of your application, where it decides on joins (`authorize`): `JoinError<"not invited">`.
 */
export interface JoinError<Own extends string = never> {
  readonly reason: JoinReason | Own;
  /** With some refusals for the reason `unauthorized`. */
  readonly code?: JoinCode;
}

/** Payload of the push `access_token`, which renews the token of a member. */
export interface AccessToken {
  readonly token: string;
}

/* Phoenix Channels: pushes */

/** Answer to a push that was accepted. */
export type PushAnswer = Readonly<Record<string, never>>;

/** A refused push: `channel.push(event, payload).receive("error", (error: PushError) => ...)`. */
export interface PushError {
  readonly reason: PushReason;
}

/** A client event where the channel has `client_events_sender`: `user` is that of the sender's token. */
export interface Stamped<Payload = unknown> {
  readonly user: string;
  readonly payload: Payload;
}

/** The same of a binary push. */
export interface StampedBinary {
  readonly user: string;
  readonly base64: string;
}

/* Phoenix Channels: presence */

/** One membership of a user, with the metadata of its join or of its push of `presence`. */
export type PresenceMeta<Meta extends JsonObject = JsonObject> = Meta & {
  readonly phx_ref: string;
  /** The `phx_ref` before a change of metadata. */
  readonly phx_ref_prev?: string;
  /** Unix time in ms, as text. */
  readonly online_at: string;
};

/** Payload of `presence_state`: the memberships of each user. */
export interface PresenceState<Meta extends JsonObject = JsonObject> {
  readonly [user: string]: { readonly metas: readonly PresenceMeta<Meta>[] };
}

/** Payload of `presence_diff`. */
export interface PresenceDiff<Meta extends JsonObject = JsonObject> {
  readonly joins: PresenceState<Meta>;
  readonly leaves: PresenceState<Meta>;
}

/** Payload of `presence_count`, where the channel has `presence = "count"`. */
export interface PresenceCount {
  readonly count: number;
}

/* Phoenix Channels: what the server sends */

/** Payload of `gap`: messages may be missing since the position before it. */
export interface Gap {
  readonly position: Position;
  readonly reason: LostReason;
}

/** Payload of `skipped`, where the channel has `slow = "latest"`: messages left out since the last one. */
export interface Skipped {
  readonly count: number;
}

/** Payload of `datetime` on the channel `system`, once a second. */
export interface SystemClock {
  readonly status: "ok";
  readonly response: { readonly datetime: string; readonly counter: number };
}

/** The payloads of the events that the server itself sends: `channel.on("gap", (gap: ServerEvents["gap"]) => ...)`. */
export interface ServerEvents<Meta extends JsonObject = JsonObject> {
  readonly presence_state: PresenceState<Meta>;
  readonly presence_diff: PresenceDiff<Meta>;
  readonly presence_count: PresenceCount;
  /** Behind binary messages, which have no place for a position. */
  readonly position: { readonly position: Position };
  readonly gap: Gap;
  readonly skipped: Skipped;
  /** The membership ended, and phoenix.js rejoins. */
  readonly phx_error: { readonly reason: string };
  /** The membership ended, and phoenix.js does not join again. */
  readonly phx_close: Readonly<Record<string, never>>;
}

/* Server-sent events (`/sse`) */

/** Data of a message. Bytes that are no JSON are in `base64`. */
export type SseMessage<Payload = unknown> =
  | {
      readonly channel: string;
      readonly event: string;
      readonly payload: Payload;
      readonly base64?: undefined;
    }
  | {
      readonly channel: string;
      readonly event: string;
      readonly payload?: undefined;
      readonly base64: string;
    };

/** The data of the events of the stream itself. */
export interface SseEvents {
  /** What is published from now on arrives. */
  readonly ready: { readonly id: string; readonly channels: readonly string[] };
  readonly gap: { readonly channel: string; readonly reason: LostReason };
  readonly skipped: { readonly channel: string; readonly count: number };
  /** The stream ends; with `channel`, only that channel does. Before `ready` with a code. */
  readonly closed: { readonly reason: string; readonly channel?: string; readonly code?: HttpCode };
}
