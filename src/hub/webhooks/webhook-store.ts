import { createHash } from "node:crypto";
import type { WebhookEventName } from "../../config/webhook-events.ts";

/** Events are kept in this many streams; each channel has one, so that its events stay in order. */
export const STREAMS = 16;

/** Events that wait in one stream; if there are more, the oldest are dropped. */
export const MAX_EVENTS = 100_000;

/** Events of one request. */
export const MAX_BATCH = 100;

/** How long events are collected before they are sent, in ms. */
export const COLLECT = 100;

/** How long a channel has to be without members before it is vacated, in ms. */
export const VACANT_AFTER = 3000;

/** How long a server may send the events of a stream after it last polled it, in ms. */
export const LEASE = 10_000;

/** Pause between two `gap` events for what a stream dropped, in ms. */
export const GAP_EVERY = 60_000;

/** The channel of an event that concerns all of them. */
export const ALL_CHANNELS = "*";

export interface WebhookEvent {
  readonly event: WebhookEventName;
  readonly channel: string;
  /** Of `member_added` and `member_removed`, else `null`. */
  readonly user: string | null;
  /** Unix time in ms. */
  readonly at: number;
}

/** `visited`: present, then absent. */
export type ChangeKind = "present" | "absent" | "visited";

/** Whether one user has members in a channel on one server. */
export interface MembershipChange {
  /** `null`: anyone, in channels where users are not distinguished. */
  readonly user: string | null;
  readonly kind: ChangeKind;
  /** Unix time in ms. */
  readonly at: number;
}

/** The changes of one channel on one server. */
export interface MembershipWrite {
  readonly channel: string;
  readonly changes: readonly MembershipChange[];
}

/** Events that are sent in one request, in order. */
export interface WebhookBatch {
  /** The same for each attempt. */
  readonly id: string;
  /** When it was formed, Unix time in ms. */
  readonly at: number;
  readonly events: readonly WebhookEvent[];
}

/** `other`: another server has the lease of this stream. `idle`: there is nothing to send yet. */
export type Polled =
  | { readonly kind: "other" }
  | ({ readonly kind: "idle" } & Backlog)
  | ({ readonly kind: "batch"; readonly batch: WebhookBatch } & Backlog);

interface Backlog {
  /** Events that wait. */
  readonly backlog: number;
  /** Events that were dropped by this call. */
  readonly dropped: number;
}

/** What became of a batch. */
export type BatchOutcome = "delivered" | "given up";

export interface WebhookError {
  /** Unix time in ms. */
  readonly at: number;
  readonly reason: string;
}

export interface WebhookStatus {
  /** Events that wait. */
  readonly backlog: number;
  /** The newest failure of a stream that has delivered nothing since; `null`: there is none. */
  readonly lastError: WebhookError | null;
}

/**
 * Who is in which channel, on all servers, and the events that follow from it and wait to be sent. Both change in one step, so
 * that each event is written once. No method rejects; each resolves to `null` if it failed.
 */
export interface WebhookStore {
  /** What servers share; `null` for a store of one process. */
  readonly shared: SharedMembers | null;
  readonly ready: boolean;
  /** Connects, and retries until `stop`. @param opened called at each connection */
  start(opened: () => void): void;
  /** Applies changes of a server, those of a channel in one step. Resolves to the number of events that were dropped. */
  write(server: string, writes: readonly MembershipWrite[]): Promise<number | null>;
  /** Adds an event that no change of members causes. Resolves to the number of events that were dropped. */
  add(event: WebhookEvent): Promise<number | null>;
  /** Takes the lease of a stream or extends it by `LEASE`; unless `leaseOnly`, also forms the batch that is sent next. */
  poll(stream: number, owner: string, leaseOnly: boolean): Promise<Polled | null>;
  /** Removes a batch. Resolves to whether this owner still has the lease; otherwise nothing was done. */
  finish(stream: number, owner: string, batch: WebhookBatch, outcome: BatchOutcome): Promise<boolean | null>;
  /** Keeps the reason why a request failed, until a batch of the stream is delivered. */
  failed(stream: number, error: WebhookError): Promise<void>;
  /** Gives the lease of a stream back. */
  release(stream: number, owner: string): Promise<void>;
  status(): Promise<WebhookStatus | null>;
  stop(): void;
}

/** Which server has which members: to remove those of servers that are gone. As in `WebhookStore`, nothing rejects. */
export interface SharedMembers {
  /** The servers with members in channels of a stream. */
  serversOf(stream: number): Promise<readonly string[] | null>;
  /** The channels of a stream in which a server has members. */
  channelsOf(stream: number, server: string): Promise<readonly string[] | null>;
  /** The users that a server has in a channel; `null` among them as in `MembershipChange`. */
  usersOf(channel: string, server: string): Promise<readonly (string | null)[] | null>;
}

export interface WebhookStoreOptions {
  /** Those that are kept. */
  readonly events: ReadonlySet<WebhookEventName>;
  /** Default: `MAX_EVENTS`. */
  readonly maxEvents?: number;
  /** Default: `VACANT_AFTER`. */
  readonly vacantAfter?: number;
}

/** The stream of a channel: the same on every server and in every version. */
export function streamOf(channel: string): number {
  return (createHash("sha1").update(channel).digest()[0] ?? 0) % STREAMS;
}

/** Something is missing: events, or messages of a bus that was away. */
export function gapEvent(at: number): WebhookEvent {
  return { event: "gap", channel: ALL_CHANNELS, user: null, at };
}
