import type { RevocationKind } from "../auth/revocations.ts";

/** One client, of whichever protocol and transport, as the hub sees it. No method may throw. */
export interface Connection {
  readonly id: string;
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** The client's address, after trusted proxies. */
  readonly address: string;
  /** Unix ms. */
  readonly openedAt: number;
  /** When the last frame or pong came, in ms of the clock that never goes back (`performance.now()`). */
  readonly lastSeen: number;
  /** Since when it has sent nothing at all, by the same clock; `null` once it has, and where it need not. */
  readonly idleSince: number | null;
  /** The users that it speaks for: of its memberships, or of its token. */
  readonly users: readonly string[];
  /** The channels that it is in or follows. */
  readonly channels: readonly string[];
  /** Whether it is here by this session or token. */
  reliesOn(kind: RevocationKind, id: string): boolean;
  /** Whether it was cut off: it ends with this turn of the event loop, and what waits for it is freed. */
  readonly wasCutOff: boolean;
  /** Bytes that wait for this client to read. */
  buffered(): number;
  /** To be called when something for this client was dropped: cuts it off if more waits for it than may. */
  checkBacklog(): void;
  /** Asks for a sign of life. */
  ping(): void;
  /** Ends it at once with a close code that the client sees, if the network lets it. */
  close(code: number, reason: string): void;
  /** As `close`, counted under the reason. Where something waits for it, it takes part for up to 1 s more, to read that. */
  finish(code: number, reason: string): void;
  /** Ends it so that it does not storm back: its memberships now, the connection in 2 to 5 s. */
  dismiss(code: number, reason: string): void;
  /** Ends it without a word and frees what waits for it: for those who do not read. Counted under `reason`. */
  cutOff(reason: string): void;
}
