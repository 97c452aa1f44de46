import type { ArgsDef } from "citty";

/** Standard output where a person reads it. */
export interface Terminal {
  /** Characters of a line. */
  readonly columns: number;
  /** Whether it shows colours and nobody asked for none (`NO_COLOR`). */
  readonly color: boolean;
}

/** What a command may touch of the process that it runs in. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** `null` where standard output is a pipe or a file: then it is for a program, plain and without remarks. */
  readonly terminal: Terminal | null;
  /** To standard output, with a line end. */
  print(text: string): void;
  /** To standard error, one line, behind the program's name. */
  stderr(line: string): void;
  /** All of standard input; `null` where that is a terminal, at which nobody may be sitting. */
  readInput(): Promise<Buffer | null>;
  /** Resolves when the operator or the reader of our output has had enough. */
  ended(): Promise<void>;
}

/** What a command line asks for. */
export interface ParsedArgs {
  readonly command: string;
  /** Whether it was named, rather than taken because none was. */
  readonly named: boolean;
  /** Flags with a value, by name: the last of each. */
  readonly values: Readonly<Record<string, string>>;
  /** All values of each flag, in their order. */
  readonly all: Readonly<Record<string, readonly string[]>>;
  /** Flags without one. */
  readonly switches: ReadonlySet<string>;
  /** What stands behind the command and is no flag: as many as it takes. */
  readonly operands: readonly string[];
}

/** Runs to its end and resolves to the exit code: 0; 1, something is in the way; 2, the operator wrote something wrong. */
export type Command = (given: ParsedArgs, context: CommandContext) => Promise<number>;

/** A word of the command line that is no flag. */
export interface Operand {
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  /** Whether there may be more than one; the last operand only. */
  readonly several?: true;
  /** The only words that it may be. */
  readonly words?: readonly string[];
}

/** One command, as the command line is read, and as help, completion and manual tell about it. */
export interface Definition {
  readonly run: Command;
  readonly description: string;
  readonly flags: ArgsDef;
  readonly operands?: readonly Operand[];
  /** Command lines that work, each with what it does. */
  readonly examples?: readonly (readonly [line: string, does: string])[];
}

export type Definitions = Readonly<Record<string, Definition>>;
