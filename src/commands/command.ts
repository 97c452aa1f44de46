import type { ArgsDef } from "citty";

/** Standard output, if it is a terminal. */
export interface Terminal {
  /** Width in characters. */
  readonly columns: number;
  /** Whether it shows colours and `NO_COLOR` is not set. */
  readonly color: boolean;
}

/** The parts of the process that a command may use. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** `null` if standard output is a pipe or a file: print plain output without remarks. */
  readonly terminal: Terminal | null;
  /** Writes to standard output, with a line break. */
  print(text: string): void;
  /** Writes an error of one line to standard error, after the program's name: red in a terminal. */
  stderr(line: string): void;
  /** Writes one line that is no error to standard error, in the same form. */
  note(line: string): void;
  /** All of standard input; `null` if it is a terminal. */
  readInput(): Promise<Buffer | null>;
  /** Resolves at SIGINT, SIGTERM or SIGHUP, or when standard output is closed. */
  ended(): Promise<void>;
}

/** A parsed command line. */
export interface ParsedArgs {
  readonly command: string;
  /** Whether the command was named; `false` for the default command. */
  readonly named: boolean;
  /** Flags with a value, by name; the last of each. */
  readonly values: Readonly<Record<string, string>>;
  /** All values of each flag, in order. */
  readonly all: Readonly<Record<string, readonly string[]>>;
  /** Flags without a value. */
  readonly switches: ReadonlySet<string>;
  /** Arguments of the command other than flags; their number is checked. */
  readonly operands: readonly string[];
}

/** Runs a command; resolves to the exit code: 0 success, 1 failure (port in use, Redis unreachable), 2 invalid input. */
export type Command = (args: ParsedArgs, context: CommandContext) => Promise<number>;

/** An argument other than a flag. */
export interface Operand {
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  /** Whether it can be repeated; for the last operand only. */
  readonly several?: true;
  /** Allowed values, if limited. */
  readonly words?: readonly string[];
}

/** One command: for the parser, the help, completions and the manual page. */
export interface Definition {
  readonly run: Command;
  readonly description: string;
  readonly flags: ArgsDef;
  readonly operands?: readonly Operand[];
  /** Example command lines, each with a description. */
  readonly examples?: readonly (readonly [line: string, does: string])[];
}

export type Definitions = Readonly<Record<string, Definition>>;
