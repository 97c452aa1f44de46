import type { PositionFanout } from "./position-fanout.ts";
import { ReplayFrames } from "./replay-frames.ts";
import type { Replays } from "./replays.ts";

/** ms for which all clients that catch up are sent messages in one turn; the others follow in the next. */
const TURN = 50;

/** ms between two checks of joins that wait for a position. */
const CHECK_INTERVAL = 10;

/** A join that waits for a position. */
export interface WaitingJoin {
  /** Continues the join if it need not wait any longer. Returns whether it did. */
  resume(now: number): boolean;
}

/** What the recoveries of all clients share. */
export class Recoveries {
  readonly frames = new ReplayFrames();
  /** Fanouts that have a position to send. */
  readonly late = new Set<PositionFanout>();
  /** Clients with members that catch up; the one that waits longest first. */
  readonly #replays = new Set<Replays>();
  readonly #waiting = new Set<WaitingJoin>();
  #checkTimer: Timer | null = null;
  #turn: NodeJS.Immediate | null = null;

  /** Sends to a client what may be sent now, and the rest with each `tick`. */
  start(replays: Replays): void {
    replays.pump(performance.now());
    if (!replays.empty) this.#replays.add(replays);
  }

  /** To be called when a member may be sent more, also from within the delivery of a message. */
  soon(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = null;
      this.#pump();
    });
  }

  forget(replays: Replays): void {
    this.#replays.delete(replays);
  }

  /** Calls `resume` regularly, until it returns true. */
  wait(join: WaitingJoin): void {
    this.#waiting.add(join);
    this.#checkTimer ??= setInterval(() => this.#check(), CHECK_INTERVAL);
  }

  stopWaiting(join: WaitingJoin): void {
    this.#waiting.delete(join);
  }

  /** To be called several times a second. */
  tick(): void {
    this.frames.clear();
    const now = performance.now();
    for (const fanout of this.late) fanout.report(now);
    this.late.clear();
    this.#pump();
  }

  stop(): void {
    if (this.#checkTimer !== null) clearInterval(this.#checkTimer);
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#checkTimer = null;
    this.#turn = null;
  }

  #pump(): void {
    const started = performance.now();
    for (const replays of [...this.#replays]) {
      this.#replays.delete(replays);
      this.start(replays);
      if (performance.now() - started > TURN) return;
    }
  }

  #check(): void {
    const now = performance.now();
    for (const join of this.#waiting) if (join.resume(now)) this.#waiting.delete(join);
    if (this.#waiting.size > 0 || this.#checkTimer === null) return;
    clearInterval(this.#checkTimer);
    this.#checkTimer = null;
  }
}
