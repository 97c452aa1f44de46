import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type RedisProcess, startRedis } from "../integration/redis-process.ts";
import { playOnce } from "./play.ts";
import type { Scene } from "./scene.ts";
import { scenes } from "./scenes.ts";
import { type Contender, limit, limitWithPresence, ours, oursLatest } from "./servers.ts";

/*
 * Every scene in a short form, beside the limit in the same run: wide enough for a busy machine, narrow enough to catch a
 * regression. A scene that says too much is measured again, a few times: what else the machine does adds to a round, a
 * regression adds to every one.
 */

/** Where a scene names no other. */
const WORST_RATIO = 1.5;
/** Of each server, in turn; as many again, up to so many times, where they say too much. */
const ROUNDS = 2;
const TRIES = 4;

let redis: RedisProcess;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis?.stop());

// Process times come from /proc.
describe.skipIf(process.platform !== "linux")("no more CPU than a scene allows, beside the limit", () => {
  for (const scene of scenes) {
    // `conflate` is held against our own server without `slow = "latest"`.
    test(scene.name, async () => {
      const found = new Comparison(scene);
      const worst = scene.worstRatio ?? WORST_RATIO;
      for (let tries = 0; tries < TRIES && !(found.ratio <= worst); tries++) await found.play(redis.url);
      const { ratio, missing } = found;
      console.log(`${scene.name}: ${ratio.toFixed(2)} times the limit`);
      expect(missing).toBe(0);
      expect(ratio).toBeLessThanOrEqual(worst);
    }, 300_000);
  }
});

/** Our CPU for each delivery over that of the limit, in the quietest of alternating rounds; and what did not come to us. */
class Comparison {
  missing = 0;
  readonly #scene: Scene;
  readonly #reference: Contender;
  readonly #measured: Contender;
  readonly #least: number[] = [];
  readonly #ours: number[] = [];

  constructor(scene: Scene) {
    this.#scene = scene;
    const isConflate = scene.name === "conflate";
    this.#measured = isConflate ? oursLatest : ours;
    // Tokens and presence have their price in any server.
    const least = limitWithPresence.only?.includes(scene.name) ? limitWithPresence : limit;
    this.#reference = isConflate ? ours : least;
  }

  get ratio(): number {
    return Math.min(...this.#ours) / Math.min(...this.#least);
  }

  async play(redisUrl: string): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const turns = [this.#reference, this.#measured];
      for (const contender of round % 2 === 0 ? turns : turns.toReversed()) {
        const { figures } = await playOnce(this.#scene, contender, { redisUrl, form: "quick" });
        (contender === this.#measured ? this.#ours : this.#least).push(figures.serverMs / figures.arrived);
        if (contender === this.#measured) this.missing += figures.expected - figures.arrived;
      }
    }
  }
}
