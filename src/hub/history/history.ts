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
   * is overtaken by what is dropped is told so.
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
}

/** Bytes that a message and a channel cost besides payload and names, for the budgets. */
export const MESSAGE_OVERHEAD = 256;
export const CHANNEL_OVERHEAD = 512;

/** Last values of one channel: events beyond the newest so many are dropped. */
export const MAX_LAST_VALUES = 100;
