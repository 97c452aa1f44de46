import { Random } from "../unit/protocols/phoenix/fuzz/random.ts";
import { frames } from "./frames.ts";
import { groups } from "./groups.ts";
import { longPoll } from "./longpoll.ts";
import { brokenRedis, redis } from "./redis.ts";
import { resp } from "./resp.ts";
import type { Target } from "./target.ts";

export interface FuzzOptions {
  /** All targets together. */
  readonly inputs: number;
  readonly seed: number;
  /** One target's name, or `null` for all. */
  readonly only?: string | null;
  progress?(line: string): void;
}

export interface FuzzReport {
  readonly seed: number;
  readonly inputs: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** Bytes of JavaScript objects after the first tenth of a target's inputs, and after the last. */
  readonly heap: Readonly<Record<string, readonly [after: number, end: number]>>;
  readonly findings: readonly string[];
}

/** The share of each target in the inputs, in percent. */
const TARGETS: readonly (readonly [
  name: string,
  percent: number,
  make: (random: Random) => Promise<Target>,
])[] = [
  ["frames", 40, frames],
  ["redis", 20, redis],
  ["broken-redis", 10, async (random) => brokenRedis(random)],
  ["resp", 20, async (random) => resp(random)],
  ["groups", 8, groups],
  ["long-poll", 2, longPoll],
];

/** Inputs between two checks of a target's whole state. */
const CHECK_EVERY = 100;
/** How much more a target may hold at its end than after a tenth of its inputs. */
const GROWTH = 24 * 1024 * 1024;
/** A target is stopped after this number of findings: the rest are usually repeats. */
const ENOUGH = 5;

export async function fuzz({
  inputs,
  seed,
  only = null,
  progress = () => {},
}: FuzzOptions): Promise<FuzzReport> {
  const began = performance.now();
  const findings: string[] = [];
  const done: Record<string, number> = {};
  const heap: Record<string, readonly [number, number]> = {};
  for (const [at, [name, percent, make]] of TARGETS.entries()) {
    if (only !== null && only !== name) continue;
    const share = only === null ? Math.ceil((inputs * percent) / 100) : inputs;
    const target = await make(new Random(seed + at * 7919));
    let own = 0;
    let after = 0;
    let count = 0;
    const find = (what: string): void => {
      own++;
      findings.push(`${name}, input ${count} of seed ${seed}: ${what}`);
      progress(findings.at(-1) ?? "");
    };
    for (; count < share && own < ENOUGH; count++) {
      try {
        const wrong = target.input();
        const result = wrong instanceof Promise ? await wrong : wrong;
        if (result !== null) find(result);
        const held = count % CHECK_EVERY === 0 ? target.check() : null;
        if (held !== null) find(held);
      } catch (error) {
        find(error instanceof Error ? (error.stack ?? error.message) : String(error));
      }
      if (count === Math.floor(share / 10)) after = heapNow();
      if (count % 100_000 === 0) progress(`${name} ${count}`);
      // Lets timers and deferred work run.
      if (count % 1000 === 0) await Bun.sleep(0);
    }
    const end = heapNow();
    if (end > after + GROWTH) find(`holds ${end - after} bytes more than after a tenth of the inputs`);
    heap[name] = [after, end];
    done[name] = count;
    target.stop();
  }
  return { seed, inputs: done, seconds: (performance.now() - began) / 1000, heap, findings };
}

function heapNow(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}
