import { parseReply } from "../../bus/topics.ts";
import { type Pushed, pushEnvelope } from "../push-envelope.ts";
import { randomId } from "../random-id.ts";
import { countRefusal, type Stats } from "../stats.ts";
import { type CallAnswer, parseAnswer, refusal } from "./call-answer.ts";
import type { CallBackend, CallFailure, OutgoingCall } from "./call-backend.ts";
import type { CallRules, CallTarget } from "./call-rules.ts";
import { Deadlines, type Waiting } from "./deadlines.ts";

/** Gets the answer to a call. */
export interface Caller {
  /** Called once. @param payload the payload of the reply to the push, as JSON text */
  answered(payload: string): void;
}

/** The backend for each kind of target; `null` where no channel has such calls. */
export type CallBackends = {
  readonly [K in CallTarget["kind"]]: CallBackend<Extract<CallTarget, { readonly kind: K }>> | null;
};

export interface CallsOptions {
  readonly backends: CallBackends;
  /** This server, as the refs of its calls begin. */
  readonly identity: { readonly incarnation: string; isOwn(incarnation: string): boolean };
  readonly stats: Stats;
  /** Calls that may wait for their answers. */
  readonly callsInFlight: number;
  /** Maximum size of an answer, in bytes. */
  readonly maxPayload: number;
}

/** Characters of a ref after the incarnation: 130 random bits. */
const REF_LENGTH = 22;

/** Refs without an answer in time that are remembered, to tell late answers from others. */
const MAX_EXPIRED = 10_000;

/**
 * Pushes that a backend answers: those in flight, by ref, and their deadlines. A ref is `<incarnation>.<random>`, so that a server
 * knows its own, and nobody who has not received the call can answer it.
 */
export class Calls {
  readonly #options: CallsOptions;
  readonly #inFlight = new Map<string, Call>();
  readonly #deadlines = new Deadlines<Call>((call) => this.#expired(call));
  /** The oldest first. */
  readonly #expiredRefs = new Set<string>();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Sends a call. Returns false, and does nothing, where too many are in flight. */
  start(pushed: Pushed, rules: CallRules, caller: Caller): boolean {
    const { identity, stats, callsInFlight } = this.#options;
    if (this.#inFlight.size >= callsInFlight) {
      stats.calls.too_many_calls++;
      return false;
    }
    const ref = `${identity.incarnation}.${randomId(REF_LENGTH)}`;
    const call = new Call(this, ref, pushed, rules.timeout, caller);
    this.#inFlight.set(ref, call);
    this.#deadlines.add(call);
    const envelope = pushEnvelope(pushed, { reply: ref, deadline: Date.now() + rules.timeout });
    this.#send(call, envelope, rules.target);
    return true;
  }

  #send(call: Call, envelope: string, target: CallTarget): void {
    const { backends } = this.#options;
    switch (target.kind) {
      case "redis":
        return backends.redis?.send(call, envelope, target);
      case "queue":
        return backends.queue?.send(call, envelope, target);
      case "http":
        return backends.http?.send(call, envelope, target);
    }
  }

  /** A message on `reply:<ref>`, of this or another server. Both buffers are valid until this returns. */
  answer(name: Buffer, payload: Buffer): void {
    const { identity, maxPayload, stats } = this.#options;
    const reply = parseReply(name);
    if (reply === null || !identity.isOwn(reply.incarnation)) return;
    const call = this.#inFlight.get(reply.ref);
    if (call === undefined) {
      if (this.#expiredRefs.delete(reply.ref)) stats.lateCalls++;
      return;
    }
    const answer = payload.length > maxPayload ? null : parseAnswer(payload);
    if (answer === null) this.failed(call, "backend failed");
    else this.answered(call, answer);
  }

  answered(call: Call, answer: CallAnswer): void {
    if (!this.#remove(call)) return;
    const { stats } = this.#options;
    stats.calls[answer.status]++;
    stats.callSeconds += (performance.now() - call.due + call.timeout) / 1000;
    call.caller.answered(answer.payload);
  }

  failed(call: Call, reason: CallFailure): void {
    if (!this.#remove(call)) return;
    const { stats } = this.#options;
    stats.calls[RESULTS[reason]]++;
    countRefusal(stats, reason);
    call.caller.answered(refusal(reason).payload);
  }

  /** Forgets all calls: their clients are gone. */
  stop(): void {
    this.#deadlines.stop();
    this.#inFlight.clear();
  }

  /** Whether it was in flight. */
  #remove(call: Call): boolean {
    if (!this.#inFlight.delete(call.ref)) return false;
    this.#deadlines.delete(call);
    return true;
  }

  #expired(call: Call): void {
    this.#expiredRefs.add(call.ref);
    if (this.#expiredRefs.size > MAX_EXPIRED) {
      const [oldest] = this.#expiredRefs;
      if (oldest !== undefined) this.#expiredRefs.delete(oldest);
    }
    this.failed(call, "timeout");
  }
}

const RESULTS = {
  "no backend": "no_backend",
  "backend busy": "backend_busy",
  "backend failed": "backend_failed",
  "backend unavailable": "backend_unavailable",
  timeout: "timeout",
} as const satisfies Record<CallFailure, keyof Stats["calls"]>;

/** One call in flight. It does not keep what was pushed. */
class Call implements OutgoingCall, Waiting {
  readonly ref: string;
  readonly channel: string;
  readonly event: string;
  readonly timeout: number;
  readonly due: number;
  readonly caller: Caller;
  readonly #calls: Calls;

  constructor(calls: Calls, ref: string, { member, event }: Pushed, timeout: number, caller: Caller) {
    this.#calls = calls;
    this.ref = ref;
    this.channel = member.channel.name;
    this.event = event;
    this.timeout = timeout;
    this.due = performance.now() + timeout;
    this.caller = caller;
  }

  answer(answer: CallAnswer): void {
    this.#calls.answered(this, answer);
  }

  fail(reason: CallFailure): void {
    this.#calls.failed(this, reason);
  }

  settled(accepted: boolean, unheard = false): void {
    if (!accepted) this.fail("backend unavailable");
    else if (unheard) this.fail("no backend");
  }
}
