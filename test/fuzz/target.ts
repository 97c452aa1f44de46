/** One thing that is fuzzed. */
export interface Target {
  /** Makes one input and has it handled; what is wrong with what came of it, or `null`. */
  input(): Promise<string | null> | string | null;
  /** Looks over all that the target holds; what is wrong with it, or `null`. */
  check(): string | null;
  stop(): void;
}
