import type { Positions } from "./positions.ts";

/** One kept message. Its payload is a copy of its own: it stays valid. Shared by all that keep it. */
export interface KeptMessage {
  /** Its number in `Positions`. */
  readonly seq: number;
  readonly event: string;
  readonly payload: Buffer;
  /** Unix time in ms at which it was received. */
  readonly at: number;
}

/** Why a client does not get what it missed. The texts are those of the protocol (`reason`). */
export type Lost =
  /** Malformed, of a marker that this server does not know, or beyond what was counted. */
  | "unknown position"
  /** Dropped by age, or by the budget of all channels. */
  | "too old"
  /** Dropped by the count or bytes of the channel. */
  | "too many"
  /** This server lost its subscription in between. */
  | "gap"
  | "history off";

/** What is kept of a channel. */
export interface HistoryRules {
  /** Messages; 0: none. */
  readonly count: number;
  /** Bytes, overhead included: of the messages, and again of the last values. */
  readonly bytes: number;
  /** Age in ms after which a message is not replayed. */
  readonly ttl: number;
  /** Whether the newest message of each event is kept. */
  readonly lastValue: boolean;
  /** Whether messages are also kept in Redis, for servers that start later. Default: false. */
  readonly stored?: boolean;
}

/**
 * The kept messages of all channels. Implementations: `memory-history.ts`; `bus/redis/redis-history.ts` adds to it. No method
 * throws.
 */
export interface History {
  /** Keeps a message. To be called in the order of `seq`. */
  append(channel: string, rules: HistoryRules, message: KeptMessage): void;
  /**
   * Up to `limit` messages after `seq`, the oldest first, or why some were lost. Also used to continue a replay: a reader that
   * is overtaken by what is dropped gets the reason.
   */
  since(channel: string, rules: HistoryRules, seq: number, limit: number): readonly KeptMessage[] | Lost;
  /** The newest `count` messages, the oldest first, also from before a gap. */
  last(channel: string, rules: HistoryRules, count: number): readonly KeptMessage[];
  /** The newest message of each event, the oldest first. */
  lastValues(channel: string): readonly KeptMessage[];
  /** Removes the last value of one event. */
  removeLastValue(channel: string, event: string): void;
  /** What is kept of one channel for replay, and its bytes, overhead included. */
  sizeOf(channel: string): { readonly messages: number; readonly bytes: number };
  /** Bytes kept, overhead included. */
  readonly bytes: number;
  /** Channels of which something is kept. */
  readonly channels: number;
  /** Frees what is too old. To be called several times a second with the Unix time in ms. */
  tick(now: number): void;
  /**
   * To be called before `since` (with the position that a client resumes from) and `last` (`null`): reads what a store has
   * of the channel from before this server's start. `null` if nothing has to be read. Resolves within 3 s, read or not.
   */
  prepare?(channel: string, rules: HistoryRules, position: string | null): Promise<void> | null;
  /** Called once, before any message. */
  start?(positions: Positions): void;
  /** A marker was applied to the positions. */
  marked?(): void;
  /** The subscription was lost; the positions have the gap already. */
  lost?(): void;
  /** Writes what is not stored yet, and disconnects. */
  stop?(): Promise<void>;
}

/** A message, and where it belongs. */
export interface PlacedMessage {
  readonly channel: string;
  readonly rules: HistoryRules;
  /** `null`: messages of the channel up to `seq` were dropped. */
  readonly message: KeptMessage | null;
  readonly seq: number;
}

/** A history in memory to which a store adds. */
export interface ExtendableHistory extends History {
  /** The number after which all messages of a channel are kept. */
  floorOf(channel: string): number;
  /** Whether what a store has would add something: it was not added since the channel is in memory, and there is space. */
  lacks(channel: string, rules: HistoryRules): boolean;
  /**
   * Adds what a store has of a channel, the oldest first. It is complete after `floor`; older messages are for `last` only.
   * Those after `floorOf` are ignored.
   * @param why the reason why messages up to `floor` are lost
   */
  extend(channel: string, rules: HistoryRules, kept: readonly KeptMessage[], floor: number, why: Lost): void;
  /**
   * Kept messages with `rules.stored` after `seq`, in their order, with what was dropped.
   * `from`: the number after which all channels are complete, apart from what was dropped.
   */
  storedSince(seq: number): { readonly from: number; readonly messages: readonly PlacedMessage[] };
}

/** Bytes that a message and a channel cost besides payload and names, for the budgets. */
export const MESSAGE_OVERHEAD = 256;
export const CHANNEL_OVERHEAD = 512;

/** Last values of one channel: events beyond the newest so many are dropped. */
export const MAX_LAST_VALUES = 100;
