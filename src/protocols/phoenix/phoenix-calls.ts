import { refusal } from "../../hub/calls/call-answer.ts";
import type { CallRules } from "../../hub/calls/call-rules.ts";
import type { Caller } from "../../hub/calls/calls.ts";
import type { Hub } from "../../hub/hub.ts";
import { countRefusal } from "../../hub/stats.ts";
import type { Membership } from "./membership.ts";
import type { Frame, Ref } from "./phoenix-codec.ts";

/** Calls of one connection that wait for their answers. */
const MAX_CALLS = 100;

/** The session whose calls are answered. */
export interface CallHandler {
  /** Sends a reply, unless the member has left since or wants none. @param payload JSON text */
  replyToCall(member: Membership, ref: Ref, payload: string): void;
}

/** The pushes of one client that wait for the answers of backends. */
export class PhoenixCalls {
  readonly #hub: Hub;
  readonly #handler: CallHandler;
  readonly #waiting = new Set<PhoenixCall>();

  constructor(hub: Hub, handler: CallHandler) {
    this.#hub = hub;
    this.#handler = handler;
  }

  get waits(): boolean {
    return this.#waiting.size > 0;
  }

  /** Sends a call. Returns false, and does nothing, where too many wait for their answers. */
  start({ event, ref, payload }: Frame, member: Membership, rules: CallRules): boolean {
    if (this.#waiting.size >= MAX_CALLS) {
      this.#hub.stats.calls.too_many_calls++;
      return false;
    }
    const call = new PhoenixCall(this, member, ref);
    this.#waiting.add(call);
    const started = this.#hub.call({ member, event, ref, payload }, rules, call);
    if (!started) this.#waiting.delete(call);
    return started;
  }

  settle(call: PhoenixCall, payload: string): void {
    this.#waiting.delete(call);
    this.#handler.replyToCall(call.member, call.ref, payload);
  }

  /** Refuses what waits: the answers would come when the client is gone. */
  abandon(): void {
    const reason = "server restarting";
    for (const { member, ref } of this.#waiting) {
      countRefusal(this.#hub.stats, reason);
      this.#handler.replyToCall(member, ref, refusal(reason).payload);
    }
    this.#waiting.clear();
  }

  clear(): void {
    this.#waiting.clear();
  }
}

/** A push that waits for the answer of a backend. */
class PhoenixCall implements Caller {
  readonly member: Membership;
  readonly ref: Ref;
  readonly #calls: PhoenixCalls;

  constructor(calls: PhoenixCalls, member: Membership, ref: Ref) {
    this.#calls = calls;
    this.member = member;
    this.ref = ref;
  }

  answered(payload: string): void {
    this.#calls.settle(this, payload);
  }
}
