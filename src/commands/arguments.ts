import { parseArgs } from "node:util";
import type { ArgsDef } from "citty";
import { hint } from "../config/nearest.ts";
import { quoted } from "../config/quote.ts";

/** What a command line asks for, or one line that says what is wrong with it. */
export type Arguments =
  | {
      readonly ok: true;
      readonly command: string;
      /** Whether it was named, rather than taken because none was. */
      readonly named: boolean;
      /** Flags with a value, by name. */
      readonly values: Readonly<Record<string, string>>;
      /** Flags without one. */
      readonly switches: ReadonlySet<string>;
    }
  | { readonly ok: false; readonly message: string };

/**
 * Reads a command line strictly. (citty lets unknown flags pass, takes the next flag for a missing value and drops what
 * stands before a command.) Flags may stand before the command or after it; the last of one name counts.
 */
export function readArguments(
  argv: readonly string[],
  commands: Readonly<Record<string, ArgsDef>>,
  fallback: string,
): Arguments {
  const every = Object.fromEntries(Object.values(commands).flatMap((flags) => Object.entries(flags)));
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
  // Flags come first: what follows a mistyped one looks like a command.
  for (const { name, rawName, value, inlineValue } of given) {
    const flag = Object.hasOwn(every, name) ? every[name] : undefined;
    if (flag === undefined) return wrong(`unknown flag ${quoted(rawName)}`, rawName, asFlags(every), "flags");
    if (flag.type === "boolean" && value !== undefined)
      return { ok: false, message: `${rawName} takes no value` };
    if (flag.type === "boolean" || (value !== undefined && (inlineValue || !value.startsWith("-")))) continue;
    const hint = value === undefined ? "" : " One that begins with a dash goes behind the equals sign.";
    const form = "valueHint" in flag ? `--${name}=<${flag.valueHint}>` : `--${name}=VALUE`;
    return { ok: false, message: `${rawName} needs a value: ${form}. ${flag.description ?? ""}${hint}` };
  }
  const [command = fallback, ...extra] = positionals;
  const allowed = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (allowed === undefined) {
    return wrong(`unknown command ${quoted(command)}`, command, Object.keys(commands), "commands");
  }
  const misplaced = given.find(({ name }) => !Object.hasOwn(allowed, name));
  if (misplaced !== undefined) {
    const { rawName } = misplaced;
    return wrong(`${command} has no flag ${rawName}`, rawName, asFlags(allowed), "flags");
  }
  if (extra[0] !== undefined) {
    return { ok: false, message: `unexpected argument ${quoted(extra[0])}: ${command} takes flags only` };
  }
  const values: Record<string, string> = {};
  const switches = new Set<string>();
  for (const { name, value } of given) {
    if (value === undefined) switches.add(name);
    else values[name] = value;
  }
  return { ok: true, command, named: positionals.length > 0, values, switches };
}

function asFlags(flags: ArgsDef): string[] {
  return Object.keys(flags).map((name) => `--${name}`);
}

function wrong(what: string, word: string, known: readonly string[], kind: string): Arguments {
  return { ok: false, message: `${what}; ${hint(word, known, kind)}` };
}
