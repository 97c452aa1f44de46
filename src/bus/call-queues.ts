/** Calls that wait in one queue: one that is longer takes no more. */
export const MAX_QUEUED_CALLS = 10_000;

/** Bytes of one server's calls that wait in one queue; one call is always possible. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** ms for which a queue is kept after the last deadline of its calls, so that backends can see that they were too late. */
export const QUEUE_MARGIN = 60_000;

/** `full`: more than `MAX_QUEUED_CALLS` or `MAX_QUEUED_BYTES` wait, or no memory is left for more. `away`: the broker did not accept it. */
export type QueueResult = "queued" | "full" | "away";

/** Lists of the broker, `queue:<name>`, that backends take calls from. */
export interface CallQueues {
  /** Appends a call. Never rejects. @param timeLeft ms until its deadline */
  push(queue: string, call: string, timeLeft: number): Promise<QueueResult>;
  stop?(): void;
}
