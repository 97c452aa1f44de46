import { parseArgs } from "node:util";
import type { ArgsDef } from "citty";
import { quoted } from "../config/quote.ts";
import { hint } from "../config/suggest.ts";
import type { Definition, Operand, ParsedArgs } from "./command.ts";

/** What a command line asks for, or one line that says what is wrong with it. */
export type Arguments =
  | ({ readonly ok: true } & ParsedArgs)
  | { readonly ok: false; readonly message: string };

type Shape = Pick<Definition, "flags" | "operands">;

/**
 * Reads a command line strictly. (citty lets unknown flags pass, takes the next flag for a missing value and drops what
 * stands before a command.) Flags may stand before the command or after it; the last of one name counts. Whoever asks
 * for help or the version need not have the operands ready.
 */
export function readArguments(
  argv: readonly string[],
  commands: Readonly<Record<string, Shape>>,
  fallback: string,
): Arguments {
  const every = Object.fromEntries(Object.values(commands).flatMap(({ flags }) => Object.entries(flags)));
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      Object.entries(every).map(([name, flag]) => [
        name,
        {
          type: flag.type === "boolean" ? ("boolean" as const) : ("string" as const),
          ...("alias" in flag && typeof flag.alias === "string" && { short: flag.alias }),
        },
      ]),
    ),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const given = tokens.filter((token) => token.kind === "option");
  const [command = fallback, ...operands] = positionals;
  const shape = Object.hasOwn(commands, command) ? commands[command] : undefined;
  // Flags come first: what follows a mistyped one looks like a command.
  for (const { name, rawName, value, inlineValue } of given) {
    const flag = Object.hasOwn(every, name) ? every[name] : undefined;
    if (flag === undefined) {
      const known = asFlags(shape?.flags ?? every);
      return wrong(`unknown flag ${quoted(rawName)}`, rawName, asFlags(every), "flags", known);
    }
    if (flag.type === "boolean" && value !== undefined)
      return { ok: false, message: `${rawName} takes no value` };
    if (flag.type === "boolean" || (value !== undefined && (inlineValue || !value.startsWith("-")))) continue;
    const remark = value === undefined ? "" : " One that begins with a dash goes behind the equals sign.";
    const form = "valueHint" in flag ? `--${name}=<${flag.valueHint}>` : `--${name}=VALUE`;
    return { ok: false, message: `${rawName} needs a value: ${form}. ${flag.description ?? ""}${remark}` };
  }
  if (shape === undefined) {
    return wrong(`unknown command ${quoted(command)}`, command, Object.keys(commands), "commands");
  }
  const misplaced = given.find(({ name }) => !Object.hasOwn(shape.flags, name));
  if (misplaced !== undefined) {
    const { rawName } = misplaced;
    return wrong(`${command} has no flag ${rawName}`, rawName, asFlags(shape.flags), "flags");
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
  const asks = switches.has("help") || switches.has("version");
  const problem = problemOf(command, operands, shape.operands ?? [], asks);
  if (problem !== null) return { ok: false, message: problem };
  return { ok: true, command, named: positionals.length > 0, values, all, switches, operands };
}

function problemOf(
  command: string,
  given: readonly string[],
  takes: readonly Operand[],
  asks: boolean,
): string | null {
  const form = takes.map(({ name, required }) => (required ? `<${name}>` : `[${name}]`)).join(" ");
  const missing = takes.find(({ required }, index) => required && given[index] === undefined);
  if (missing !== undefined && !asks) {
    return `${command} needs <${missing.name}>: channel ${command} ${form}. ${missing.description}`;
  }
  const extra = takes.at(-1)?.several ? undefined : given[takes.length];
  if (extra !== undefined) {
    const allowed = takes.length === 0 ? "flags only" : `${form} only`;
    return `unexpected argument ${quoted(extra)}: ${command} takes ${allowed}`;
  }
  for (const [index, { name, words }] of takes.entries()) {
    const word = given[index];
    if (words === undefined || word === undefined || words.includes(word)) continue;
    return `${command}: <${name}> must be one of ${words.join(", ")}, not ${quoted(word)}`;
  }
  return null;
}

function asFlags(flags: ArgsDef): string[] {
  return Object.keys(flags).map((name) => `--${name}`);
}

/** `listed` are those worth telling about, where not all that are known are. */
function wrong(
  what: string,
  word: string,
  known: readonly string[],
  kind: string,
  listed: readonly string[] = known,
): Arguments {
  const meant = hint(word, known, kind, "", listed, '"channel --help"');
  return { ok: false, message: `${what}; ${meant}` };
}
