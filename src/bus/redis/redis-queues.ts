import type { Cluster, Redis } from "ioredis";
import {
  type CallQueues,
  MAX_QUEUED_BYTES,
  MAX_QUEUED_CALLS,
  QUEUE_MARGIN,
  type QueueResult,
} from "../call-queues.ts";
import { QueuedSizes } from "../queued-sizes.ts";
import { printQueue } from "../topics.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/** Bytes of calls that Redis has not accepted yet. One call is always possible. */
const MAX_WAITING = 64 * 1024 * 1024;

/** How long the last known length of a queue counts, in ms: of one that was full, and of one that was not. */
const FULL_FOR = 100;
const FREE_FOR = 1000;

interface Queue {
  readonly key: string;
  /** Its length, and when that was known (`performance.now()`). */
  length: number;
  knownAt: number;
  /** Of this server's calls in it. */
  readonly sizes: QueuedSizes;
  /** While its length is asked for. */
  asking: Promise<void> | null;
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
      const asked = this.#askIfUnknown(queue, bytes);
      if (asked !== null) await asked;
      if (isFull(queue, bytes)) return "full";
      const seconds = Math.ceil((timeLeft + QUEUE_MARGIN) / 1000);
      queue.sizes.add(bytes);
      const length = await this.#connection.ask((redis) => append(redis, queue.key, call, seconds));
      queue.sizes.confirm();
      if (length === null) return "away";
      setLength(queue, length);
      return "queued";
    } finally {
      this.#waiting -= bytes;
    }
  }

  stop(): void {
    this.#connection.stop();
  }

  /** Calls that come while the length is asked for wait too, so that they keep their order. `null`: it is known. */
  #askIfUnknown(queue: Queue, bytes: number): Promise<void> | null {
    if (queue.asking !== null) return queue.asking;
    const age = performance.now() - queue.knownAt;
    if (age < (isFull(queue, bytes) ? FULL_FOR : FREE_FOR)) return null;
    queue.asking = this.#ask(queue);
    return queue.asking;
  }

  async #ask(queue: Queue): Promise<void> {
    const length = await this.#connection.ask((redis) => redis.llen(queue.key));
    // Without an answer, appending fails as well.
    if (length === null) queue.knownAt = performance.now();
    else setLength(queue, length);
    queue.asking = null;
  }

  /** As many as the configuration has. */
  #queueOf(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = {
        key: this.#connection.prefix + printQueue(name),
        length: 0,
        sizes: new QueuedSizes(),
        knownAt: Number.NEGATIVE_INFINITY,
        asking: null,
      };
      this.#queues.set(name, queue);
    }
    return queue;
  }
}

function isFull({ length, sizes }: Queue, bytes: number): boolean {
  return length > MAX_QUEUED_CALLS || (sizes.bytes > 0 && sizes.bytes + bytes > MAX_QUEUED_BYTES);
}

function setLength(queue: Queue, length: number): void {
  queue.length = length;
  queue.knownAt = performance.now();
  queue.sizes.shorten(length);
}

/** Appends, and sets when the queue expires: one that nobody takes calls from must not stay. Returns its length. */
async function append(redis: Redis | Cluster, key: string, call: string, seconds: number): Promise<number> {
  const expired = redis.pipeline().rpush(key, call).expire(key, seconds);
  const [pushed] = (await expired.exec()) ?? [];
  const [error, length] = pushed ?? [];
  if (error) throw error;
  return Number(length);
}
