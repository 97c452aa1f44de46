import type { Arguments } from "./arguments.ts";

/** What a command may touch of the process that it runs in. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** To standard output, with a line end. */
  print(text: string): void;
  /** To standard error, one line, behind the program's name. */
  complain(line: string): void;
}

/** Runs to its end and resolves to the exit code: 0; 1, something is in the way; 2, the operator wrote something wrong. */
export type Command = (
  given: Extract<Arguments, { ok: true }>,
  surroundings: Surroundings,
) => Promise<number>;
