/** Defaults of the flags of `channel bench`. A separate file: the help must not load bench.ts. */
export const BENCH_DEFAULTS = {
  clients: "100",
  rate: "10",
  payload: "100",
  channels: "1",
  for: "10s",
} as const;
