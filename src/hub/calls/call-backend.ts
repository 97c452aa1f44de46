import type { PublishAck } from "../../bus/bus.ts";
import type { CallAnswer } from "./call-answer.ts";
import type { CallTarget } from "./call-rules.ts";

/** Why no backend answered; the reason in the reply to the push. */
export type CallFailure =
  /** Nobody is subscribed. */
  | "no backend"
  /** Too many calls wait for backends. */
  | "backend busy"
  /** What a backend answered cannot be used, or it is not reachable. */
  | "backend failed"
  /** Redis is away, or does not deliver answers. */
  | "backend unavailable"
  | "timeout";

/** A call that is in flight. What comes after its first result is ignored. As an ack, it is settled by its publication. */
export interface OutgoingCall extends PublishAck {
  readonly channel: string;
  readonly event: string;
  /** When its time is over (`performance.now()`). */
  readonly due: number;
  answer(answer: CallAnswer): void;
  fail(reason: CallFailure): void;
}

/** Brings calls to backends. Answers that do not come on the same way are passed to `Calls.answer`. */
export interface CallBackend<T extends CallTarget = CallTarget> {
  /** @param envelope JSON text. Must not throw. */
  send(call: OutgoingCall, envelope: string, target: T): void;
}
