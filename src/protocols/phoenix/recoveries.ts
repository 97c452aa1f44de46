import type { ReplayQueue } from "./catch-up.ts";
import type { PositionFanout } from "./position-fanout.ts";
import { ReplayFrames } from "./replay-frames.ts";

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
  readonly #queues = new Set<ReplayQueue>();
  /** Those of them that may be sent more at the end of this turn of the event loop. */
  readonly #ready = new Set<ReplayQueue>();
  readonly #waiting = new Set<WaitingJoin>();
  #checkTimer: Timer | null = null;
  #turn: NodeJS.Immediate | null = null;

  /** Sends to a client what may be sent now, and the rest with each `tick`. */
  start(queue: ReplayQueue): void {
    queue.pump(performance.now());
    if (!queue.empty) this.#queues.add(queue);
  }

  /** To be called when a member may be sent more, also from within the delivery of a message. */
  soon(queue: ReplayQueue): void {
    this.#ready.add(queue);
    this.#turn ??= setImmediate(() => {
      this.#turn = null;
      this.#pump(this.#ready);
      this.#ready.clear();
    });
  }

  forget(queue: ReplayQueue): void {
    this.#queues.delete(queue);
    this.#ready.delete(queue);
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
    const now = performance.now();
    this.frames.tick(now);
    for (const fanout of this.late) fanout.report(now);
    this.late.clear();
    this.#pump(this.#queues);
  }

  stop(): void {
    if (this.#checkTimer !== null) clearInterval(this.#checkTimer);
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#checkTimer = null;
    this.#turn = null;
  }

  #pump(queues: ReadonlySet<ReplayQueue>): void {
    const started = performance.now();
    for (const queue of [...queues]) {
      this.#queues.delete(queue);
      this.start(queue);
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
