/** Pauses for collecting garbage in the log that `BUN_JSC_logGC=1` makes the runtime write. */
export interface Pauses {
  readonly perSecond: number;
  /** Share of the time in which nothing else ran. */
  readonly share: number;
  readonly longestMs: number;
}

/** Each time that a collection stops the program is `p=<ms>ms` in its line. */
const PAUSE = /\bp=([\d.]+)ms/g;

export function pausesIn(log: string, ms: number): Pauses {
  const pauses = [...log.matchAll(PAUSE)].map(([, length]) => Number(length));
  return {
    perSecond: (pauses.length * 1000) / ms,
    share: pauses.reduce((sum, each) => sum + each, 0) / ms,
    longestMs: Math.max(0, ...pauses),
  };
}
