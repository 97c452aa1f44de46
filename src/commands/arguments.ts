import { parseArgs } from "node:util";
import type { ArgsDef } from "citty";
import { quoted } from "../config/quote.ts";
import { hint, suggest } from "../config/suggest.ts";
import type { Definition, Operand, ParsedArgs } from "./command.ts";

/** A parsed command line, or one line that says what is wrong with it. */
export type Arguments =
  | ({ readonly ok: true } & ParsedArgs)
  | { readonly ok: false; readonly message: string };

type Syntax = Pick<Definition, "flags" | "operands">;

/**
 * Parses a command line strictly. (citty accepts unknown flags, takes the next flag for a missing value and drops what
 * precedes a command.) Flags may precede or follow the command; the last of one name counts. Operands are optional with
 * `--help` and `--version`.
 */
export function readArguments(
  argv: readonly string[],
  commands: Readonly<Record<string, Syntax>>,
  fallback: string,
): Arguments {
  const every = Object.fromEntries(Object.values(commands).flatMap(({ flags }) => Object.entries(flags)));
  const { tokens, positionals } = parsed(argv, commands, every);
  const given = tokens.filter((token) => token.kind === "option");
  const [command = fallback, ...operands] = positionals;
  const syntax = Object.hasOwn(commands, command) ? commands[command] : undefined;
  const lister =
    syntax === undefined || command === fallback ? "channel --help" : `channel ${command} --help`;
  const known: ArgsDef = { ...every, ...syntax?.flags };
  // Check flags first: the value of a mistyped flag looks like a command.
  for (const { name, rawName, value, inlineValue } of given) {
    const flag = Object.hasOwn(known, name) ? known[name] : undefined;
    if (flag === undefined) {
      return wrong(
        `unknown flag ${quoted(rawName)}`,
        rawName,
        asFlags(syntax?.flags ?? every),
        "flags",
        lister,
      );
    }
    if (flag.type === "boolean" && value !== undefined)
      return { ok: false, message: `${rawName} does not take a value` };
    if (flag.type === "boolean" || (value !== undefined && (inlineValue || !value.startsWith("-")))) continue;
    const remark = value === undefined ? "" : " A value that begins with a dash needs the equals sign.";
    const form = "valueHint" in flag ? `--${name}=<${flag.valueHint}>` : `--${name}=VALUE`;
    return { ok: false, message: `${rawName} needs a value: ${form}. ${flag.description ?? ""}${remark}` };
  }
  if (syntax === undefined) {
    return wrong(`unknown command ${quoted(command)}`, command, Object.keys(commands), "commands", lister);
  }
  const misplaced = given.find(({ name }) => !Object.hasOwn(syntax.flags, name));
  if (misplaced !== undefined) {
    const { rawName } = misplaced;
    return wrong(`${command} has no flag ${rawName}`, rawName, asFlags(syntax.flags), "flags", lister);
  }
  const values: Record<string, string> = {};
  const all: Record<string, string[]> = {};
  const switches = new Set<string>();
  for (const { name, value } of given) {
    if (value === undefined) switches.add(name);
    else {
      values[name] = value;
      all[name] = [...(all[name] ?? []), value];
    }
  }
  const operandsOptional = switches.has("help") || switches.has("version");
  const problem = problemOf(command, operands, syntax.operands ?? [], operandsOptional);
  if (problem !== null) return { ok: false, message: problem };
  return { ok: true, command, named: positionals.length > 0, values, all, switches, operands };
}

function problemOf(
  command: string,
  given: readonly string[],
  expected: readonly Operand[],
  optional: boolean,
): string | null {
  const form = expected.map(({ name, required }) => (required ? `<${name}>` : `[${name}]`)).join(" ");
  const missing = expected.find(({ required }, index) => required && given[index] === undefined);
  if (missing !== undefined && !optional) {
    return `${command} needs <${missing.name}>: channel ${command} ${form}. ${missing.description}`;
  }
  const extra = expected.at(-1)?.several ? undefined : given[expected.length];
  if (extra !== undefined) {
    const allowed = expected.length === 0 ? "flags only" : `${form} only`;
    return `unexpected argument ${quoted(extra)}: ${command} takes ${allowed}`;
  }
  for (const [index, { name, words }] of expected.entries()) {
    const word = given[index];
    if (words === undefined || word === undefined || words.includes(word)) continue;
    const meant = suggest(word, words);
    const remark = meant === undefined ? "" : `; did you mean ${meant}?`;
    return `${command}: <${name}> must be one of ${words.join(", ")}, not ${quoted(word)}${remark}`;
  }
  return null;
}

function asFlags(flags: ArgsDef): string[] {
  return Object.keys(flags).map((name) => `--${name}`);
}

/** @param lister the command that lists the known words */
function wrong(
  what: string,
  word: string,
  known: readonly string[],
  kind: string,
  lister: string,
): Arguments {
  const meant = hint(word, known, kind, "", known, `"${lister}"`);
  return { ok: false, message: `${what}; ${meant}` };
}

/**
 * The words of a command line. A flag of one name may take a value in one command and none in another: the command is the
 * word that is also the first one when its own flags decide.
 */
function parsed(argv: readonly string[], commands: Readonly<Record<string, Syntax>>, every: ArgsDef) {
  for (const word of argv) {
    const syntax = Object.hasOwn(commands, word) ? commands[word] : undefined;
    if (syntax === undefined) continue;
    const found = parseWords(argv, { ...every, ...syntax.flags });
    if (found.positionals[0] === word) return found;
  }
  return parseWords(argv, every);
}

function parseWords(argv: readonly string[], flags: ArgsDef) {
  const options = Object.entries(flags).map(([name, flag]) => [
    name,
    {
      type: flag.type === "boolean" ? ("boolean" as const) : ("string" as const),
      ...("alias" in flag && typeof flag.alias === "string" && { short: flag.alias }),
    },
  ]);
  return parseArgs({
    args: [...argv],
    options: Object.fromEntries(options),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
}
