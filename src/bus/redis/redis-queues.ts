import type { Cluster, Redis } from "ioredis";
import { type CallQueues, MAX_QUEUED_CALLS, QUEUE_MARGIN, type QueueResult } from "../call-queues.ts";
import { printQueue } from "../topics.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/** Bytes of calls that Redis has not accepted yet. One call is always possible. */
const MAX_WAITING = 64 * 1024 * 1024;

/** How long the last known length of a queue counts, in ms: of one that was full, and of one that was not. */
const FULL_FOR = 100;
const FREE_FOR = 1000;

interface Queue {
  readonly key: string;
  /** Whether it had more than `MAX_QUEUED_CALLS` when its length was last known, and when that was (`performance.now()`). */
  full: boolean;
  knownAt: number;
  /** Whether it is full, while that is asked for. */
  asking: Promise<boolean> | null;
}

/** Queues in Redis. Each call costs two commands; the length is asked for only where a queue is full or was not used lately. */
export class RedisQueues implements CallQueues {
  readonly #connection: RedisFleetConnection;
  readonly #queues = new Map<string, Queue>();
  #waiting = 0;

  constructor(connection: RedisFleetConnection) {
    this.#connection = connection;
    void connection.start();
  }

  async push(name: string, call: string, timeLeft: number): Promise<QueueResult> {
    const bytes = Buffer.byteLength(call);
    if (this.#waiting > 0 && this.#waiting + bytes > MAX_WAITING) return "full";
    const queue = this.#queueOf(name);
    this.#waiting += bytes;
    try {
      if (await this.#isFull(queue)) return "full";
      const seconds = Math.ceil((timeLeft + QUEUE_MARGIN) / 1000);
      const length = await this.#connection.ask((redis) => append(redis, queue.key, call, seconds));
      if (length === null) return "away";
      queue.full = length > MAX_QUEUED_CALLS;
      queue.knownAt = performance.now();
      return "queued";
    } finally {
      this.#waiting -= bytes;
    }
  }

  stop(): void {
    this.#connection.stop();
  }

  /** Calls that come while the length is asked for wait too, so that they keep their order. */
  #isFull(queue: Queue): boolean | Promise<boolean> {
    if (queue.asking !== null) return queue.asking;
    if (performance.now() - queue.knownAt < (queue.full ? FULL_FOR : FREE_FOR)) return queue.full;
    queue.asking = this.#ask(queue);
    return queue.asking;
  }

  async #ask(queue: Queue): Promise<boolean> {
    const length = await this.#connection.ask((redis) => redis.llen(queue.key));
    // Without an answer, appending fails as well.
    queue.full = length !== null && length > MAX_QUEUED_CALLS;
    queue.knownAt = performance.now();
    queue.asking = null;
    return queue.full;
  }

  /** As many as the configuration has. */
  #queueOf(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = {
        key: this.#connection.prefix + printQueue(name),
        full: false,
        knownAt: Number.NEGATIVE_INFINITY,
        asking: null,
      };
      this.#queues.set(name, queue);
    }
    return queue;
  }
}

/** Appends, and sets when the queue expires: one that nobody takes calls from must not stay. Returns its length. */
async function append(redis: Redis | Cluster, key: string, call: string, seconds: number): Promise<number> {
  const expired = redis.pipeline().rpush(key, call).expire(key, seconds);
  const [pushed] = (await expired.exec()) ?? [];
  const [error, length] = pushed ?? [];
  if (error) throw error;
  return Number(length);
}
