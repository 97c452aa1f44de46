import type { RevocationKind } from "../auth/revocations.ts";
import type { Listening } from "../hub/addressed.ts";

/** One client's state in a protocol; a transport drives it. No method may throw. */
export interface Session {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** See `Connection`. */
  readonly users: readonly string[];
  readonly channels: readonly string[];
  /** See `Connection`; absent: it never has one. */
  listening?(channel: string): Listening | null;
  /** Called once, when the transport is open. */
  opened?(): void;
  /** Called for each frame. `allowed` is false when the client exceeds its rate of frames. */
  receive(frame: string | Buffer, allowed: boolean): void;
  /** Whether the client uses this session or token; false where the protocol knows neither. */
  reliesOn?(kind: RevocationKind, id: string): boolean;
  /** Called before the client is closed because the server stops. */
  draining?(): void;
  /** See `Connection`; absent: it never waits. */
  readonly awaitsAnswers?: boolean;
  abandonCalls?(): void;
  /** Ends all memberships. Called when the client is closed or dismissed, and again when its transport is closed. */
  closed(): void;
}
