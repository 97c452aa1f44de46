/** A seeded random generator: the same seed gives the same sequence. */
export interface Random {
  readonly seed: number;
  /** 0 to 1, 1 excluded. */
  real(): number;
  /** 0 to `below`, excluded. */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly [T, ...T[]] | readonly T[]): T;
}

/** The seed of a run: `TEST_SEED`, else always the same. */
export const SEED = Number(process.env.TEST_SEED ?? 20261121);

/** Mulberry32: 32 bits of state, good enough for tests. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const real = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number): number => Math.floor(real() * below);
  return {
    seed,
    real,
    int,
    chance: (probability) => real() < probability,
    pick: (from) => {
      const one = from[int(from.length)];
      if (one === undefined) throw new Error("nothing to pick from");
      return one;
    },
  };
}
