/** One thing that is fuzzed. */
export interface Target {
  /** Creates one input and handles it; returns what is wrong with the result, or `null`. */
  input(): Promise<string | null> | string | null;
  /** Checks the whole state of the target; returns what is wrong with it, or `null`. */
  check(): string | null;
  stop(): void;
}
