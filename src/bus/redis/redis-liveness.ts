import type { LivenessStore } from "../liveness-store.ts";
import { printHub } from "../topics.ts";
import type { RedisFleetConnection } from "./redis-fleet-connection.ts";

/** How long a server counts as declared dead, in seconds. */
const DEAD_SECS = 86_400;

/** Keeps in Redis which servers live. */
export class RedisLiveness implements LivenessStore {
  readonly #connection: RedisFleetConnection;
  readonly #node: string;
  readonly #dead: string;

  constructor(connection: RedisFleetConnection) {
    this.#connection = connection;
    this.#node = `${connection.prefix}${printHub("node")}:`;
    this.#dead = `${connection.prefix}${printHub("dead")}:`;
  }

  onOpen(opened: () => void): void {
    this.#connection.onOpen(opened);
  }

  renew(incarnation: string, ttl: number): Promise<boolean | null> {
    return this.#connection.ask(async (redis) => {
      const [, dead] = await Promise.all([
        redis.set(this.#node + incarnation, "1", "PX", ttl),
        redis.exists(this.#dead + incarnation),
      ]);
      return dead === 1;
    });
  }

  isPresent(incarnation: string): Promise<boolean | null> {
    return this.#connection.ask(async (redis) => (await redis.exists(this.#node + incarnation)) === 1);
  }

  declareDead(incarnation: string): Promise<boolean | null> {
    return this.#connection.ask(
      async (redis) => (await redis.set(this.#dead + incarnation, "1", "EX", DEAD_SECS, "NX")) === "OK",
    );
  }

  async remove(incarnation: string): Promise<void> {
    await this.#connection.ask((redis) => redis.del(this.#node + incarnation));
  }
}
